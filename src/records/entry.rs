//! One entry as it is stored: its state, and which outcome may replace which.

use serde::{Deserialize, Serialize};

use super::Recent;
use super::calls::UsedRow;
use crate::clock::Timestamp;
use crate::domain::{Account, Intent, Kind, Month, Network, Outcome};

/// The state of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Pending,
    Minted,
    Undelivered,
    Failed,
    Uncertain,
}

impl State {
    /// Returns the state of an entry with that outcome.
    pub(super) const fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Minted { .. } => Self::Minted,
            Outcome::Undelivered => Self::Undelivered,
            Outcome::Failed { .. } => Self::Failed,
            Outcome::Uncertain { .. } => Self::Uncertain,
        }
    }

    /// True when `next` may replace this state.
    pub(super) const fn yields_to(self, next: Self) -> bool {
        match self {
            Self::Pending | Self::Uncertain => true,
            Self::Minted => matches!(next, Self::Undelivered),
            Self::Undelivered | Self::Failed => false,
        }
    }
}

/// The code of an intent whose maker is probably gone.
pub(super) const LEFT_PENDING: &str = "left_pending";
/// The code of an intent whose account's sessions were ended: it opens none.
pub(super) const ENDED: &str = "sessions_ended";

/// The name of a counter of sessions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub(super) struct CounterKey {
    /// `2026-11`.
    pub(super) month: String,
    issuer: Box<str>,
    subject: Box<str>,
}

impl CounterKey {
    pub(super) fn is_of(&self, account: &Account) -> bool {
        *self.issuer == *account.issuer && *self.subject == *account.subject
    }
}

/// The part of an entry that sums, quotas and windows depend on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Entry {
    pub(super) id: Box<str>,
    /// In milliseconds since the Unix epoch.
    at: u64,
    pub(super) kind: Kind,
    #[serde(rename = "outcome")]
    pub(super) state: State,
    pub(super) issuer: Option<Box<str>>,
    pub(super) subject: Option<Box<str>>,
    pub(super) role: Option<Box<str>>,
    pub(super) persona: Box<str>,
    network: Box<str>,
    /// Why there is no better outcome, in one word.
    pub(super) code: Option<Box<str>>,
    /// The sums of use of a call.
    #[serde(flatten, skip_serializing)]
    pub(super) used: UsedRow,
}

impl Entry {
    /// Returns the entry that was just made of `intent`.
    pub(super) fn pending(intent: &Intent) -> Self {
        let account = intent.account.as_ref();
        Self {
            id: intent.id.to_string().into(),
            at: intent.at.as_millis(),
            kind: intent.kind,
            state: State::Pending,
            issuer: account.map(|account| (*account.issuer).into()),
            subject: account.map(|account| (*account.subject).into()),
            role: intent.role.clone(),
            persona: intent.persona.as_str().into(),
            network: intent.network.to_string().into(),
            code: None,
            used: UsedRow::default(),
        }
    }

    pub(super) const fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.at)
    }

    pub(super) fn account(&self) -> Option<Account> {
        let named = self.issuer.as_deref().zip(self.subject.as_deref());
        named.map(|(issuer, subject)| Account {
            issuer: issuer.into(),
            subject: subject.into(),
        })
    }

    /// True when the entry uses the quota.
    pub(super) fn counts(&self) -> bool {
        self.state != State::Failed
    }

    /// Returns the counter that the entry has a place in.
    pub(super) fn counter(&self) -> Option<CounterKey> {
        let (issuer, subject) = (self.issuer.clone()?, self.subject.clone()?);
        let counts = self.kind.is_session() && self.counts();
        let month = Month::of(self.at()).to_string();
        counts.then_some(CounterKey {
            month,
            issuer,
            subject,
        })
    }

    /// Returns what windows count of the entry after a restart.
    pub(super) fn recent(&self) -> Recent {
        let address = self.network.split('/').next().unwrap_or_default();
        Recent {
            at: self.at(),
            kind: self.kind,
            account: self.account(),
            neighbourhood: address.parse().map(Network::around).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_outcome_stays_with_two_exceptions() {
        let all = [
            State::Pending,
            State::Minted,
            State::Undelivered,
            State::Failed,
            State::Uncertain,
        ];
        for from in all {
            for to in &all[1..] {
                let expected = match from {
                    State::Pending | State::Uncertain => true,
                    State::Minted => *to == State::Undelivered,
                    State::Undelivered | State::Failed => false,
                };
                assert_eq!(from.yields_to(*to), expected, "{from:?} {to:?}");
            }
        }
    }
}
