//! Owns the memory of quotas that were found used up a moment ago, so that asking again costs the ledger nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Tick, Timestamp};
use crate::domain::IdentityKey;

/// How long it is believed. Short, because a failed mint may give a place back.
const BELIEVED: Duration = Duration::from_secs(10);
/// Most identities that are remembered; when there are more, all are asked about again.
const CAPACITY: usize = 10_000;

/// A quota that is used up.
#[derive(Clone, Copy)]
pub(super) struct SpentQuota {
    /// What it allows.
    pub(super) limit: u32,
    /// When there is a new one.
    pub(super) resets_at: Timestamp,
}

/// Identities whose quota was used up, and since when that is known.
#[derive(Default)]
pub(super) struct Spent(Mutex<HashMap<IdentityKey, (SpentQuota, Tick)>>);

impl Spent {
    /// The quota of `identity` is used up.
    pub(super) fn note(&self, identity: IdentityKey, quota: SpentQuota, now: Tick) {
        let mut known = self.known();
        if known.len() >= CAPACITY {
            known.clear();
        }
        known.insert(identity, (quota, now));
    }

    /// The quota of `identity`, if it was found used up a moment before now, and still is.
    pub(super) fn of(&self, identity: IdentityKey, clock: &dyn Clock) -> Option<SpentQuota> {
        let (quota, since) = *self.known().get(&identity)?;
        let is_fresh = clock.tick().since(since) < BELIEVED;
        (is_fresh && clock.now() < quota.resets_at).then_some(quota)
    }

    /// Forgets what is no longer believed.
    pub(super) fn sweep(&self, now: Tick) {
        let mut known = self.known();
        known.retain(|_, (_, since)| now.since(*since) < BELIEVED);
        known.shrink_to_fit();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<IdentityKey, (SpentQuota, Tick)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
