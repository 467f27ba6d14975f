//! Decides whether a caller may do something now: blocks and limits, in one decision.
//!
//! [`Gate::admit`] checks all windows that apply and takes a place in each, or refuses and takes
//! nothing. The [`Pass`] it returns is told what the request used up, and gives the rest back.

mod claims;
mod limits;
mod pass;
pub mod windows;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::Mutex;

use crate::clock::{Clock, Tick};
use crate::config;
use crate::domain::{Caller, Forwards, Party, Rate, canonical};
use crate::limit::{Block, Offence, Table};
use windows::{Decision, Refused, Standing, Windows, WindowsError};

pub use claims::{Claims, Purpose, Subject};
pub use limits::{Applies, Counts, Limit, Rates, Row, Scope};
pub use pass::{Pass, Settled, Used};

/// Shortest time between two log lines about one budget that is used up.
const TOLD: Duration = Duration::from_mins(10);

/// The one place where requests are admitted. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    windows: Arc<dyn Windows>,
    rates: Rates,
    /// Addresses that are never blocked. IPv4 in its plain form.
    never_block: Vec<IpNet>,
    /// Verifications of each address that failed in the last second.
    failed: Table,
    used_up: Mutex<BTreeMap<Limit, UsedUp>>,
    clock: Arc<dyn Clock>,
}

/// A budget of everybody that had no place left.
#[derive(Clone, Copy)]
struct UsedUp {
    until: Tick,
    told: Tick,
}

/// Why a caller was not admitted.
#[derive(Debug)]
pub enum Denied {
    /// A limit has no place left.
    Limited {
        /// The full window with the longest wait.
        standing: Standing,
        /// The block that the refusal has just earned.
        earned: Option<Box<Block>>,
    },
    /// The caller's address or identity is blocked.
    Blocked {
        /// The time that the block has left.
        wait: Duration,
    },
    /// Too many verifications of the caller's address have just failed.
    Unverified,
    /// The windows could not be asked.
    Unavailable(WindowsError),
}

impl Gate {
    /// Returns a gate over `windows`, which count by the rates of `limits`.
    pub fn new(
        windows: Arc<dyn Windows>,
        limits: &config::Limits,
        guard: &config::Guard,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let failed = Rate {
            limit: guard.failed_verifications,
            window: Duration::from_secs(1),
        };
        Self(Arc::new(Inner {
            windows,
            rates: Rates::of(limits),
            never_block: guard.never_block.clone(),
            failed: Table::new(failed, limits.capacity),
            used_up: Mutex::default(),
            clock,
        }))
    }

    /// Admits `caller` for `purpose`, and takes a place in every window that applies.
    pub async fn admit(&self, caller: &Caller, purpose: Purpose) -> Result<Pass, Denied> {
        if purpose == Purpose::LookWithTicket {
            return Ok(Pass::new(self.clone(), None, windows::Receipt::default()));
        }
        let claims = purpose.claims(&caller.into());
        let (tightest, receipt) = match self.decide(caller, &claims).await {
            Err(Denied::Unavailable(_)) if purpose == Purpose::Look => Default::default(),
            decided => decided?,
        };
        Ok(Pass::new(self.clone(), tightest, receipt))
    }

    /// Counts a request of `caller` whose credential was refused. Fails when the address is blocked or
    /// has had too many refusals. A good credential never meets this window.
    pub async fn refuse_credential(&self, caller: &Caller) -> Result<(), Denied> {
        let claims = claims::of_a_refused_credential(caller);
        self.decide(caller, &claims).await.map(drop)
    }

    /// Returns whether a credential of `caller` may be verified: at its address, few enough
    /// verifications have just failed.
    pub fn may_verify(&self, caller: &Caller) -> Result<(), Denied> {
        let mut held = self.0.failed.hold(caller.network().into());
        let is_free = held.check(self.0.clock.tick()).is_free();
        is_free.then_some(()).ok_or(Denied::Unverified)
    }

    /// Notes that the verification of a credential of `caller` failed.
    pub fn note_failed_verification(&self, caller: &Caller) {
        let now = self.0.clock.tick();
        self.0.failed.admit(caller.network().into(), now);
    }

    /// Adds an offence to the score of `caller`: of its identity, or else of its address. Returns the
    /// block if exactly this offence earned one.
    pub async fn offend(
        &self,
        caller: &Caller,
        offence: Offence,
    ) -> Result<Option<Block>, WindowsError> {
        match self.blockable(caller) {
            None => Ok(None),
            Some(party) => self.0.windows.offend(party, (offence, None)).await,
        }
    }

    /// Returns at most `most` blocks in force, the longest first.
    pub async fn blocks(&self, most: usize) -> Result<Vec<Block>, WindowsError> {
        self.0.windows.blocks(most).await
    }

    /// Ends the block of `party`, and forgets its score and earlier blocks. Returns whether it was
    /// blocked.
    pub async fn lift(&self, party: Party) -> Result<bool, WindowsError> {
        self.0.windows.lift(party).await
    }

