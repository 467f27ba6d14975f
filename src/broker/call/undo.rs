//! Takes back calls that came to nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::{BrokerError, Inner};
use crate::clock::Tick;
use crate::domain::{Call, CallStep, EndReason, EntryId, Mark, Outcome, SessionText, UpstreamCall};
use crate::provider::Dialect;
use crate::upstream::{Late, NotBegun, UpstreamError};

impl Inner {
    /// Hangs up a call that nobody can use.
    pub(super) async fn undone(
        &self,
        row: &Call,
        (call, took): (&UpstreamCall, Duration),
        error: BrokerError,
    ) -> BrokerError {
        let end = CallStep::End(EndReason::Provider).by_anybody();
        self.change_call(row.entry, end).await;
        self.hang_up(row.entry, call).await;
        let code = error.records_code();
        let settled = self.settle_call(row.entry, took, Outcome::Failed { code });
        settled.await.err().unwrap_or(error)
    }

    /// Notes that the provider created no call, or that nobody knows.
    pub(super) async fn not_begun(
        self: &Arc<Self>,
        row: &Call,
        failed: NotBegun,
        (start, session): (Tick, &SessionText),
    ) -> BrokerError {
        let entry = row.entry;
        let facts = failed.facts();
        let took = self.parts.clock.tick().since(start);
        // A GPT-Live session is billed from its creation, and a server that failed may have created it.
        let may_be_billed =
            session.dialect() == Dialect::Live && matches!(failed.error, UpstreamError::Broken(_));
        let is_definite = facts.is_definite && !may_be_billed;
        let (step, outcome) = if is_definite {
            let outcome = Outcome::Failed { code: facts.code };
            (CallStep::Over(EndReason::Provider), outcome)
        } else {
            let outcome = Outcome::Uncertain { code: facts.code };
            (CallStep::Lost(self.rules.call.join_timeout), outcome)
        };
        self.change_call(entry, step.by_anybody()).await;
        if let Err(error) = self.settle_call(entry, took, outcome).await {
            return error;
        }
        if !is_definite {
            self.book_creation(row, session, Mark::Estimated).await;
        }
        if let Some(late) = failed.late {
            let inner = Arc::clone(self);
            self.work
                .spawn(async move { inner.hang_up_late(entry, late).await });
        }
        BrokerError::call(failed.error, took)
    }

    /// Hangs up a call that was created after its caller was told that it failed.
    async fn hang_up_late(&self, entry: EntryId, late: Late) {
        if let Some(begun) = late.begun().await {
            let named = CallStep::Named(begun.call.clone()).by_anybody();
            let row = self.change_call(entry, named).await;
            // A call that was given up is ending as soon as it has a name, and then nobody else hangs up.
            let end = CallStep::End(EndReason::Provider).by_anybody();
            self.change_call(entry, end).await;
            self.hang_up(entry, &begun.call).await;
            if let Some(row) = row {
                self.book_unwatched(&row).await;
            }
        }
    }
}
