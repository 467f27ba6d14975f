//! Owns the limits of a replica among others: shared while the server answers, its own share of them while it does not.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::{Tick, Timestamp};
use crate::limit::{
    Block, Claim, Decision, LimitError, LimitStore, MemoryLimits, Offence, Policy, Receipt,
    Standing,
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

/// Windows up to this length are kept to here for as long as they are after an outage. What longer ones must know of it they are
/// told from the ledger, when the server has come back without it.
const SHORT: Duration = Duration::from_mins(10);

/// Limits on a server, and this replica's share of them in memory, which counts along for the day the server is gone.
pub struct SharedLimits {
    shared: RedisLimits,
    local: Arc<MemoryLimits>,
    on_failure: OnFailure,
    /// When replicas last went by their shares, on the local limits' clock; 0: not in this run.
    alone: AtomicU64,
}

impl SharedLimits {
    /// Limits by `shared`; `local` has the policies of [`Self::share`].
    pub const fn new(shared: RedisLimits, local: Arc<MemoryLimits>, on_failure: OnFailure) -> Self {
        Self {
            shared,
            local,
            on_failure,
            alone: AtomicU64::new(0),
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

    /// Replicas go by their shares, or did until now. What each lets through then is not in the server's windows, so each keeps
    /// to its share, too, until the windows that may hold some of that are over. To be called when the server is back.
    pub fn note_alone(&self) {
        if self.on_failure == OnFailure::Local {
            self.alone
                .store(self.local.tick().as_nanos(), Ordering::Relaxed);
        }
    }

    /// Whether the server's windows know what was used before it began.
    pub async fn is_counted(&self) -> Result<bool, LimitError> {
        self.shared.is_counted().await
    }

    /// Tells them, latest first. Several replicas may do it at once, and again: nothing is counted twice.
    pub async fn count_back(
        &self,
        used: impl Iterator<Item = (Timestamp, Claim)> + Send,
    ) -> Result<(), LimitError> {
        self.shared.count_back(used).await
    }

    /// By this replica's share.
    async fn decide_alone(
        &self,
        address: IpAddr,
        claims: &[Claim],
    ) -> Result<Decision, LimitError> {
        // At once, not only when it is back: requests may be quicker than who notes that.
        if self.shared.is_gone() {
            self.note_alone();
        }
        Ok(match self.local.decide(address, claims).await? {
            Decision::Refused { standing, wait, .. } => by_share(standing, wait),
            other => other,
        })
    }

    /// The claims that this replica's share still holds for.
    fn still_alone(&self, claims: &[Claim]) -> Vec<Claim> {
        let alone = match self.alone.load(Ordering::Relaxed) {
            0 => return Vec::new(),
            nanos => self.local.tick().since(Tick::from_nanos(nanos)),
        };
        let window = |claim: &Claim| {
            self.shared
                .window_of(*claim)
                .filter(|length| *length <= SHORT)
        };
        let holds = |claim: &&Claim| window(claim).is_some_and(|length| length > alone);
        claims.iter().filter(holds).copied().collect()
    }

    /// Lets the local limits count what the shared ones have admitted, or refuse it.
    async fn count_along(
        &self,
        address: IpAddr,
        claims: &[Claim],
        admitted: (Option<Standing>, Receipt),
    ) -> Result<Decision, LimitError> {
        let (tightest, receipt) = admitted;
        if let Decision::Admitted { receipt: local, .. } =
            self.local.decide(address, claims).await?
        {
            let receipt = local.and_in(&receipt);
            return Ok(Decision::Admitted { tightest, receipt });
        }
        // This replica's share of something is used up. It may be more than it was asked for, unless it matters still.
        let mattering = self.still_alone(claims);
        if !mattering.is_empty()
            && let Decision::Refused { standing, wait, .. } =
                self.local.decide(address, &mattering).await?
        {
            self.release(receipt).await?;
            return Ok(by_share(standing, wait));
        }
        Ok(Decision::Admitted { tightest, receipt })
    }
}

const fn by_share(standing: Standing, wait: Duration) -> Decision {
    Decision::Refused {
        standing,
        wait,
        is_share: true,
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
                let admitted = (tightest, receipt);
                self.count_along(address, claims, admitted).await
            }
            Ok(Decision::Blocked { wait }) => {
                self.local.block(address, wait);
                Ok(Decision::Blocked { wait })
            }
            Err(error) if error.is_unreachable() && self.on_failure == OnFailure::Local => {
                self.decide_alone(address, claims).await
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
