//! Health of the upstream, from the outcomes of operations and of free looks.

use std::time::Duration;

use super::error::Trouble;
use super::{Complaint, Probe, UpstreamError};
use crate::domain::Condition;

/// What the last dealings with the upstream showed.
#[derive(Default)]
pub(super) struct Seen {
    trouble: Trouble,
    /// How long the last good answer took.
    pub(super) latency: Option<Duration>,
}

impl Seen {
    /// Notes an operation that succeeded after `took`.
    pub(super) const fn succeeded(&mut self, took: Duration) {
        self.trouble = Trouble::Nothing;
        self.latency = Some(took);
    }

    /// Notes an operation that succeeded, and whose time says nothing.
    pub(super) const fn served(&mut self) {
        self.trouble = Trouble::Nothing;
    }

    /// Notes an operation or a look that failed. An open circuit breaker says less than the failure that opened it.
    pub(super) fn failed(&mut self, error: &UpstreamError) {
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
