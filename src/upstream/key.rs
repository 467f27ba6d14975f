//! The state of one API key at the provider: accepted, rejected, or unknown.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync;

use super::{Complaint, Payer, Probe, UpstreamError};
use crate::clock::{Tick, Timestamp};
use crate::config::ApiKey;
use crate::domain::{KeyFingerprint, PersonaName};

/// An API key that may start operations. The key itself is known to the client of the provider alone.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) alias: Box<str>,
    pub(super) fingerprint: KeyFingerprint,
    personas: Vec<PersonaName>,
    roles: Vec<Box<str>>,
    standing: Mutex<Standing>,
    /// The start and the result of the last look that judged a rejection: true when the key was bad.
    pub(super) judged: sync::Mutex<Option<(Tick, bool)>>,
}

/// The state of an API key, for operators.
#[derive(Clone, Debug)]
pub struct KeyHealth {
    /// The alias of the key.
    pub alias: Box<str>,
    /// Whether the key may be used.
    pub state: KeyState,
    /// When an operation last succeeded.
    pub last_success: Option<Timestamp>,
}

/// Whether an API key may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// The provider takes the key, as far as is known.
    Accepted,
    /// The key starts nothing for a moment: its account has no credit left.
    Resting,
    /// The provider rejects the key, or the key lacks a permission.
    Rejected,
}

impl KeyState {
    /// Returns the state in a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Resting => "resting",
            Self::Rejected => "rejected",
        }
    }
}

/// The state of a key at the provider.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    rejection: Rejection,
    /// Until when the key starts nothing.
    rests_until: Option<Tick>,
    /// When an operation last succeeded.
    last_success: Option<Tick>,
}

/// Whether the provider rejects a key, and what ends that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rejection {
    /// The provider takes the key.
    #[default]
    Nothing,
    /// The provider rejects the key. A success ends that, or a look that the key passes.
    Known,
    /// The key lacks a permission. Only a success ends that: the key passes looks.
    Restricted,
}

impl Key {
    /// Returns a key of which nothing is known but its last success.
    pub(super) fn new(settings: &ApiKey, last_success: Option<Tick>) -> Self {
        let standing = Standing {
            last_success,
            ..Standing::default()
        };
        Self {
            alias: settings.alias.clone(),
            fingerprint: settings.fingerprint(),
            personas: settings.personas.clone(),
            roles: settings.roles.clone(),
            standing: Mutex::new(standing),
            judged: sync::Mutex::default(),
        }
    }

    /// Returns how closely the settings assign the key to `payer`: by persona, then by role, then as a key for everybody.
    /// `None` for a key for others.
    pub(super) fn fit(&self, payer: Payer<'_>) -> Option<u8> {
        if payer
            .persona
            .is_some_and(|name| self.personas.contains(name))
        {
            Some(2)
        } else if self.roles.iter().any(|role| payer.role == Some(&**role)) {
            Some(1)
        } else {
            (self.personas.is_empty() && self.roles.is_empty()).then_some(0)
        }
    }

    /// True when the settings assign both keys to the same callers.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.personas == other.personas && self.roles == other.roles
    }

    /// Notes an operation that succeeded at `now`. The rest that a later operation has earned goes on.
    pub(super) fn succeeded(&self, now: Tick) {
        let mut standing = self.standing.lock();
        standing.rejection = Rejection::Nothing;
        standing.last_success = Some(now);
    }

    /// Notes an operation or a look that failed. Only failures that are the key's say something of it.
    pub(super) fn failed(&self, error: &UpstreamError) {
        if let UpstreamError::KeyRejected(complaint) = error {
            self.standing.lock().rejection = if complaint.lacks_permission() {
                Rejection::Restricted
            } else {
                Rejection::Known
            };
        }
    }

    /// Starts nothing for as long as `error` asks for, from `now` on.
    pub(super) fn rest_after(&self, error: &UpstreamError, now: Tick) {
        let rest = error.facts().rest().unwrap_or_default();
        self.standing.lock().rests_until = Some(now.plus(rest));
    }

    /// Notes a look that was answered. An answer does not show that operations are accepted.
    pub(super) fn looked(&self, probe: &Probe) {
        let refusal = probe.refusal.as_ref();
        let mut standing = self.standing.lock();
        let passes = refusal.is_none_or(Complaint::lacks_permission);
        if passes && standing.rejection == Rejection::Known {
            standing.rejection = Rejection::Nothing;
        }
    }

    /// Returns how long the key rests from `now` on; zero when it may be used.
    pub(super) fn rest(&self, now: Tick) -> Duration {
        let until = self.standing.lock().rests_until;
        until.map_or(Duration::ZERO, |until| until.since(now))
    }

    /// True while the provider rejects the key, or the key lacks a permission.
    pub(super) fn is_rejected(&self) -> bool {
        self.standing.lock().rejection != Rejection::Nothing
    }

    /// True while a look has to show that the key is good again, before it is preferred to another one.
    pub(super) fn is_doubted(&self) -> bool {
        self.standing.lock().rejection == Rejection::Known
    }

    /// Returns whether the key may be used at `now`.
    pub(super) fn state(&self, now: Tick) -> KeyState {
        if self.is_rejected() {
            KeyState::Rejected
        } else if self.rest(now).is_zero() {
            KeyState::Accepted
        } else {
            KeyState::Resting
        }
    }

    /// Returns when an operation last succeeded.
    pub(super) fn last_success(&self) -> Option<Tick> {
        self.standing.lock().last_success
    }
}
