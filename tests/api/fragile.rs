//! A ledger that fails when a test tells it to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use token_broker::clock::{ManualClock, Timestamp};
use token_broker::domain::{
    Account, Call, CallChange, CallStep, Dial, EntryId, Intent, Party, SafetyKey, SessionKey,
    Settlement, UpstreamCallId,
};
use token_broker::records::{
    Advance, AlertTimes, Announcement, CallBounds, CallQuery, CallRecords, CallSums, Dated,
    DatedTicket, HourCosts, MemoryRecords, Recent, Records, RecordsCondition, RecordsError,
    ReserveError, Settled, Spending, UsageQuery, UsageRow,
};
use tokio::sync::Semaphore;

use crate::kit::in_process::{START, TestApp};

/// More look-ups than a test makes.
const PLENTY: usize = 1_000_000;

/// A ledger that fails when told to.
pub struct Fragile {
    inner: MemoryRecords,
    reserves: AtomicBool,
    settles: AtomicBool,
    /// The answer of the next claim of calls is lost.
    loses_claim: AtomicBool,
    /// The answer of the next change that ends a call is lost.
    loses_end: AtomicBool,
    /// All calls are lost, as by a restored copy.
    loses_calls: AtomicBool,
    asked: AtomicUsize,
    /// Each look-up takes a permit, and waits here while there is none.
    look_ups: Semaphore,
    /// Look-ups that have begun.
    looked_up: AtomicUsize,
}

impl Fragile {
    /// Holds all look-ups until they are let go on.
    pub fn hold_look_ups(&self) {
        self.look_ups.forget_permits(PLENTY);
    }

    pub fn let_look_up(&self, count: usize) {
        self.look_ups.add_permits(count);
    }

    /// Returns the reservations so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn looked_up(&self) -> usize {
        self.looked_up.load(Ordering::SeqCst)
    }

    /// The next claim of calls is made, and its answer is lost.
    pub fn lose_claim(&self) {
        self.loses_claim.store(true, Ordering::SeqCst);
    }

    /// The next change that ends a call is made, and its answer is lost. Repeated, it changes nothing.
    pub fn lose_end(&self) {
        self.loses_end.store(true, Ordering::SeqCst);
    }

    /// All calls are gone.
    pub fn lose_calls(&self) {
        self.loses_calls.store(true, Ordering::SeqCst);
    }

    fn has_calls(&self) -> bool {
        !self.loses_calls.load(Ordering::SeqCst)
    }

    pub fn fail(&self, reserves: bool, settles: bool) {
        self.reserves.store(reserves, Ordering::SeqCst);
        self.settles.store(settles, Ordering::SeqCst);
    }
}

fn broken(flag: &AtomicBool) -> Result<(), RecordsError> {
    if flag.load(Ordering::SeqCst) {
        Err(RecordsError::Failed("disk full".into()))
    } else {
        Ok(())
    }
}

#[async_trait]
impl CallRecords for Fragile {
    async fn open_call(
        &self,
        intent: Intent,
        dial: Dial,
        bounds: CallBounds,
    ) -> Result<Call, ReserveError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        broken(&self.reserves)?;
        self.inner.open_call(intent, dial, bounds).await
    }

    async fn change_call(
        &self,
        entry: EntryId,
        change: CallChange,
    ) -> Result<Option<Call>, RecordsError> {
        broken(&self.settles)?;
        let ends = matches!(change.step, CallStep::End(_));
        let is_lost = ends && self.loses_end.swap(false, Ordering::SeqCst);
        let changed = self.inner.change_call(entry, change).await;
        changed.map(|call| call.filter(|_| !is_lost && self.has_calls()))
    }

    async fn answer_call(
        &self,
        settlement: Settlement,
        changes: Vec<CallChange>,
    ) -> Result<Option<Call>, RecordsError> {
        broken(&self.settles)?;
        self.inner.answer_call(settlement, changes).await
    }

    async fn spend_call(
        &self,
        entry: EntryId,
        spending: Spending,
    ) -> Result<Option<Call>, RecordsError> {
        broken(&self.settles)?;
        let spent = self.inner.spend_call(entry, spending).await;
        spent.map(|call| call.filter(|_| self.has_calls()))
    }

    async fn model_of_use(
        &self,
        entry: EntryId,
        id: &str,
    ) -> Result<Option<Box<str>>, RecordsError> {
        self.inner.model_of_use(entry, id).await
    }

    async fn call(&self, id: &UpstreamCallId) -> Result<Option<Call>, RecordsError> {
        self.looked_up.fetch_add(1, Ordering::SeqCst);
        self.look_ups.acquire().await.unwrap().forget();
        let found = self.inner.call(id).await;
        found.map(|call| call.filter(|_| self.has_calls()))
    }

    async fn calls(&self, query: CallQuery) -> Result<Vec<Call>, RecordsError> {
        self.inner.calls(query).await
    }

    async fn sum_up_calls(&self) -> Result<CallSums, RecordsError> {
        self.inner.sum_up_calls().await
    }

    async fn unnamed_calls(&self) -> Result<Vec<Call>, RecordsError> {
        self.inner.unnamed_calls().await
    }

    async fn owed_hang_ups(&self) -> Result<u64, RecordsError> {
        self.inner.owed_hang_ups().await
    }

    async fn ending_calls(&self, replica: &str) -> Result<Vec<Call>, RecordsError> {
        self.inner.ending_calls(replica).await
    }

    async fn renew_calls(&self, replica: &str, lease: Duration) -> Result<(), RecordsError> {
        self.inner.renew_calls(replica, lease).await
    }

    async fn claim_calls(&self, replica: &str) -> Result<Vec<Call>, RecordsError> {
        let claimed = self.inner.claim_calls(replica).await;
        if self.loses_claim.swap(false, Ordering::SeqCst) {
            return Err(RecordsError::TimedOut);
        }
        claimed
    }
}

