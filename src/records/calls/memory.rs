//! Calls in this process' memory. Nobody takes them over: they end with the process.

use std::time::Duration;

use async_trait::async_trait;

use super::{CallBounds, CallQuery, CallRecords, CallSums, Dialled, Spending, Taken};
use crate::domain::{
    Call, CallChange, CallState, Dial, EntryId, Intent, Party, PersonaName, Settlement,
    UpstreamCallId,
};
use crate::records::{MemoryRecords, RecordsError, ReserveError};

#[async_trait]
impl CallRecords for MemoryRecords {
    async fn open_call(
        &self,
        intent: Intent,
        dial: Dial,
        bounds: CallBounds,
    ) -> Result<Call, ReserveError> {
        let now = self.clock.now();
        let mut book = self.room_for(&intent)?;
        book.taken = Taken::of(book.calls.values(), now);
        let dialled = Dialled {
            intent,
            dial,
            bounds,
        };
        book.count_purses(&dialled.asked(), now);
        let done = book.open_call(&dialled, now)?;
        done.calls.into_iter().next().ok_or(ReserveError::Unknown)
    }

    async fn change_call(
        &self,
        entry: EntryId,
        change: CallChange,
    ) -> Result<Option<Call>, RecordsError> {
        let now = self.clock.now();
        let done = self.book.lock().change_call(entry, &change, now);
        Ok(done.calls.into_iter().next())
    }

    async fn answer_call(
        &self,
        settlement: Settlement,
        changes: Vec<CallChange>,
    ) -> Result<Option<Call>, RecordsError> {
        let now = self.clock.now();
        let done = self.book.lock().answer_call(&settlement, &changes, now);
        Ok(done.calls.into_iter().next())
    }

    async fn spend_call(
        &self,
        entry: EntryId,
        spending: Spending,
    ) -> Result<Option<Call>, RecordsError> {
        let (now, mut book) = (self.clock.now(), self.book.lock());
        if let Some((call, top_up)) = book.calls.get(&entry).cloned().zip(spending.top_up) {
            book.count_purses(&top_up.asked(&call), now);
        }
        let done = book.spend_call(entry, &spending, now);
        Ok(done.calls.into_iter().next())
    }

    async fn model_of_use(
        &self,
        entry: EntryId,
        id: &str,
    ) -> Result<Option<Box<str>>, RecordsError> {
        let book = self.book.lock();
        let found = book.uses.get(&(entry, id.into()));
        Ok(found.and_then(|counted| Some(counted.as_ref()?.model.clone())))
    }

    async fn call(&self, id: &UpstreamCallId) -> Result<Option<Call>, RecordsError> {
        let book = self.book.lock();
        let is_it = |call: &&Call| call.upstream.as_ref().is_some_and(|known| known.id == *id);
        Ok(book.calls.values().find(is_it).cloned())
    }

    async fn calls(&self, query: CallQuery) -> Result<Vec<Call>, RecordsError> {
        let owner = query.account.map(|account| Party::Identity(account.key()));
        let book = self.book.lock();
        let transcriptions = PersonaName::of_transcriptions();
        let (owner, ticket) = (owner.as_ref(), query.ticket.as_ref());
        let is_meant = |call: &&Call| {
            owner.is_none_or(|owner| call.owner == *owner)
                && ticket.is_none_or(|ticket| call.ticket.as_ref() == Some(ticket))
                && call.persona != transcriptions
        };
        let mut calls: Vec<_> = book.calls.values().filter(is_meant).collect();
        let place = |state| match state {
            CallState::Dialling | CallState::Open => 0,
            CallState::Ending => 1,
            CallState::Ended | CallState::Lost => 2,
        };
        calls.sort_unstable_by_key(|call| (place(call.state), std::cmp::Reverse(call.entry)));
        let [skip, most] = [query.skip, query.most].map(|number| number as usize);
        Ok(calls.into_iter().skip(skip).take(most).cloned().collect())
    }

    async fn sum_up_calls(&self) -> Result<CallSums, RecordsError> {
        let book = self.book.lock();
        let transcriptions = PersonaName::of_transcriptions();
        let calls = book.calls.values();
        let calls = calls.filter(|call| call.persona != transcriptions);
        let mut sums = CallSums::default();
        for call in calls {
            sums.listed += 1;
            if call.state.is_live() {
                sums.live += 1;
                sums.nanodollars += call.used.cost.as_count();
                sums.estimated_nanodollars += call.used.estimated.as_count();
                sums.held_nanodollars += call.held.money.as_count();
            }
        }
        Ok(sums)
    }

    async fn renew_calls(&self, replica: &str, _: Duration) -> Result<(), RecordsError> {
        let now = self.clock.now();
        self.renewed.lock().insert(replica.into(), now);
        Ok(())
    }

    async fn unnamed_calls(&self) -> Result<Vec<Call>, RecordsError> {
        let book = self.book.lock();
        let transcriptions = PersonaName::of_transcriptions();
        let is_meant = |call: &&Call| {
            call.upstream.is_none()
                && call.state != CallState::Ended
                && call.persona != transcriptions
        };
        Ok(book.calls.values().filter(is_meant).cloned().collect())
    }

    async fn owed_hang_ups(&self) -> Result<u64, RecordsError> {
        let (now, book) = (self.clock.now(), self.book.lock());
        let is_owed = |call: &&Call| {
            let is_due = call.hang_up_due.is_some_and(|due| due <= now);
            call.state == CallState::Ending && (call.hang_up_attempts > 0 || is_due)
        };
        Ok(book.calls.values().filter(is_owed).count() as u64)
    }

    async fn ending_calls(&self, replica: &str) -> Result<Vec<Call>, RecordsError> {
        let book = self.book.lock();
        let calls = book.calls.values();
        let ending =
            calls.filter(|call| call.state == CallState::Ending && *call.replica == *replica);
        Ok(ending.cloned().collect())
    }

    async fn claim_calls(&self, replica: &str) -> Result<Vec<Call>, RecordsError> {
        let (now, mut book) = (self.clock.now(), self.book.lock());
        let mut claimed = Vec::new();
        for call in book.calls.values_mut() {
            if call.is_claimable(*call.replica == *replica, now) {
                call.watched_until = self.renewed.lock().get(&call.replica).copied();
                *call = call.claimed(replica, now);
                claimed.push(call.clone());
                call.watched_until = None;
            }
        }
        Ok(claimed)
    }
}
