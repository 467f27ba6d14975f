//! The states of an entry, and which outcome may replace which.

use crate::clock::Timestamp;
use crate::domain::{Account, Intent, Kind, Month, Outcome};

/// What is known of an entry's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    /// Parses the word that the records use for a state.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "pending" => Some(Self::Pending),
            "minted" => Some(Self::Minted),
            "undelivered" => Some(Self::Undelivered),
            "failed" => Some(Self::Failed),
            "uncertain" => Some(Self::Uncertain),
            _ => None,
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

    /// True when an entry in this state uses the quota.
    pub(super) const fn counts(self) -> bool {
        !matches!(self, Self::Failed)
    }
}

/// Parses the word that the records use for a kind.
pub(super) fn parse_kind(text: &str) -> Option<Kind> {
    [Kind::Mint, Kind::Refresh]
        .into_iter()
        .find(|kind| kind.as_str() == text)
}

/// The part of an entry that sums and quotas depend on.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) at: Timestamp,
    pub(super) kind: Kind,
    pub(super) state: State,
    pub(super) account: Option<Account>,
    pub(super) role: Option<Box<str>>,
    pub(super) persona: Box<str>,
}

impl Known {
    /// Returns the entry that was just made of `intent`.
    pub(super) fn pending(intent: &Intent) -> Self {
        Self {
            at: intent.at,
            kind: intent.kind,
            state: State::Pending,
            account: intent.account.clone(),
            role: intent.role.clone(),
            persona: intent.persona.as_str().into(),
        }
    }

    /// Returns 1 for an entry of that kind that counts, and else 0.
    pub(super) fn counts_as(&self, kind: Kind) -> i64 {
        i64::from(self.state.counts() && self.kind == kind)
    }

    /// Returns the counter that the entry has a place in.
    pub(super) fn counter(&self) -> Option<(Month, &Account)> {
        let account = self.account.as_ref()?;
        (self.kind == Kind::Mint && self.state.counts()).then(|| (Month::of(self.at), account))
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