    /// Returns false while limits are not enforced exactly, or a budget of everybody is used up.
    pub fn is_whole(&self) -> bool {
        let now = self.0.clock.tick();
        let is_used_up = |budget: &UsedUp| budget.until > now;
        self.0.windows.is_exact() && !self.0.used_up.lock().values().any(is_used_up)
    }

    /// Returns how often Redis failed since the start; `None` where it is not used.
    pub fn redis_failures(&self) -> Option<u64> {
        self.0.windows.failures()
    }

    /// Drops what has expired in the gate itself.
    pub fn sweep(&self) {
        self.0.failed.sweep(self.0.clock.tick());
    }

    async fn decide(
        &self,
        caller: &Caller,
        claims: &Claims,
    ) -> Result<(Option<Standing>, windows::Receipt), Denied> {
        let party = self.blockable(caller);
        match self.0.windows.decide(party, claims).await {
            Ok(Decision::Admitted { tightest, receipt }) => Ok((tightest, receipt)),
            Ok(Decision::Refused(refused)) => Err(self.deny(party, &refused).await),
            Ok(Decision::Blocked { wait }) => Err(Denied::Blocked { wait }),
            Err(error) => Err(Denied::Unavailable(error)),
        }
    }

    /// Notes what a refusal says of the caller and of the budgets.
    async fn deny(&self, party: Option<Party>, refused: &Refused) -> Denied {
        let (standing, mut earned) = (refused.standing, None);
        if !refused.is_share {
            self.note_used_up(standing);
            let mut full = refused.full.iter();
            let offended = full.find(|limit| limit.row().can_offend());
            if let (Some(party), Some(limit)) = (party, offended) {
                let offence = (Offence::RateLimited, Some(self.0.rates.tolerance(*limit)));
                // The request is refused in any case, and an outage is logged where it is noticed.
                let offended = self.0.windows.offend(party, offence).await;
                earned = offended.unwrap_or_default().map(Box::new);
            }
        }
        Denied::Limited { standing, earned }
    }

    /// Notes a budget of everybody that is used up, and logs it now and then.
    fn note_used_up(&self, standing: Standing) {
        let row = standing.limit.row();
        if row.scope != Scope::Everybody {
            return;
        }
        let now = self.0.clock.tick();
        let until = now.plus(standing.resets_in);
        let mut used_up = self.0.used_up.lock();
        let told = used_up.get(&standing.limit).map(|known| known.told);
        let told = told.filter(|told| now.since(*told) < TOLD);
        let noted = UsedUp {
            until,
            told: told.unwrap_or(now),
        };
        used_up.insert(standing.limit, noted);
        drop(used_up);
        if told.is_none() {
            tracing::warn!(
                limit = row.setting,
                rate = %standing.rate,
                anonymous_only = row.applies == Applies::Anonymous,
                retry_after_s = standing.resets_in.as_secs(),
                "budget of mints is used up: callers are refused until mints leave its window. \
                 If the load is honest, raise the limit of this name in [limits]"
            );
        }
    }

    /// Returns whose offences and blocks count for `caller`; `None` when it is never blocked.
    fn blockable(&self, caller: &Caller) -> Option<Party> {
        let is_spared = || {
            let address = canonical(caller.address());
            let mut spared = self.0.never_block.iter();
            caller.forwards != Forwards::No || spared.any(|network| network.contains(&address))
        };
        match caller.party() {
            Party::Network(_) if is_spared() => None,
            party => Some(party),
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::windows::Receipt;
    use super::windows::redis::LinkError;
    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use crate::config::{Config, Mode};
    use crate::domain::RequestId;

    /// Windows that cannot be asked.
    struct Away;

    #[async_trait]
    impl Windows for Away {
        async fn decide(&self, _: Option<Party>, _: &Claims) -> Result<Decision, WindowsError> {
            Err(LinkError::Gone.into())
        }

        async fn release(&self, _: &Receipt) -> Result<(), WindowsError> {
            Err(LinkError::Gone.into())
        }

        async fn offend(
            &self,
            _: Party,
            _: (Offence, Option<crate::limit::Tolerance>),
        ) -> Result<Option<Block>, WindowsError> {
            Err(LinkError::Gone.into())
        }

        async fn blocks(&self, _: usize) -> Result<Vec<Block>, WindowsError> {
            Err(LinkError::Gone.into())
        }

        async fn lift(&self, _: Party) -> Result<bool, WindowsError> {
            Err(LinkError::Gone.into())
        }

        fn is_exact(&self) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn while_windows_cannot_be_asked_owners_still_see_and_end_their_calls_and_open_none() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(0)));
        let config = Config::from_pairs(Mode::Dev, &[]).unwrap();
        let gate = Gate::new(Arc::new(Away), &config.limits, &config.guard, clock);
        let caller = Caller::at([203, 0, 113, 7].into(), RequestId::random());
        for purpose in [Purpose::Look, Purpose::LookWithTicket] {
            assert!(gate.admit(&caller, purpose).await.is_ok(), "{purpose:?}");
        }
        for purpose in [Purpose::Open, Purpose::Call, Purpose::Redeem] {
            let refused = gate.admit(&caller, purpose).await.err();
            assert!(
                matches!(refused, Some(Denied::Unavailable(_))),
                "{purpose:?}"
            );
        }
    }
}
