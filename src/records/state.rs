//! Owns what may become of an entry, and what it adds to the sums.

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
    pub(super) const fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Minted { .. } => Self::Minted,
            Outcome::Undelivered => Self::Undelivered,
            Outcome::Failed { .. } => Self::Failed,
            Outcome::Uncertain { .. } => Self::Uncertain,
        }
    }

    /// What records call it.
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

    /// True when `next` may take its place.
    pub(super) const fn yields_to(self, next: Self) -> bool {
        match self {
            Self::Pending | Self::Uncertain => true,
            Self::Minted => matches!(next, Self::Undelivered),
            Self::Undelivered | Self::Failed => false,
        }
    }

    /// True when it uses the quota.
    pub(super) const fn counts(self) -> bool {
        !matches!(self, Self::Failed)
    }
}

/// As records call it.
pub(super) fn parse_kind(text: &str) -> Option<Kind> {
    [Kind::Mint, Kind::Refresh]
        .into_iter()
        .find(|kind| kind.as_str() == text)
}

/// An entry, as far as sums and quotas care.
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
    /// What was just written down.
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

    /// The counter that it has a place in.
    pub(super) fn counter(&self) -> Option<(Month, &Account)> {
        let account = self.account.as_ref()?;
        (self.kind == Kind::Mint && self.state.counts()).then(|| (Month::of(self.at), account))
    }

    /// What it adds to the sums.
    pub(super) fn sums(&self) -> Sums {
        let counted = |kind| i64::from(self.state.counts() && self.kind == kind);
        Sums {
            sessions: counted(Kind::Mint),
            refreshes: counted(Kind::Refresh),
            uncertain: i64::from(self.state == State::Uncertain),
            failed: i64::from(self.state == State::Failed),
            last_at: self.at.as_millis(),
        }
    }
}

/// What a report says of a number of entries, or a change of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) sessions: i64,
    pub(super) refreshes: i64,
    pub(super) uncertain: i64,
    pub(super) failed: i64,
    pub(super) last_at: u64,
}

impl Sums {
    /// Together with `other`.
    pub(super) fn add(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.refreshes += other.refreshes;
        self.uncertain += other.uncertain;
        self.failed += other.failed;
        self.last_at = self.last_at.max(other.last_at);
    }

    /// What takes these away again; the time of the last one stays.
    pub(super) fn taken_back(self) -> Self {
        Self {
            sessions: -self.sessions,
            refreshes: -self.refreshes,
            uncertain: -self.uncertain,
            failed: -self.failed,
            last_at: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_outcome_stays_but_for_two_exceptions() {
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
