//! Owns what is written down of every use: the entries of the ledger.

use std::fmt;
use std::time::Duration;

use super::{Account, Network, Origin, PersonaName, Quota, RequestId, random_bytes};
use crate::clock::Timestamp;

/// An entry's name: when it was made and 80 random bits, as 32 hexadecimal digits. Later ones sort later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(u128);

impl EntryId {
    /// A new one, made at `now`.
    pub fn new(now: Timestamp) -> Self {
        let mut random = [0; 16];
        random[6..].copy_from_slice(&random_bytes::<10>());
        Self(u128::from(now.as_millis()) << 80 | u128::from_be_bytes(random))
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// What a caller used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It opened a session, with its first client secret.
    Mint,
    /// It was given another client secret under a session.
    Refresh,
}

impl Kind {
    /// As records call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mint => "mint",
            Self::Refresh => "refresh",
        }
    }
}

/// A use that is about to happen. Written down before it does.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Its name.
    pub id: EntryId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: Kind,
    /// By whom; `None` for a caller without identity.
    pub account: Option<Account>,
    /// In which role.
    pub role: Option<Box<str>>,
    /// For which persona.
    pub persona: PersonaName,
    /// The wide network around the caller's address: enough to see a pattern, too little to find a person.
    pub network: Network,
    /// From which page.
    pub origin: Option<Origin>,
    /// What the session is called in records: not its handle, which it cannot be computed back to.
    pub session: Box<str>,
    /// The request that asked for it.
    pub request_id: RequestId,
    /// What the account may use; looked at only when [`Kind::Mint`] is asked for.
    pub quota: Quota,
}

/// What became of an intent.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Which intent.
    pub id: EntryId,
    /// When that was known.
    pub at: Timestamp,
    /// How long the upstream took.
    pub took: Duration,
    /// What.
    pub outcome: Outcome,
}

/// How a use ended. All but [`Outcome::Failed`] count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A client secret was minted.
    Minted {
        /// When it stops opening upstream sessions.
        expires_at: Timestamp,
        /// The model it is for, in the upstream's words.
        model: Option<Box<str>>,
        /// The upstream's name for our request.
        upstream_request: Option<Box<str>>,
    },
    /// A client secret was minted, and its caller had left by then.
    Undelivered,
    /// Certainly none was minted: what was reserved is given back.
    Failed {
        /// The code that the caller was answered.
        code: &'static str,
    },
    /// Nobody knows: it may have been minted.
    Uncertain {
        /// The code that the caller was answered.
        code: &'static str,
    },
}

impl Outcome {
    /// As records call it. An intent without outcome is `pending`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Minted { .. } => "minted",
            Self::Undelivered => "undelivered",
            Self::Failed { .. } => "failed",
            Self::Uncertain { .. } => "uncertain",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_ids_are_all_different_and_sort_by_time() {
        let at = |millis| EntryId::new(Timestamp::from_millis(millis)).to_string();
        let (early, late) = (at(1_700_000_000_000), at(1_700_000_000_001));
        assert!(early < late);
        assert_eq!(early.len(), 32);
        assert_ne!(at(5), at(5));
    }
}
