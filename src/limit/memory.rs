//! Owns the limits of one process: the kind that keeps them in its own memory.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;

use super::claims::{ClaimFault, Tally};
use super::guard::Guard;
use super::table::{Ask, Seat, Shard, Table};
use super::window::Verdict;
use super::{
    Block, Claim, Decision, GuardRules, LimitError, LimitStore, MOST_CLAIMS, Offence, Place,
    Policy, Receipt, Standing,
};
use crate::clock::{Clock, Tick};

/// Limits in memory. They do not outlive the process, and other replicas count on their own.
///
/// Fails only when the claims of a request break the contract of [`LimitStore`].
pub struct MemoryLimits {
    rules: Vec<(Policy, Table)>,
    guard: Guard,
    hasher: RandomState,
    clock: Arc<dyn Clock>,
}

/// A claim while its shard is held.
struct Held<'a> {
    claim: Claim,
    policy: &'a Policy,
    hash: u64,
    shard: MutexGuard<'a, Shard>,
    seat: Seat,
}

impl Held<'_> {
    fn ask(&self, now: Tick) -> Ask {
        Ask {
            hash: self.hash,
            rate: self.policy.rate,
            now,
        }
    }
}

type HeldClaims<'a> = [Option<Held<'a>>; MOST_CLAIMS];

impl MemoryLimits {
    /// Empty limits. A [`super::PolicyId`] is a place in `policies`.
    pub fn new(policies: Vec<Policy>, guard: GuardRules, clock: Arc<dyn Clock>) -> Self {
        let with_table = |policy: Policy| (policy, Table::new(policy.capacity));
        Self {
            rules: policies.into_iter().map(with_table).collect(),
            guard: Guard::new(guard),
            hasher: RandomState::new(),
            clock,
        }
    }

    /// Drops what has expired and gives its memory back, a small part at a time. To be called once in a while, away
    /// from requests.
    pub fn sweep(&self) {
        for (policy, table) in &self.rules {
            table.sweep(policy.rate, self.clock.tick());
        }
        self.guard.sweep(self.clock.tick());
    }

    /// What time it is for these limits.
    pub(crate) fn tick(&self) -> Tick {
        self.clock.tick()
    }

