//! Owns the limits of a replica among others: shared while the server answers, its own share of them while it does not.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;

use crate::limit::{
    Block, Claim, Decision, LimitError, LimitStore, MemoryLimits, Offence, Policy, Receipt,
};
use crate::store::redis::RedisLimits;

/// What a replica does while the shared limits are gone. Neither lets more through than the limits say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Enforces its own share of them.
    Local,
    /// Refuses.
    Deny,
}

/// Limits on a server, and this replica's share of them in memory, which counts along for the day the server is gone.
pub struct SharedLimits {
    shared: RedisLimits,
    local: Arc<MemoryLimits>,
    on_failure: OnFailure,
}

impl SharedLimits {
    /// Limits by `shared`; `local` has the policies of [`Self::share`].
    pub const fn new(shared: RedisLimits, local: Arc<MemoryLimits>, on_failure: OnFailure) -> Self {
        Self {
            shared,
            local,
            on_failure,
        }
    }

    /// What each of so many replicas may let through alone: its part of every limit, and one at least.
    #[must_use]
    pub fn share(mut policies: Vec<Policy>, replicas: NonZeroU32) -> Vec<Policy> {
        for policy in &mut policies {
            policy.rate.limit = (policy.rate.limit / replicas).max(1);
        }
        policies
    }

    /// Lets the local limits count what the shared ones have admitted.
    async fn count_along(
        &self,
        address: IpAddr,
        claims: &[Claim],
        receipt: Receipt,
    ) -> Result<Receipt, LimitError> {
        // They may be full already, for this replica's share may be less than it was asked for.
        Ok(match self.local.decide(address, claims).await? {
            Decision::Admitted { receipt: local, .. } => local.and_in(&receipt),
            Decision::Refused { .. } | Decision::Blocked { .. } => receipt,
        })
    }
}

#[async_trait]
impl LimitStore for SharedLimits {
    /// A block that is known here is not asked for again, nor is anything else of its address; and whether an address is
    /// blocked, when nothing else is asked, is answered from memory.
    async fn decide(&self, address: IpAddr, claims: &[Claim]) -> Result<Decision, LimitError> {
        if claims.is_empty() || self.local.blocked(address).is_some() {
            return self.local.decide(address, claims).await;
        }
        match self.shared.decide(address, claims).await {
            Ok(Decision::Admitted { tightest, receipt }) => {
                let receipt = self.count_along(address, claims, receipt).await?;
                Ok(Decision::Admitted { tightest, receipt })
            }
            Ok(Decision::Blocked { wait }) => {
                self.local.block(address, wait);
                Ok(Decision::Blocked { wait })
            }
            Err(error) if error.is_unreachable() && self.on_failure == OnFailure::Local => {
                self.local.decide(address, claims).await
            }
            other => other,
        }
    }

    /// What the server cannot be told stays taken there.
    async fn release(&self, receipt: Receipt) -> Result<(), LimitError> {
        let shared = self.shared.release(receipt.again()).await;
        self.local.release(receipt).await?;
        shared.or_else(|error| {
            let is_gone = error.is_unreachable();
            if is_gone { Ok(()) } else { Err(error) }
        })
    }

    async fn offend(&self, address: IpAddr, offence: Offence) -> Result<Option<Block>, LimitError> {
        if self.local.blocked(address).is_some() {
            return Ok(None);
        }
        let local = self.local.offend(address, offence).await?;
        match self.shared.offend(address, offence).await {
            Ok(Some(block)) => {
                self.local.block(address, block.lasts);
                Ok(Some(block))
            }
            Ok(None) => Ok(local),
            Err(error) if error.is_unreachable() => Ok(local),
            Err(error) => Err(error),
        }
    }

    fn is_exact(&self) -> bool {
        self.shared.is_exact()
    }
}
