//! The records: the append-only ledger of use, the quotas that are counted with it, the sessions, the tickets and the calls,
//! in one writer's transactions.

mod alerts;
mod announcements;
mod book;
mod calls;
mod command;
mod costs;
mod database;
mod entries;
mod entry;
mod kept;
pub mod look_up;
mod measures;
pub mod memory;
mod opening;
pub mod postgres;
mod queue;
mod ranking;
mod reports;
mod sessions;
mod sql;
pub mod sqlite;
mod statement;
mod sums;
mod tickets;
mod turns;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use crate::clock::Timestamp;
use crate::domain::{
    Account, Caller, EntryId, Exhausted, Intent, Kind, KnownTicket, Network, Party, RefreshRules,
    Refusal, SafetyKey, Session, SessionKey, Settlement, TicketRefusal,
};

pub use alerts::AlertTimes;
pub use announcements::{ANNOUNCED, Announcement};
pub use calls::{CallBound, CallBounds, CallQuery, CallRecords, CallSums, Spending, TopUp};
pub use costs::HourCosts;
pub use look_up::{LookUpError, Sessions};
pub use measures::{Sums, measures};
pub use memory::MemoryRecords;
pub use opening::OpenError;
pub use sql::SqlRecords;
pub use turns::{Turn, Turns};

/// A quota that has no place left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The quota.
    pub limit: u32,
    /// The time at which the next month begins.
    pub resets_at: Timestamp,
}

/// Why a use was not recorded. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// The account has used up its quota of the month.
    #[error("the account has used up its {} sessions of the month", .0.limit)]
    QuotaExceeded(Exceeded),
    /// There is no session to refresh.
    #[error("there is no such session")]
    Unknown,
    /// The session does not allow the refresh.
    #[error(transparent)]
    Refused(Refusal),
    /// There are too many calls at once.
    #[error("there are too many calls at once ({0:?})")]
    TooManyCalls(CallBound),
    /// A budget is used up.
    #[error("a budget is used up")]
    Exhausted(Exhausted),
    /// The ticket opens nothing.
    #[error(transparent)]
    Ticket(TicketRefusal),
    /// The owner has asked for the call before, under the same `Idempotency-Key`: it has this entry.
    #[error("the same call was asked for before")]
    Repeated(EntryId),
    /// The intent could not be written. If it was written all the same, it is taken back or stays counted.
    #[error(transparent)]
    Unavailable(#[from] RecordsError),
}

/// The records could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The queue to the writer is full.
    #[error("too many entries are waiting to be written")]
    Full,
    /// The change was not written in time.
    #[error("the database did not answer in time")]
    TimedOut,
    /// The records are being closed.
    #[error("the records are closed")]
    Closed,
    /// The database failed.
    #[error("the database of the records failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl RecordsError {
    /// Returns the failure in a word.
    const fn code(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::TimedOut => "timed_out",
            Self::Closed => "closed",
            Self::Failed(_) => "failed",
        }
    }
}

/// A session, and the time on the database's clock when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dated {
    /// The session.
    pub session: Session,
    /// The database's time.
    pub now: Timestamp,
}

/// A ticket, and the time on the database's clock when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatedTicket {
    /// The ticket.
    pub ticket: KnownTicket,
    /// The database's time.
    pub now: Timestamp,
}

/// The result of recording an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The outcome is recorded.
    Recorded,
    /// The outcome is recorded, and has opened the session.
    Opened(Dated),
    /// The account's sessions were ended, or its entries erased, since the intent was recorded. What was minted must not be
    /// delivered, and no session was opened.
    Ended,
}

/// A refresh that a caller asks for.
#[derive(Clone, Debug)]
pub struct Advance {
    /// The caller.
    pub caller: Arc<Caller>,
    /// The bounds on refreshes.
    pub rules: RefreshRules,
}

/// A counted entry, from which windows are filled after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    /// The time of the use.
    pub at: Timestamp,
    /// The kind of the use.
    pub kind: Kind,
    /// The caller's account.
    pub account: Option<Account>,
    /// The wide network around the caller's address, if the entry names one.
    pub neighbourhood: Option<Network>,
}

/// What waits to be written, and what was done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Commands that wait.
    pub waiting: usize,
    /// Transactions that were committed.
    pub commits: u64,
    /// Commands that were written in them.
    pub written: u64,
    /// Settlements that were dropped in a long outage.
    pub dropped: u64,
    /// How often the database was lost.
    pub failures: u64,
}

/// The columns that a report is summed up by.
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
    /// Models, and whether their figures are measured or estimated; the dearest first. Counts calls, not sessions.
    Model,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Day,
        Self::Role,
        Self::Persona,
        Self::User,
        Self::Model,
    ];

    /// Returns the word that people write for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Role => "role",
            Self::Persona => "persona",
            Self::User => "user",
            Self::Model => "model",
        }
    }

    /// Parses the word that people write for it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.as_str() == text)
    }
}

