//! Ends calls, and takes care of those that nobody watches any more.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::watch::Watch;
use super::{Answered, LEASE};
use crate::audit::Event;
use crate::broker::{Broker, Inner};
use crate::domain::{
    Call, CallChange, CallState, CallStep, EndReason, EntryId, Listener, Outcome, SessionChange,
    UpstreamCall,
};
use crate::upstream::HungUp;

impl Broker {
    /// Renews the leases of the calls that this replica watches, takes over the calls that nobody watches any more, and
    /// repeats the hang-ups that are owed.
    pub async fn tend_calls(&self) {
        let (inner, records) = (&self.0, &self.0.parts.records);
        let replica = &inner.watches.replica;
        let renewed = records.renew_calls(replica, LEASE).await;
        let claimed = match renewed {
            Ok(()) => records.claim_calls(replica).await,
            Err(error) => Err(error),
        };
        match claimed {
            Ok(calls) => {
                for call in calls {
                    let inner = Arc::clone(inner);
                    self.0
                        .work
                        .spawn(async move { inner.take_over(call).await });
                }
            }
            Err(error) => inner.note_records(&error),
        }
    }
}

impl Broker {
    /// Gives the leases of this replica back, so that its calls are watched elsewhere at once, or by the next run.
    pub(in crate::broker) async fn let_calls_go(&self) {
        let replica = &self.0.watches.replica;
        let gone = self.0.parts.records.renew_calls(replica, Duration::ZERO);
        if let Err(error) = gone.await {
            self.0.note_records(&error);
        }
    }
}

impl Inner {
    /// Takes a call over that this replica has just claimed.
    async fn take_over(self: Arc<Self>, row: Call) {
        // Whoever watched it here has missed its end.
        self.watches.wake(row.entry);
        let now = self.parts.clock.now();
        let Some(call) = row.upstream.clone() else {
            let step = CallStep::Lost(self.rules.call.join_timeout).by(row.epoch);
            self.change_call(row.entry, step).await;
            return;
        };
        match row.state {
            CallState::Open if now < row.deadline_at => {
                let persona = self.rules.personas.named(row.persona.as_str());
                match persona {
                    Some(persona) => {
                        let session = persona.session_for(&Listener::default());
                        let watch = Watch::new(&self, (row, call), session);
                        self.watch(watch, None);
                    }
                    None => self.end_call(row.entry, &call, EndReason::Shutdown).await,
                }
            }
            CallState::Open => self.end_call(row.entry, &call, EndReason::TimeLimit).await,
            CallState::Dialling => self.end_call(row.entry, &call, EndReason::Shutdown).await,
            CallState::Ending | CallState::Ended | CallState::Lost => {
                self.hang_up(row.entry, &call).await;
            }
        }
    }

    /// Ends a call: first the obligation is written down, then the provider is asked to hang up. Without the records, the
    /// provider is asked all the same.
    pub(in crate::broker) async fn end_call(
        &self,
        entry: EntryId,
        call: &UpstreamCall,
        reason: EndReason,
    ) {
        let end = CallStep::End(reason).by_anybody();
        match self.parts.records.change_call(entry, end).await {
            Ok(Some(_)) => self.hang_up(entry, call).await,
            // Somebody else has ended the call, and hangs up.
            Ok(None) => {}
            Err(error) => {
                self.note_records(&error);
                self.hang_up(entry, call).await;
            }
        }
        self.watches.wake(entry);
    }

    /// Hangs up a call whose caller left before its answer.
    pub(in crate::broker) async fn end_undelivered(&self, answered: &Answered) {
        let (entry, took) = (answered.entry, answered.upstream_took);
        self.end_call(entry, &answered.call, EndReason::HungUp)
            .await;
        let outcome = (Outcome::Undelivered, SessionChange::Keep);
        if let Err(error) = self.settle(entry, took, outcome).await {
            self.note_records(&error);
        }
    }

    /// Asks the provider once to end a call. What it does not confirm stays owed.
    pub(super) async fn hang_up(&self, entry: EntryId, call: &UpstreamCall) {
        let step = match self.parts.upstream.hang_up(call).await {
            Ok(HungUp::Ended | HungUp::WasOver) => CallStep::Over(EndReason::Provider),
            Err(error) => {
                tracing::warn!(
                    call = call.id.as_str(),
                    %error,
                    "the provider did not confirm a hang-up; it is repeated until it is confirmed"
                );
                CallStep::HangUpFailed
            }
        };
        self.change_call(entry, step.by_anybody()).await;
    }

    /// Records the end of a call.
    fn note_ended(&self, call: &Call) {
        if call.state != CallState::Ended {
            return;
        }
        let details = json!({
            "call": call.upstream.as_ref().map(|upstream| upstream.id.as_str()),
            "persona": call.persona.as_str(),
            "reason": call.end_reason.map(EndReason::as_str),
            "seconds": call.used.seconds,
            "turns": call.used.turns,
            "cost": call.used.cost.to_string(),
        });
        self.parts.audit.note(Event::CallEnded, details);
    }

    /// Changes the row of a call. A failure is logged; whoever tends calls makes up for it.
    pub(super) async fn change_call(&self, entry: EntryId, change: CallChange) -> Option<Call> {
        match self.parts.records.change_call(entry, change).await {
            Ok(changed) => changed.inspect(|call| self.note_ended(call)),
            Err(error) => {
                self.note_records(&error);
                None
            }
        }
    }
}
