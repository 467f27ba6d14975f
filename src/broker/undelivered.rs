//! Grants whose caller left before the answer, kept for a short while in case the caller repeats the request.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Grant;
use crate::clock::Tick;
use crate::domain::SessionKey;

/// Most grants that are kept. The oldest is dropped first.
const CAPACITY: usize = 1024;

/// Grants that were minted but not delivered. Memory holds them, for the least interval between two refreshes: until
/// then the session cannot be refreshed again anyway.
pub(super) struct Undelivered {
    lifetime: Duration,
    kept: Mutex<VecDeque<(SessionKey, Grant, Tick)>>,
}

impl Undelivered {
    pub(super) const fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            kept: Mutex::new(VecDeque::new()),
        }
    }

    pub(super) fn keep(&self, key: SessionKey, grant: Grant, now: Tick) {
        self.sweep(now);
        let mut kept = self.kept();
        if kept.len() >= CAPACITY {
            kept.pop_front();
        }
        kept.push_back((key, grant, now));
    }

    /// Takes out the grant of that session, if one is kept.
    pub(super) fn take(&self, key: SessionKey, now: Tick) -> Option<Grant> {
        let mut kept = self.kept();
        let place = kept
            .iter()
            .rposition(|(owner, _, since)| *owner == key && now.since(*since) < self.lifetime)?;
        kept.remove(place).map(|(_, grant, _)| grant)
    }

    /// Drops grants that nobody came back for in time.
    pub(super) fn sweep(&self, now: Tick) {
        self.kept()
            .retain(|(_, _, since)| now.since(*since) < self.lifetime);
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(SessionKey, Grant, Tick)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
