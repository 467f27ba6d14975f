//! Ends calls, and takes over calls that no replica watches any more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::watch::Watch;
use super::{Answered, LEASE, RENEW, Told};
use crate::audit::Event;
use crate::broker::{Broker, Inner};
use crate::domain::{
    Call, CallChange, CallState, CallStep, EndReason, EntryId, Mark, Outcome, SessionChange,
    UpstreamCall,
};
use crate::records::{CallQuery, RecordsError};
use crate::spans;
use crate::upstream::HungUp;

/// Calls that the records hand out at a time.
const FULL_ROUND: usize = 100;
/// Bounds the rounds of one turn, so that other work of the records does not wait.
const MOST_ROUNDS: usize = 100;
/// The waits, in seconds, between the attempts to end a call, until the end is recorded or confirmed.
pub(super) const END_WAITS: [u64; 5] = [1, 5, 10, 30, 60];

impl Broker {
    /// Renews the lease under which this replica watches its calls, takes over the calls that no replica watches any more,
    /// and repeats hang-ups that are not confirmed.
    pub async fn tend_calls(&self) {
        let (inner, watches) = (&self.0, &self.0.watches);
        if let Err(error) = inner.renew().await {
            return inner.note_records(&error);
        }
        inner.end_relays().await;
        if let Err(error) = inner.take_over_unwatched().await {
            return inner.note_records(&error);
        }
        for _ in 0..MOST_ROUNDS {
            let claimed = inner.parts.records.claim_calls(&watches.replica).await;
            let calls = match claimed {
                Ok(calls) => calls,
                Err(error) => {
                    watches.has_lost_claims.store(true, Ordering::Relaxed);
                    return inner.note_records(&error);
                }
            };
            let is_last = calls.len() < FULL_ROUND;
            for call in calls {
                let inner = Arc::clone(inner);
                watches
                    .tasks
                    .spawn(async move { inner.take_over(call).await });
            }
            if is_last {
                return;
            }
        }
    }
}

impl Broker {
    /// Gives up this replica's leases, so that another replica or the next run can watch its calls at once.
    pub async fn let_calls_go(&self) {
        let watches = &self.0.watches;
        for mut running in watches.running.iter_mut() {
            if let Some(over) = running.over.take() {
                self.0.note_ended(&over);
            }
        }
        let gone = self
            .0
            .parts
            .records
            .renew_calls(&watches.replica, Duration::ZERO);
        if let Err(error) = gone.await {
            self.0.note_records(&error);
        }
    }
}