    /// Keys remembered exactly, over all policies.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.rules.iter().map(|(_, table)| table.keys()).sum()
    }

    /// True while some policy has more keys than it can remember exactly.
    #[cfg(test)]
    pub(super) fn is_estimating(&self) -> bool {
        self.rules.iter().any(|(_, table)| table.is_estimating())
    }

    /// How long `address` is still blocked.
    pub(crate) fn blocked(&self, address: IpAddr) -> Option<Duration> {
        self.guard.blocked(address, &*self.clock)
    }

    /// Blocks `address` for so long, as somebody else has decided.
    pub(crate) fn block(&self, address: IpAddr, lasts: Duration) {
        self.guard.adopt(address, lasts, self.clock.tick());
    }

    /// Networks with a score.
    #[cfg(test)]
    pub(super) fn scores(&self) -> usize {
        self.guard.scores()
    }

    /// Networks that are blocked.
    #[cfg(test)]
    pub(super) fn blocks(&self) -> usize {
        self.guard.blocks(self.clock.tick())
    }

    /// Counts what `claim` was admitted for `ago`, before these limits were made. Only before the first decision, and the
    /// oldest first. What the policy would not have admitted then is not counted twice.
    pub fn remember(&self, claim: Claim, ago: Duration) -> Result<(), LimitError> {
        let (claim, policy, table) = self.find(claim).map_err(LimitError::new)?;
        let (hash, now) = (self.hasher.hash_one(claim.key), self.clock.tick());
        let ask = Ask {
            hash,
            rate: policy.rate,
            now: Tick::from_duration(now.since(Tick::default()).saturating_sub(ago)),
        };
        let mut shard = table.hold(hash);
        if let (seat, Verdict::Free { .. }) = shard.check(ask) {
            shard.take(ask, seat);
        }
        Ok(())
    }

    fn decide_now(&self, address: IpAddr, claims: &[Claim]) -> Result<Decision, ClaimFault> {
        if let Some(wait) = self.guard.blocked(address, &*self.clock) {
            return Ok(Decision::Blocked { wait });
        }
        let mut held = self.hold(claims)?;
        // Asked under the locks, so that the time never goes back for a window.
        let now = self.clock.tick();
        Ok(match check(&mut held, now) {
            Ok(tightest) => Decision::Admitted {
                tightest,
                receipt: take(&mut held, now),
            },
            Err(standing) => Decision::Refused {
                standing,
                wait: standing.resets_in,
                is_share: false,
            },
        })
    }

    /// Locks the shard of every claim, in the order of the policies: two requests never wait for each other.
    fn hold(&self, claims: &[Claim]) -> Result<HeldClaims<'_>, ClaimFault> {
        let mut ordered = [None; MOST_CLAIMS];
        let places = ordered.get_mut(..claims.len()).ok_or(ClaimFault::TooMany)?;
        for (place, claim) in places.iter_mut().zip(claims) {
            *place = Some(self.find(*claim)?);
        }
        places.sort_unstable_by_key(|found| found.map(|(claim, ..)| claim.policy));
        let policy = |found: &Option<(Claim, _, _)>| found.map(|(claim, ..)| claim.policy);
        if places
            .windows(2)
            .any(|two| policy(&two[0]) == policy(&two[1]))
        {
            return Err(ClaimFault::Repeated);
        }
        Ok(ordered.map(|found| {
            found.map(|(claim, policy, table)| {
                let hash = self.hasher.hash_one(claim.key);
                let shard = table.hold(hash);
                Held {
                    claim,
                    policy,
                    hash,
                    shard,
                    seat: Seat::Known,
                }
            })
        }))
    }

    fn find(&self, claim: Claim) -> Result<(Claim, &Policy, &Table), ClaimFault> {
        let rule = self.rules.get(claim.policy.0);
        let (policy, table) = rule.ok_or(ClaimFault::Unknown)?;
        Ok((claim, policy, table))
    }

    fn release_now(&self, receipt: &Receipt) -> Result<(), ClaimFault> {
        let Some(taken) = receipt.taken else {
            return Ok(());
        };
        let taken = Tick::from_nanos(taken.get());
        for place in receipt.places.iter().flatten() {
            let (claim, policy, table) = self.find(place.claim)?;
            let hash = self.hasher.hash_one(claim.key);
            let mut shard = table.hold(hash);
            let ask = Ask {
                hash,
                rate: policy.rate,
                now: self.clock.tick(),
            };
            shard.give_back(ask, taken, place.estimated);
        }
        Ok(())
    }
}

/// Looks whether every claim has a place; the tightest standing if so, else the one with the longest wait.
fn check(held: &mut HeldClaims<'_>, now: Tick) -> Result<Option<Standing>, Standing> {
    for held in held.iter().flatten() {
        held.shard.touch(held.hash);
    }
    let mut tally = Tally::default();
    for held in held.iter_mut().flatten() {
        let ask = held.ask(now);
        let (seat, verdict) = held.shard.check(ask);
        held.seat = seat;
        tally.hear(held.policy, verdict);
    }
    tally.outcome()
}

/// Takes the place of every claim.
fn take(held: &mut HeldClaims<'_>, taken: Tick) -> Receipt {
    let mut places = [None; MOST_CLAIMS];
    for (place, held) in places.iter_mut().zip(held.iter_mut().flatten()) {
        let ask = held.ask(taken);
        held.shard.take(ask, held.seat);
        *place = Some(Place {
            claim: held.claim,
            estimated: held.seat == Seat::Estimated,
            shared: None,
        });
    }
    Receipt {
        // No clock begins at nought.
        taken: NonZeroU64::new(taken.as_nanos()),
        places,
    }
}

#[async_trait]
impl LimitStore for MemoryLimits {
    async fn decide(&self, address: IpAddr, claims: &[Claim]) -> Result<Decision, LimitError> {
        self.decide_now(address, claims).map_err(LimitError::new)
    }

    async fn release(&self, receipt: Receipt) -> Result<(), LimitError> {
        self.release_now(&receipt).map_err(LimitError::new)
    }

    async fn offend(&self, address: IpAddr, offence: Offence) -> Result<Option<Block>, LimitError> {
        Ok(self.guard.offend(address, offence, self.clock.tick()))
    }

    fn is_exact(&self) -> bool {
        !self.rules.iter().any(|(_, table)| table.is_estimating())
    }
}