#[async_trait]
impl Records for Fragile {
    async fn reserve(&self, intent: Intent) -> Result<(), ReserveError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        broken(&self.reserves)?;
        self.inner.reserve(intent).await
    }

    async fn advance(&self, intent: Intent, asked: Advance) -> Result<Dated, ReserveError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        broken(&self.reserves)?;
        self.inner.advance(intent, asked).await
    }

    async fn session(&self, key: SessionKey) -> Result<Option<Dated>, RecordsError> {
        self.looked_up.fetch_add(1, Ordering::SeqCst);
        self.look_ups.acquire().await.unwrap().forget();
        self.inner.session(key).await
    }

    async fn ticket(&self, hash: &str) -> Result<Option<DatedTicket>, RecordsError> {
        self.looked_up.fetch_add(1, Ordering::SeqCst);
        self.inner.ticket(hash).await
    }

    async fn end_sessions(&self, owner: Party) -> Result<u64, RecordsError> {
        broken(&self.reserves)?;
        self.inner.end_sessions(owner).await
    }

    async fn sweep_sessions(&self, max_age: Duration, most: u64) -> Result<u64, RecordsError> {
        self.inner.sweep_sessions(max_age, most).await
    }

    async fn safety_key(&self) -> Result<SafetyKey, RecordsError> {
        self.inner.safety_key().await
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled, RecordsError> {
        broken(&self.settles)?;
        self.inner.settle(settlement).await
    }

    async fn give_up(&self, before: Timestamp, of: Option<&Account>) -> Result<u64, RecordsError> {
        self.inner.give_up(before, of).await
    }

    async fn recent(&self, since: Timestamp) -> Result<Vec<Recent>, RecordsError> {
        self.inner.recent(since).await
    }

    async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, RecordsError> {
        self.inner.usage(query).await
    }

    async fn usage_of(
        &self,
        account: &Account,
        since: Timestamp,
    ) -> Result<Vec<UsageRow>, RecordsError> {
        self.inner.usage_of(account, since).await
    }

    async fn erase(&self, account: &Account) -> Result<u64, RecordsError> {
        self.inner.erase(account).await
    }

    async fn forget(&self, before: Timestamp) -> Result<u64, RecordsError> {
        self.inner.forget(before).await
    }

    async fn raise_alert(&self, name: &str, times: AlertTimes) -> Result<bool, RecordsError> {
        broken(&self.settles)?;
        self.inner.raise_alert(name, times).await
    }

    async fn end_alerts(&self) -> Result<Vec<String>, RecordsError> {
        broken(&self.settles)?;
        self.inner.end_alerts().await
    }

    async fn hour_costs(&self, until: Timestamp) -> Result<Option<HourCosts>, RecordsError> {
        self.inner.hour_costs(until).await
    }

    async fn announce(&self, new: Announcement) -> Result<bool, RecordsError> {
        broken(&self.settles)?;
        self.inner.announce(new).await
    }

    async fn due_announcements(&self) -> Result<Vec<Announcement>, RecordsError> {
        self.inner.due_announcements().await
    }

    async fn judged(&self, webhook: &str, again: Option<Duration>) -> Result<(), RecordsError> {
        self.inner.judged(webhook, again).await
    }

    fn condition(&self) -> RecordsCondition {
        match broken(&self.reserves) {
            Ok(()) => RecordsCondition::Operational,
            Err(_) => RecordsCondition::Down,
        }
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

pub fn fragile(file: &str) -> (TestApp, Arc<Fragile>) {
    let clock = Arc::new(ManualClock::at(START));
    let ledger = Arc::new(Fragile {
        inner: MemoryRecords::new(100_000, Arc::<ManualClock>::clone(&clock)),
        reserves: AtomicBool::new(false),
        settles: AtomicBool::new(false),
        loses_claim: AtomicBool::new(false),
        loses_end: AtomicBool::new(false),
        loses_calls: AtomicBool::new(false),
        asked: AtomicUsize::new(0),
        look_ups: Semaphore::new(PLENTY),
        looked_up: AtomicUsize::new(0),
    });
    let test = TestApp::over(Arc::<Fragile>::clone(&ledger), clock, (file, &[]));
    (test, ledger)
}