impl Inner {
    /// Takes over the calls that this replica has claimed and does not watch. A claim whose answer was lost may hold: then no
    /// other replica claims those calls.
    async fn take_over_unwatched(self: &Arc<Self>) -> Result<(), RecordsError> {
        let watches = &self.watches;
        if !watches.has_lost_claims.load(Ordering::Relaxed) {
            return Ok(());
        }
        let all = CallQuery {
            account: None,
            ticket: None,
            skip: 0,
            most: u32::MAX,
        };
        for call in self.parts.records.calls(all).await? {
            let is_claimed = *call.replica == *watches.replica && call.epoch > 0;
            let is_watched = watches.running.contains_key(&call.entry);
            if is_claimed && !is_watched && call.state == CallState::Open {
                let inner = Arc::clone(self);
                watches
                    .tasks
                    .spawn(async move { inner.take_over(call).await });
            }
        }
        watches.has_lost_claims.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Takes a call over that this replica has just claimed.
    async fn take_over(self: Arc<Self>, row: Call) {
        // The clock was set, or the watch is ending the call.
        if row.state == CallState::Open && self.watches.goes_on(&row) {
            return;
        }
        let Some(call) = row.upstream.clone() else {
            let step = CallStep::Lost(self.rules.call.join_timeout).by(row.epoch);
            self.change_call(row.entry, step).await;
            // The provider may have created it.
            let agreement = self.agreement();
            let persona = agreement.personas.named(row.persona.as_str());
            if let Some(Ok(terms)) = persona.map(|persona| self.terms_again(&row, persona)) {
                let session = &terms.session;
                self.book_creation(&row, session, Mark::Estimated).await;
            }
            return;
        };
        if call.id.is_of_relay() {
            return self.end_abandoned_relay(&row).await;
        }
        let of = (row.entry, Some(row.epoch));
        match row.state {
            // If its deadline has passed, the watch ends the call at once, and counts the unobserved time.
            CallState::Open => {
                let agreement = self.agreement();
                let persona = agreement.personas.named(row.persona.as_str());
                let persona = persona.filter(|one| one.session.dialect() == call.id.dialect());
                if let Some(terms) =
                    persona.and_then(|persona| self.terms_again(&row, persona).ok())
                {
                    let watch = Watch::new(&self, (row, call), terms);
                    return self.watch(watch, None);
                }
                self.end_until_certain(of, &call, EndReason::Shutdown).await;
            }
            CallState::Dialling => self.end_until_certain(of, &call, EndReason::Shutdown).await,
            CallState::Ending | CallState::Ended | CallState::Lost => {
                self.hang_up(row.entry, &call).await;
            }
        }
        self.book_unwatched(&row).await;
    }

    /// Ends the relays of this replica whose end was decided on another one.
    async fn end_relays(&self) {
        if self.watches.relays.is_empty() {
            return;
        }
        match self.parts.records.ending_calls(&self.watches.replica).await {
            Ok(ending) => {
                let is_relay = |row: &&Call| {
                    row.upstream
                        .as_ref()
                        .is_some_and(|call| call.id.is_of_relay())
                };
                for row in ending.iter().filter(is_relay) {
                    self.end_abandoned_relay(row).await;
                }
            }
            Err(error) => self.note_records(&error),
        }
    }

    /// Ends a relay whose end is decided, or whose broker is gone: its sockets were closed with the broker.
    async fn end_abandoned_relay(&self, row: &Call) {
        let is_late = row.state == CallState::Open && self.parts.clock.now() >= row.deadline_at;
        let usual = if is_late {
            EndReason::TimeLimit
        } else {
            EndReason::Shutdown
        };
        let reason = row.end_reason.unwrap_or(usual);
        self.end_relay(row.entry, reason);
        let over = CallStep::Over(reason).by_anybody();
        self.change_call(row.entry, over).await;
    }

    /// Renews the lease when that is due. If the lease has expired, another replica may already watch the calls.
    async fn renew(&self) -> Result<(), RecordsError> {
        let (clock, watches) = (&self.parts.clock, &self.watches);
        let asked = clock.tick();
        let last = watches.lease.lock().renewed;
        if last.is_some_and(|last| asked.since(last) < RENEW) {
            return Ok(());
        }
        let renewing = self.parts.records.renew_calls(&watches.replica, LEASE);
        renewing.await?;
        let was_late = {
            let mut lease = watches.lease.lock();
            let was_late = lease.has_lapsed(clock.tick());
            lease.lapses += u32::from(was_late);
            lease.renewed = Some(asked);
            was_late
        };
        if was_late {
            watches.wake_all();
        }
        Ok(())
    }

    /// Ends a call. Records the decision first, then asks the provider to hang up; the provider is asked even if the records
    /// fail. An error means that neither has succeeded. With an `epoch`, only the watch of that epoch may end the call.
    pub(in crate::broker) async fn end_call(
        &self,
        (entry, epoch): (EntryId, Option<u32>),
        call: &UpstreamCall,
        reason: EndReason,
    ) -> Result<(), RecordsError> {
        let (records, step) = (&self.parts.records, CallStep::End(reason));
        let is_here = call.id.is_of_relay() && self.end_relay(entry, reason);
        let ended = match records.change_call(entry, CallChange { epoch, step }).await {
            Ok(Some(_)) if call.id.is_of_relay() => {
                // Otherwise the replica that carries the relay ends it and records the end.
                if is_here {
                    let over = CallStep::Over(reason).by_anybody();
                    self.change_call(entry, over).await;
                }
                Ok(())
            }
            // The watch of the call closes the session, and hangs up when that does not help.
            Ok(Some(_)) if call.id.is_live() && self.watches.running.contains_key(&entry) => Ok(()),
            Ok(Some(_)) => {
                self.hang_up(entry, call).await;
                Ok(())
            }
            // Another task or replica has ended the call, or watches it.
            Ok(None) => {
                if let Some(epoch) = epoch {
                    self.end_unchanged((entry, epoch), call, reason).await;
                }
                Ok(())
            }
            Err(error) => {
                self.note_records(&error);
                if !call.id.is_of_relay() && self.hang_up(entry, call).await {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        };
        self.watches.wake(entry);
        ended
    }

    /// Ends a call whose row the watch of `epoch` could not change, unless another task does: the records have lost the call, or
    /// they have made the change and their answer was lost.
    async fn end_unchanged(
        &self,
        (entry, epoch): (EntryId, u32),
        call: &UpstreamCall,
        reason: EndReason,
    ) {
        match self.parts.records.call(&call.id).await {
            Ok(None) => self.end_forgotten(entry, call).await,
            Ok(Some(row)) => {
                let is_own = row.epoch == epoch && row.end_reason == Some(reason);
                // The watch of another kind of call closes its connection.
                let is_plain = !call.id.is_live() && !call.id.is_of_relay();
                if is_own && is_plain && row.state == CallState::Ending {
                    self.hang_up(entry, call).await;
                }
            }
            Err(error) => self.note_records(&error),
        }
    }

    /// Ends a call, and tries again until the end is recorded or confirmed.
    pub(super) async fn end_until_certain(
        &self,
        of: (EntryId, Option<u32>),
        call: &UpstreamCall,
        reason: EndReason,
    ) {
        let mut waits = END_WAITS.into_iter();
        let mut wait = 0;
        while self.end_call(of, call, reason).await.is_err() {
            wait = waits.next().unwrap_or(wait);
            self.parts.clock.sleep(Duration::from_secs(wait)).await;
        }
    }

    /// Hangs up a call whose caller left before its answer.
    pub(in crate::broker) async fn end_undelivered(&self, answered: &Answered) {
        let (entry, took) = (answered.entry, answered.upstream_took);
        self.end_until_certain((entry, None), &answered.call, EndReason::HungUp)
            .await;
        let outcome = (Outcome::Undelivered, SessionChange::Keep, None);
        if let Err(error) = self.settle(entry, took, outcome).await {
            self.note_records(&error);
        }
    }

    /// Asks the provider once to end a call. Returns whether it confirmed; if not, the hang-up stays owed.
    pub(super) async fn hang_up(&self, entry: EntryId, call: &UpstreamCall) -> bool {
        let (is_over, step) = match self.parts.upstream.hang_up(call).await {
            Ok(HungUp::Ended | HungUp::WasOver) => (true, CallStep::Over(EndReason::Provider)),
            Err(error) => {
                tracing::warn!(
                    call = call.id.as_str(),
                    %error,
                    "the provider did not confirm a hang-up; it is repeated until it is confirmed"
                );
                (false, CallStep::HangUpFailed)
            }
        };
        let outcome = if is_over { "confirmed" } else { "failed" };
        self.parts.vitals.series.hang_ups.add([outcome], 1);
        self.change_call(entry, step.by_anybody()).await;
        is_over
    }

    /// Forgets a watch that has ended, and records the end of its call.
    pub(super) async fn forget(&self, entry: EntryId, told: &Arc<Told>) {
        let Some(over) = self.watches.forget(entry, told) else {
            return;
        };
        let found = match &over.upstream {
            Some(upstream) => self.parts.records.call(&upstream.id).await,
            None => Ok(None),
        };
        // The last use was counted after the end.
        self.note_ended(found.ok().flatten().as_ref().unwrap_or(&over));
    }

    /// Records the end of a call.
    fn note_ended(&self, call: &Call) {
        self.count_end(call);
        spans::note_end(call.end_reason, call.used.seconds, call.used.turns);
        let details = json!({
            "call": call.upstream.as_ref().map(|upstream| upstream.id.as_str()),
            "persona": call.persona.as_str(),
            "reason": call.end_reason.map(EndReason::as_str),
            "seconds": call.used.seconds,
            "turns": call.used.turns,
            "cost": call.used.cost.to_string(),
            "estimated_cost": call.used.estimated.to_string(),
        });
        self.parts.audit.note(Event::CallEnded, details);
    }

    /// Changes the row of a call. Logs a failure; the next round of [`Broker::tend_calls`] corrects the row.
    pub(super) async fn change_call(&self, entry: EntryId, change: CallChange) -> Option<Call> {
        match self.parts.records.change_call(entry, change).await {
            Ok(changed) => changed.inspect(|call| {
                if call.state == CallState::Ended {
                    self.watches.full.remove(&call.owner);
                    if !self.watches.takes_end(call) {
                        self.note_ended(call);
                    }
                }
            }),
            Err(error) => {
                self.note_records(&error);
                None
            }
        }
    }
}
