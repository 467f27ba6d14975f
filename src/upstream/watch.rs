//! Remembers how the upstream is, from the outcomes of operations and of free looks.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::Trouble;
use super::{Probe, UpstreamError};
use crate::clock::Tick;
use crate::domain::Condition;

/// What the last dealings with the upstream showed.
#[derive(Default)]
pub(super) struct Watch(Mutex<Seen>);

#[derive(Clone, Copy, Default)]
struct Seen {
    trouble: Option<Trouble>,
    latency: Option<Duration>,
    last_success: Option<Tick>,
}

impl Watch {
    /// Notes an operation that succeeded at `now` after `took`.
    pub(super) fn succeeded(&self, took: Duration, now: Tick) {
        *self.seen() = Seen {
            trouble: None,
            latency: Some(took),
            last_success: Some(now),
        };
    }

    /// Notes an operation or a look that failed. An open circuit breaker says less than the failure that opened it.
    pub(super) fn failed(&self, error: &UpstreamError) {
        let mut seen = self.seen();
        match (error.facts().trouble, seen.trouble) {
            (None, _)
            | (Some(Trouble::Resting), Some(Trouble::Refusing | Trouble::KeyRejected)) => {}
            (trouble, _) => seen.trouble = trouble,
        }
    }

    /// Notes a free look that was answered. An answer does not show that operations are accepted.
    pub(super) fn looked(&self, probe: &Probe) {
        let mut seen = self.seen();
        seen.latency = Some(probe.latency);
        seen.trouble = seen.trouble.filter(|trouble| match trouble {
            Trouble::Silent | Trouble::Resting => false,
            Trouble::KeyRejected => probe.refusal.is_some(),
            Trouble::Refusing => true,
        });
    }

    pub(super) fn condition(&self) -> Condition {
        match self.seen().trouble {
            None => Condition::Operational,
            Some(Trouble::Silent | Trouble::Refusing) => Condition::Degraded,
            Some(Trouble::Resting | Trouble::KeyRejected) => Condition::Down,
        }
    }

    /// Returns how long the upstream's last good answer took.
    pub(super) fn latency(&self) -> Option<Duration> {
        self.seen().latency
    }

    /// Returns when an operation last succeeded.
    pub(super) fn last_success(&self) -> Option<Tick> {
        self.seen().last_success
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
