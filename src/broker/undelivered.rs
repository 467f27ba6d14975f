//! Owns grants whose caller left before they could be handed over, for a caller who comes back at once.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Grant;
use crate::clock::Tick;
use crate::domain::SessionKey;

/// Most grants that are kept; the oldest gives way.
const CAPACITY: usize = 1024;

/// Grants that were minted but not handed over. Kept in memory only, and only as long as the session may not be
/// refreshed again anyway.
pub(super) struct Undelivered {
    patience: Duration,
    kept: Mutex<VecDeque<(SessionKey, Grant, Tick)>>,
}

impl Undelivered {
    pub(super) const fn new(patience: Duration) -> Self {
        Self {
            patience,
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

    /// The grant of that session, if one was kept a short while ago. Handed over once.
    pub(super) fn take(&self, key: SessionKey, now: Tick) -> Option<Grant> {
        let mut kept = self.kept();
        let place = kept
            .iter()
            .rposition(|(owner, _, since)| *owner == key && now.since(*since) < self.patience)?;
        kept.remove(place).map(|(_, grant, _)| grant)
    }

    /// Forgets what nobody came back for in time.
    pub(super) fn sweep(&self, now: Tick) {
        self.kept()
            .retain(|(_, _, since)| now.since(*since) < self.patience);
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(SessionKey, Grant, Tick)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
