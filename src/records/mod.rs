//! The contract of records: the append-only ledger of use, and the quotas that are counted with it.

mod database;
pub mod memory;
mod opening;
mod page;
mod plan;
pub mod postgres;
mod queue;
mod reports;
mod sessions;
mod sql;
pub mod sqlite;
mod state;
mod statements;
mod transaction;
mod writer;

use async_trait::async_trait;
use serde::Serialize;

use crate::clock::Timestamp;
use crate::domain::{Account, Intent, Kind, Settlement};

pub use memory::MemoryRecords;
pub use opening::OpenError;
pub use sql::SqlRecords;

/// Why a place was not reserved.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// The account has used up its quota of the month. Nothing was written.
    #[error("the account has used up its {limit} sessions of the month")]
    QuotaExceeded {
        /// What it may use.
        limit: u32,
        /// When the next month begins.
        resets_at: Timestamp,
    },
    /// It could not be written down. If it was written all the same, it was taken back or stays counted.
    #[error(transparent)]
    Unavailable(#[from] RecordsError),
}

/// The ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// More is waiting to be written than may wait.
    #[error("too many entries are waiting to be written")]
    Full,
    /// It was not written in time.
    #[error("the ledger did not answer in time")]
    TimedOut,
    /// It is being closed.
    #[error("the ledger is closed")]
    Closed,
    /// The database failed.
    #[error("the ledger's database failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A counted entry, as the windows want to know it after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: Kind,
    /// By whom.
    pub account: Option<Account>,
}

/// What a report is summed up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// UTC days and roles, latest first.
    Day,
    /// Roles.
    Role,
    /// Personas.
    Persona,
    /// Accounts, busiest first.
    User,
}

impl By {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Day, Self::Role, Self::Persona, Self::User];

    /// As people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Role => "role",
            Self::Persona => "persona",
            Self::User => "user",
        }
    }

    /// Reads what people write.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.as_str() == text)
    }
}

/// What is asked of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// Summed up by what.
    pub by: By,
    /// Entries of this UTC day and later: the day that this moment is in.
    pub since: Timestamp,
    /// Most rows.
    pub most: u32,
}

/// One row of a report. Fields that the report is not summed up by are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UsageRow {
    /// The UTC day, `2026-11-22`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// The role; empty for callers without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The persona.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persona: Option<String>,
    /// The account's issuer; empty for callers without identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The account's subject; empty for callers without identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Sessions opened: mints that count, whatever is known of their outcome.
    pub sessions: u64,
    /// Refreshes that count.
    pub refreshes: u64,
    /// Of both, those whose outcome nobody knows.
    pub uncertain: u64,
    /// Mints and refreshes that failed and do not count.
    pub failed: u64,
    /// When it was last used: milliseconds since the Unix epoch.
    pub last_at: u64,
}

pub use crate::domain::Condition as RecordsCondition;

/// The record of use.
///
/// * What a method has said is done is durable: it survives the process and, for kinds on disk, the loss of power.
/// * `reserve` is atomic with its count: of many at once for one account exactly as many succeed as its quota has left.
///   For an id that is there already it changes nothing and succeeds.
/// * `settle` is idempotent. The first outcome stays, with two exceptions: `Undelivered` may follow `Minted`, and any
///   outcome may follow `Uncertain`. An outcome for an intent that is not there changes nothing.
/// * `Failed` gives back what was reserved, once.
/// * All writes go through one writer that commits many at once; its queue is bounded, and what a caller no longer waits
///   for is not begun. Every method is safe to cancel: it has happened or it has not.
#[async_trait]
pub trait Records: Send + Sync {
    /// Writes down what is about to happen, and counts it, if the quota has a place.
    async fn reserve(&self, intent: Intent) -> Result<(), ReserveError>;

    /// Writes down what became of it.
    async fn settle(&self, settlement: Settlement) -> Result<(), RecordsError>;

    /// Intents from before `before` without outcome become uncertain: whoever made them is gone. Gives their number.
    async fn give_up(&self, before: Timestamp) -> Result<u64, RecordsError>;

    /// Entries that count, from `since` on, oldest first.
    async fn recent(&self, since: Timestamp) -> Result<Vec<Recent>, RecordsError>;

    /// Sums up use.
    async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, RecordsError>;

    /// Removes everything that names the account, its count included. Gives the number of entries.
    async fn erase(&self, account: &Account) -> Result<u64, RecordsError>;

    /// Removes entries from before `before`, at most a thousand. Gives their number: when it is a thousand, there may
    /// be more.
    async fn forget(&self, before: Timestamp) -> Result<u64, RecordsError>;

    /// Whether it can be written.
    fn condition(&self) -> RecordsCondition;

    /// Writes what is waiting, and closes.
    async fn close(&self);
}
