//! A short memory of quotas that were found used up, so that a repeated request costs the database nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Tick};
use crate::domain::IdentityKey;
use crate::records::Exceeded;

/// How long a used-up quota is remembered. Short, because a failed mint may give a place back.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Most identities that are remembered. Beyond them the memory is cleared.
const CAPACITY: usize = 10_000;

/// Identities whose quota was found used up, and when.
#[derive(Default)]
pub(super) struct Spent(Mutex<HashMap<IdentityKey, (Exceeded, Tick)>>);

impl Spent {
    /// Remembers that the quota of `identity` is used up.
    pub(super) fn note(&self, identity: IdentityKey, quota: Exceeded, now: Tick) {
        let mut known = self.known();
        if known.len() >= CAPACITY {
            known.clear();
        }
        known.insert(identity, (quota, now));
    }

    /// Returns the quota of `identity`, if it was found used up a moment ago and has not begun anew.
    pub(super) fn of(&self, identity: IdentityKey, clock: &dyn Clock) -> Option<Exceeded> {
        let (quota, since) = *self.known().get(&identity)?;
        let is_fresh = clock.tick().since(since) < REMEMBERED;
        (is_fresh && clock.now() < quota.resets_at).then_some(quota)
    }

    /// Forgets quotas that were remembered for long enough.
    pub(super) fn sweep(&self, now: Tick) {
        let mut known = self.known();
        known.retain(|_, (_, since)| now.since(*since) < REMEMBERED);
        known.shrink_to_fit();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<IdentityKey, (Exceeded, Tick)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
