//! Calls in the records: the contract, and the bounds on calls at once.

mod book;
mod memory;
pub(super) mod models;
mod purses;
mod row;
mod rows;
mod spent;
mod sql;
mod used;

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use self::purses::Asked;
use super::{RecordsError, ReserveError};
use crate::domain::{
    Account, Call, CallChange, CallUse, Dial, EntryId, Intent, Settlement, UpstreamCallId,
};

pub use purses::TopUp;

pub(super) use book::Taken;
pub(super) use purses::Purses;
pub(super) use rows::{claim, read, write};
pub(super) use used::UsedRow;

/// How long calls are kept after their end.
pub(super) const KEPT: Duration = Duration::from_hours(1);

/// A bound on calls at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallBound {
    /// The calls of one owner.
    Owner,
    /// The calls of all callers without identity.
    Anonymous,
    /// All calls.
    Total,
    /// The calls of one GPT-Live model.
    Kin,
}

/// Most calls at once. A call that is dialled, or that is not hung up yet, has a place as well.
#[derive(Clone, Copy, Debug)]
pub struct CallBounds {
    /// Of one owner.
    pub owner: u32,
    /// Of all callers without identity together.
    pub anonymous: u32,
    /// Of everybody together.
    pub total: u32,
}

/// A call that a caller asks for.
#[derive(Clone, Debug)]
pub(super) struct Dialled {
    pub(super) intent: Intent,
    pub(super) dial: Dial,
    pub(super) bounds: CallBounds,
}

impl Dialled {
    fn asked(&self) -> Asked<'_> {
        let identity = self.dial.caller.identity.as_deref();
        Asked {
            owner: self.dial.caller.crowd(),
            account: identity.map(|identity| &identity.account),
            budgets: self.dial.budgets,
        }
    }
}

/// What a call has used since it was last written down, and the money that is to be held for it.
#[derive(Clone, Debug, Default)]
pub struct Spending {
    /// The uses. Of one id, the first use counts.
    pub uses: Vec<CallUse>,
    /// The money that is to be held after them; `None` to hold no more.
    pub top_up: Option<TopUp>,
    /// True when nobody hears that it waits a moment, to be written with what others spend.
    pub can_wait: bool,
}

/// A question about calls.
#[derive(Clone, Debug)]
pub struct CallQuery {
    /// The account that owns the calls; `None` for the calls of everybody.
    pub account: Option<Account>,
    /// The hash of the ticket that opened the calls; `None` for calls with any ticket, or without.
    pub ticket: Option<Box<str>>,
    /// The calls to leave out before the first one.
    pub skip: u32,
    /// Most calls.
    pub most: u32,
}

/// Sums over calls, without transcriptions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct CallSums {
    /// Calls that live, and those that ended within the hour.
    pub listed: u64,
    /// Calls that live.
    pub live: u64,
    /// What live calls cost so far, in nano-dollars.
    pub nanodollars: u64,
    /// The part of the cost that is estimated.
    pub estimated_nanodollars: u64,
    /// The money that is held for live calls, in nano-dollars.
    pub held_nanodollars: u64,
}

/// The calls, in the transactions that record their use. All times are on the database's clock.
///
/// * [`Call::apply`] judges every change. Of two changes that exclude each other, one is made.
/// * `open_call` is atomic with its counts: of many at once, on all replicas, as many succeed as the bounds allow. For an id
///   that is recorded already it changes nothing and succeeds. A settlement as failed takes the call back.
/// * A call holds its time, and money that its use is taken from, against its budgets. The hold ends with the call, and the
///   place of a lost call. What live calls hold, and what was spent by reports since the period began, never exceeds a
///   budget, on all replicas together; use beyond a hold counts as well.
/// * A change whose caller has left may have been made.
/// * Calls are kept for an hour after their end.
#[async_trait]
pub trait CallRecords: Send + Sync {
    /// Records a use and the call that comes of it, before it is dialled, if the quota and the bounds have a place.
    async fn open_call(
        &self,
        intent: Intent,
        dial: Dial,
        bounds: CallBounds,
    ) -> Result<Call, ReserveError>;

    /// Changes a call. Returns the call after the change, or `None` when there is no such call, or the call does not allow
    /// the change.
    async fn change_call(
        &self,
        entry: EntryId,
        change: CallChange,
    ) -> Result<Option<Call>, RecordsError>;

    /// Makes all changes of a call and records the outcome of its entry, in one transaction. Returns the call then, or `None`
    /// when the call does not allow a change or the entry does not allow the outcome: then nothing is recorded. Repeated with
    /// the same outcome, it returns the call as it is.
    async fn answer_call(
        &self,
        settlement: Settlement,
        changes: Vec<CallChange>,
    ) -> Result<Option<Call>, RecordsError>;

    /// Adds uses to the call and to the sums of its entry, and then holds money for the call, in one transaction. Returns the
    /// call then, or `None` when there is no such call.
    ///
    /// The uses count whatever becomes of the money. Money is held if the budgets have it, and if the replica with the epoch
    /// of the top-up watches the call: the returned call says how much is held, and its epoch. Repeated, nothing is added.
    async fn spend_call(
        &self,
        entry: EntryId,
        spending: Spending,
    ) -> Result<Option<Call>, RecordsError>;

    /// Adds one use at once, and holds no more money. See [`CallRecords::spend_call`].
    async fn use_call(&self, entry: EntryId, more: CallUse) -> Result<Option<Call>, RecordsError> {
        let spending = Spending {
            uses: vec![more],
            top_up: None,
            can_wait: false,
        };
        self.spend_call(entry, spending).await
    }

    /// Returns the model of the use `id` of a call, if that is counted.
    async fn model_of_use(
        &self,
        entry: EntryId,
        id: &str,
    ) -> Result<Option<Box<str>>, RecordsError>;

    /// Looks a call up.
    async fn call(&self, id: &UpstreamCallId) -> Result<Option<Call>, RecordsError>;

    /// Lists calls: those that run, then those that are ending, then those that are over, and of each the latest first.
    /// Transcriptions, which hold like calls, are no calls.
    async fn calls(&self, query: CallQuery) -> Result<Vec<Call>, RecordsError>;

    /// Sums up all calls.
    async fn sum_up_calls(&self) -> Result<CallSums, RecordsError>;

    /// Lists the calls that the provider may have created under an id that nobody knows: those that are dialled, and those that
    /// were lost within the hour.
    async fn unnamed_calls(&self) -> Result<Vec<Call>, RecordsError>;

    /// Returns the number of calls whose hang-up failed or is overdue, of all replicas.
    async fn owed_hang_ups(&self) -> Result<u64, RecordsError>;

    /// Lists the calls of `replica` that have to end.
    async fn ending_calls(&self, replica: &str) -> Result<Vec<Call>, RecordsError>;

    /// Renews the lease under which `replica` watches its calls. A replica renews its lease before its first call, and lets
    /// go of it with a lease of no length.
    async fn renew_calls(&self, replica: &str, lease: Duration) -> Result<(), RecordsError>;

    /// Gives `replica` calls to take care of, at most a hundred: those of replicas whose lease has run out, hang-ups that
    /// are due, and calls that are [`LATE`](crate::domain::LATE). Where one broker alone uses the records, no other replica
    /// has a lease. On an error, calls may have been given, and are not given again.
    async fn claim_calls(&self, replica: &str) -> Result<Vec<Call>, RecordsError>;
}
