//! Entries of the ledger: one for every use, written before it happens and settled after it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Account, KnownTicket, Network, Origin, PersonaName, Quota, RequestId, Session, SessionKey,
    random_bytes,
};
use crate::clock::Timestamp;

/// The name of an entry: its time and 80 random bits, as 32 hexadecimal digits. Later entries sort later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(u128);

impl EntryId {
    /// Returns a new name for an entry made at `now`.
    pub fn new(now: Timestamp) -> Self {
        let mut random = [0; 16];
        random[6..].copy_from_slice(&random_bytes::<10>());
        Self(u128::from(now.as_millis()) << 80 | u128::from_be_bytes(random))
    }

    /// Parses the text form of an entry's name.
    pub fn parse(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().map(Self)
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

/// The kind of a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A session was opened, with its first client secret.
    Mint,
    /// Another client secret was minted under a session.
    Refresh,
    /// A call was opened with a credential. It counts as a session.
    Call,
    /// A call was opened with a ticket, whose mint counts as the session.
    Redemption,
    /// A recording was transcribed.
    Transcription,
}

impl Kind {
    /// True when a use of this kind has a place in the quota of sessions.
    pub const fn is_session(self) -> bool {
        match self {
            Self::Mint | Self::Call => true,
            Self::Refresh | Self::Redemption | Self::Transcription => false,
        }
    }

    /// True when a use of this kind opens a call.
    pub const fn is_call(self) -> bool {
        match self {
            Self::Call | Self::Redemption => true,
            Self::Mint | Self::Refresh | Self::Transcription => false,
        }
    }

    /// True when a use of this kind has a row among the calls, which holds a place, time and money until its end.
    pub const fn holds(self) -> bool {
        self.is_call() || matches!(self, Self::Transcription)
    }
}

/// A use that is about to happen. It is recorded before it happens.
#[derive(Clone, Debug)]
pub struct Intent {
    /// The entry's name.
    pub id: EntryId,
    /// The time of the use.
    pub at: Timestamp,
    /// The kind of the use.
    pub kind: Kind,
    /// The caller's account; `None` for a caller without identity.
    pub account: Option<Account>,
    /// The caller's verified role.
    pub role: Option<Box<str>>,
    /// The persona.
    pub persona: PersonaName,
    /// The wide network around the caller's address: it shows a pattern, but does not identify a person.
    pub network: Network,
    /// The page's origin.
    pub origin: Option<Origin>,
    /// The session's key. Entries show only its label, from which no id can be computed.
    pub session: SessionKey,
    /// The request that asked for the use.
    pub request_id: RequestId,
    /// The account's quota. It applies to uses that count as sessions.
    pub quota: Quota,
}

/// The outcome of an intent, and its effect on the session.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The intent's name.
    pub id: EntryId,
    /// The time at which the outcome was known.
    pub at: Timestamp,
    /// The time that the upstream took.
    pub took: Duration,
    /// The outcome.
    pub outcome: Outcome,
    /// The change to the session, made in the same transaction if the outcome is accepted.
    pub session: SessionChange,
    /// The ticket that was minted, stored in the same transaction. It lives as long after that as its expiry lies after
    /// [`Settlement::at`].
    pub ticket: Option<Box<KnownTicket>>,
}

/// A change to a session that goes along with the outcome of a use.
#[derive(Clone, Debug)]
pub enum SessionChange {
    /// No change.
    Keep,
    /// Opens the session. When its owner then has more than `most`, those idle longest are ended.
    Open {
        /// The session's key.
        key: SessionKey,
        /// The session. The database sets its times.
        session: Box<Session>,
        /// Most live sessions of its owner.
        most: u32,
    },
    /// Takes back the refresh that the entry made, unless the session has been refreshed since.
    GiveBack(SessionKey),
    /// Ends the session that the entry opened: its id never reached anybody.
    Close(SessionKey),
}

/// The outcome of a use. Every outcome but [`Outcome::Failed`] counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A client secret was minted.
    Minted {
        /// The time at which the client secret stops opening upstream sessions.
        expires_at: Timestamp,
        /// The model, in the upstream's words.
        model: Option<Box<str>>,
        /// The upstream's name for our request.
        upstream_request: Option<Box<str>>,
    },
    /// A client secret was minted after its caller had left.
    Undelivered,
    /// Certainly no client secret was minted. The reservation is given back.
    Failed {
        /// The code of the answer to the caller.
        code: &'static str,
    },
    /// A client secret may have been minted.
    Uncertain {
        /// The code of the answer to the caller.
        code: &'static str,
    },
}

impl Outcome {
    /// Returns the word for it in the records. An intent without outcome is `pending`.
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
    fn entry_ids_are_unique_and_sort_by_time() {
        let at = |millis| EntryId::new(Timestamp::from_millis(millis)).to_string();
        let (early, late) = (at(1_700_000_000_000), at(1_700_000_000_001));
        assert!(early < late);
        assert_eq!(early.len(), 32);
        assert_ne!(at(5), at(5));
    }
}