/// A question about use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// The columns that the report is summed up by.
    pub by: By,
    /// The first UTC day of the report is the day of this moment.
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
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How the figures came to be known: `measured` or `estimated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// The sums of all measures.
    #[serde(flatten)]
    pub sums: Sums,
}

pub use crate::domain::Condition as RecordsCondition;

/// The record of use, and of the sessions that it belongs to.
///
/// * A change that a method has confirmed is durable: it survives the process and, on disk, the loss of power.
/// * `reserve` is atomic with its count: of many at once for one account, exactly as many succeed as its quota has
///   left. For an id that is recorded already it changes nothing and succeeds.
/// * `advance` is `reserve` for a refresh, atomic with the move of its session: of many at once for one session, one
///   moves it. [`Session::refresh`] judges the session's row at the database's time.
/// * `settle` is idempotent. The first outcome stays, with two exceptions: `Undelivered` may follow `Minted`, and any
///   outcome may follow `Uncertain`. The change to the session is made if, and only if, the outcome is accepted. An
///   outcome for an intent that is not recorded changes nothing.
/// * `Failed` gives back what was reserved, once.
/// * An ended session is gone for every broker at once.
/// * One writer commits many changes at once. Its queue is bounded, and a change whose caller has left is not begun.
///   Every method is safe to cancel: it has happened, or it has not.
#[async_trait]
pub trait Records: CallRecords {
    /// Records and counts a use that is about to happen, if the quota has a place.
    async fn reserve(&self, intent: Intent) -> Result<(), ReserveError>;

    /// Records a refresh that is about to happen, and moves its session on, if the session's row allows it. Returns the
    /// session after the refresh.
    async fn advance(&self, intent: Intent, asked: Advance) -> Result<Dated, ReserveError>;

    /// Records an outcome, changes the session along with it, and stores the ticket that was minted. Repeated with the same
    /// outcome, returns the same, unless the session was ended in between.
    async fn settle(&self, settlement: Settlement) -> Result<Settled, RecordsError>;

    /// Looks a session up.
    async fn session(&self, key: SessionKey) -> Result<Option<Dated>, RecordsError>;

    /// Looks a ticket up by its hash. Tickets are kept for an hour after they expire.
    async fn ticket(&self, hash: &str) -> Result<Option<DatedTicket>, RecordsError>;

    /// Ends all sessions and tickets of `owner`. Returns the number of sessions.
    async fn end_sessions(&self, owner: Party) -> Result<u64, RecordsError>;

    /// Removes sessions of `max_age` and older, and those idle longest beyond `most`. Returns the number of sessions that
    /// are left.
    async fn sweep_sessions(&self, max_age: Duration, most: u64) -> Result<u64, RecordsError>;

    /// Returns the key behind safety identifiers. Makes and keeps it when there is none.
    async fn safety_key(&self) -> Result<SafetyKey, RecordsError>;

    /// Settles intents from before `before` without outcome as uncertain, those of one account or of everybody. Returns
    /// their number. Intents of one account are [`Settled::Ended`] then, those that were given up earlier included; of
    /// everybody's intents, one whose maker is still at work is settled as ever.
    async fn give_up(&self, before: Timestamp, of: Option<&Account>) -> Result<u64, RecordsError>;

    /// Returns the entries that count, from `since` on, oldest first.
    async fn recent(&self, since: Timestamp) -> Result<Vec<Recent>, RecordsError>;

    /// Sums up use.
    async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, RecordsError>;

    /// Sums up the use of one account by UTC days, the latest first. The account of callers without identity has no names.
    async fn usage_of(
        &self,
        account: &Account,
        since: Timestamp,
    ) -> Result<Vec<UsageRow>, RecordsError>;

    /// Removes everything that names the account, its count and its sessions included. Returns the number of entries.
    async fn erase(&self, account: &Account) -> Result<u64, RecordsError>;

    /// Removes entries from before `before`, at most a thousand. Returns their number: a thousand means that there may
    /// be more.
    async fn forget(&self, before: Timestamp) -> Result<u64, RecordsError>;

    /// Raises the alert `name`, or prolongs it. Returns true, to one of all replicas, when the alert has to be reported: it was
    /// off, and its cool-down is over.
    async fn raise_alert(&self, name: &str, times: AlertTimes) -> Result<bool, RecordsError>;

    /// Ends the alerts that no replica has raised for their time. Returns their names, to one of all replicas, which reports
    /// them.
    async fn end_alerts(&self) -> Result<Vec<String>, RecordsError>;

    /// Returns what the calls that began in the hour before `until` cost, and the mean of the same hour of the seven days before.
    /// `None` when the records have no history of a week.
    async fn hour_costs(&self, until: Timestamp) -> Result<Option<HourCosts>, RecordsError>;

    /// Records a session that the provider has announced. Returns false for a webhook that was received before.
    async fn announce(&self, new: Announcement) -> Result<bool, RecordsError>;

    /// Gives announcements that are due to one of all replicas. They are due again after half a minute, unless they are
    /// judged.
    async fn due_announcements(&self) -> Result<Vec<Announcement>, RecordsError>;

    /// Notes that the announcement of `webhook` was judged, or has to be judged again after the time `again`.
    async fn judged(&self, webhook: &str, again: Option<Duration>) -> Result<(), RecordsError>;

    /// Returns what waits to be written, and what was written since the start. All zero for records without a writer.
    fn figures(&self) -> Figures {
        Figures::default()
    }

    /// Returns whether the records can be written.
    fn condition(&self) -> RecordsCondition;

    /// Writes what is waiting, and closes.
    async fn close(&self);
}

/// Age at which an intent without outcome is given up. A mint may take `upstream.timeout` and twice `ledger.timeout`, and
/// the clocks of replicas may differ. An outcome that is later still counts.
const LONGEST_INTENT: Duration = Duration::from_mins(10);
/// Bounds the chunks that one turn deletes, so that other transactions do not wait.
const MOST_CHUNKS: usize = 60;

impl dyn Records + '_ {
    /// Removes entries that are older than `retention`, and gives up intents that no broker works on any more.
    pub async fn tidy(&self, now: Timestamp, retention: Duration) -> Result<(), RecordsError> {
        self.give_up(now.minus(LONGEST_INTENT), None).await?;
        for _ in 0..MOST_CHUNKS {
            if self.forget(now.minus(retention)).await? == 0 {
                break;
            }
        }
        Ok(())
    }
}
