//! Undoes calls that did not begin, or that nobody can use.

use std::sync::Arc;
use std::time::Duration;

use super::tend::END_WAITS;
use crate::broker::{BrokerError, Inner};
use crate::clock::Tick;
use crate::domain::{Call, CallStep, EndReason, EntryId, Mark, Outcome, SessionText, UpstreamCall};
use crate::provider::Dialect;
use crate::upstream::{Late, NotBegun};

/// Most attempts to hang up a call that the records do not know. They take two hours, and the provider ends every call by then.
const MOST_ATTEMPTS: usize = 125;

impl Inner {
    /// Hangs up a call that nobody can use. A GPT-Live session has cost money since its creation.
    pub(super) async fn undone(
        self: &Arc<Self>,
        row: &Call,
        (call, took): (&UpstreamCall, Duration),
        error: BrokerError,
    ) -> BrokerError {
        let end = CallStep::End(EndReason::Provider).by_anybody();
        self.change_call(row.entry, end).await;
        if !self.hang_up(row.entry, call).await {
            let (inner, entry, call) = (Arc::clone(self), row.entry, call.clone());
            let again = async move { inner.hang_up_unknown(entry, call).await };
            self.watches.tasks.spawn(again);
        }
        let code = error.records_code();
        let settled = self.settle_call(row.entry, took, Outcome::Failed { code });
        let error = settled.await.err().unwrap_or(error);
        if call.id.is_live() {
            billed(error)
        } else {
            error
        }
    }

    /// Records that the provider created no call, or that the outcome is unknown.
    pub(super) async fn not_begun(
        self: &Arc<Self>,
        row: &Call,
        failed: NotBegun,
        (start, session): (Tick, &SessionText),
    ) -> BrokerError {
        let entry = row.entry;
        let facts = match session.dialect() {
            Dialect::Realtime => failed.error.facts_of_call(),
            Dialect::Live => failed.error.facts_of_live_call(),
        };
        let is_definite = facts.is_definite;
        let took = self.parts.clock.tick().since(start);
        let (step, outcome) = if is_definite {
            let outcome = Outcome::Failed { code: facts.code };
            (CallStep::Over(EndReason::Provider), outcome)
        } else {
            let outcome = Outcome::Uncertain { code: facts.code };
            (CallStep::Lost(self.rules.call.join_timeout), outcome)
        };
        self.change_call(entry, step.by_anybody()).await;
        // First, so that a call that is created late is hung up even if recording its outcome fails.
        if let Some(late) = failed.late {
            let inner = Arc::clone(self);
            self.work
                .spawn(async move { inner.hang_up_late(entry, late).await });
        }
        let settled = self.settle_call(entry, took, outcome).await;
        if !is_definite {
            self.book_creation(row, session, Mark::Estimated).await;
        }
        let (error, facts) = (failed.error, Box::new(facts));
        let not_begun = BrokerError::Upstream { error, facts, took };
        settled.err().unwrap_or(not_begun)
    }

    /// Hangs up a call that was created after its caller was told that it failed.
    async fn hang_up_late(&self, entry: EntryId, late: Late) {
        if let Some(begun) = late.begun().await
            && let Some(row) = self.hang_up_unknown(entry, begun.call).await
        {
            self.book_unwatched(&row).await;
        }
    }

    /// Ends a call that this replica watches and that the records have lost, because nothing else would end it.
    pub(super) async fn end_forgotten(&self, entry: EntryId, call: &UpstreamCall) {
        tracing::error!(
            call = call.id.as_str(),
            "the records have lost a running call, so the call is ended; check whether the database was restored from a copy"
        );
        if call.id.is_of_relay() {
            self.end_relay(entry, EndReason::Blind);
        } else {
            self.hang_up_unknown(entry, call.clone()).await;
        }
    }

    /// Hangs up a call whose id the records may not have, and tries again until the provider confirms it or the records know
    /// the call and owe the hang-up. Returns the row if this has written the id down.
    async fn hang_up_unknown(&self, entry: EntryId, call: UpstreamCall) -> Option<Call> {
        let records = &self.parts.records;
        let mut waits = END_WAITS.into_iter();
        let mut wait = 0;
        for _ in 0..MOST_ATTEMPTS {
            if let Ok(Some(_)) = records.call(&call.id).await {
                return None;
            }
            let named = CallStep::Named(call.clone()).by_anybody();
            let row = self.change_call(entry, named).await;
            // A call that was given up is ending as soon as its id is recorded, and then nothing else hangs up.
            let end = CallStep::End(EndReason::Provider).by_anybody();
            self.change_call(entry, end).await;
            if self.hang_up(entry, &call).await || row.is_some() {
                return row;
            }
            wait = waits.next().unwrap_or(wait);
            self.parts.clock.sleep(Duration::from_secs(wait)).await;
        }
        None
    }
}

/// Returns the failure of a call that is billed although it failed: it has used up what a call takes.
fn billed(mut error: BrokerError) -> BrokerError {
    if let BrokerError::Upstream { facts, .. } = &mut error {
        facts.is_definite = false;
    }
    error
}
