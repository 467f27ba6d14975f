//! Takes back calls that came to nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::{BrokerError, Inner};
use crate::clock::Tick;
use crate::domain::{Call, CallStep, EndReason, EntryId, Outcome, UpstreamCall};
use crate::upstream::{Late, NotBegun};

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
        entry: EntryId,
        failed: NotBegun,
        start: Tick,
    ) -> BrokerError {
        let facts = failed.facts();
        let took = self.parts.clock.tick().since(start);
        let (step, outcome) = if facts.is_definite {
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
            self.change_call(entry, named).await;
            // A call that was given up is ending as soon as it has a name, and then nobody else hangs up.
            let end = CallStep::End(EndReason::Provider).by_anybody();
            self.change_call(entry, end).await;
            self.hang_up(entry, &begun.call).await;
        }
    }
}
