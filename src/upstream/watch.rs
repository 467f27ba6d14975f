//! Health of the upstream, from the outcomes of operations and of free looks.

use std::time::Duration;

use super::error::Trouble;
use super::{Complaint, Probe, UpstreamError};
use crate::clock::Tick;
use crate::domain::Condition;

/// What the last dealings with the upstream showed.
#[derive(Default)]
pub(super) struct Seen {
    trouble: Trouble,
    /// How long the last good answer took.
    pub(super) latency: Option<Duration>,
    /// When an operation last succeeded.
    pub(super) last_success: Option<Tick>,
    /// True while the API key is rejected, or may not do what is asked of it.
    pub(super) is_key_rejected: bool,
}

impl Seen {
    /// Notes an operation that succeeded at `now` after `took`.
    pub(super) const fn succeeded(&mut self, took: Duration, now: Tick) {
        *self = Self {
            trouble: Trouble::Nothing,
            latency: Some(took),
            last_success: Some(now),
            is_key_rejected: false,
        };
    }

    /// Notes an operation that succeeded at `now`, and whose time says nothing.
    pub(super) const fn served(&mut self, now: Tick) {
        self.trouble = Trouble::Nothing;
        self.last_success = Some(now);
        self.is_key_rejected = false;
    }

    /// Notes an operation or a look that failed. An open circuit breaker says less than the failure that opened it.
    pub(super) fn failed(&mut self, error: &UpstreamError) {
        self.is_key_rejected |= matches!(error, UpstreamError::KeyRejected(_));
        match (error.facts().trouble, self.trouble) {
            (Trouble::Nothing, _)
            | (Trouble::Resting, Trouble::Refusing | Trouble::KeyRejected) => {}
            (trouble, _) => self.trouble = trouble,
        }
    }

    /// Notes a free look that was answered. An answer does not show that operations are accepted.
    pub(super) fn looked(&mut self, probe: &Probe) {
        self.latency = Some(probe.latency);
        let is_over = match self.trouble {
            Trouble::Nothing | Trouble::Silent | Trouble::Resting => true,
            Trouble::KeyRejected => {
                let refusal = probe.refusal.as_ref();
                refusal.is_none_or(Complaint::lacks_permission)
            }
            Trouble::Refusing => false,
        };
        if is_over {
            self.trouble = Trouble::Nothing;
            self.is_key_rejected = false;
        }
    }

    pub(super) const fn condition(&self) -> Condition {
        match self.trouble {
            Trouble::Nothing => Condition::Operational,
            Trouble::Silent | Trouble::Refusing => Condition::Degraded,
            Trouble::Resting | Trouble::KeyRejected => Condition::Down,
        }
    }
}
