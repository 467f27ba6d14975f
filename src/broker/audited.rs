//! Writes outcomes of paid work to the audit log.

use std::sync::Arc;

use serde_json::{Value, json};
use tracing::Span;

use super::{Answered, BrokerError, Grant, Inner};
use crate::audit::Event;
use crate::clock::millis;
use crate::domain::{Caller, Kind, Origin, PersonaName, Refusal, TicketRefusal};
use crate::records::RecordsError;
use crate::telemetry;
use crate::upstream::{Complaint, UpstreamError};

/// Adds the persona to the span of the request, so that its log lines name it.
pub(super) fn note_persona(persona: &PersonaName) {
    Span::current().record("persona", persona.as_str());
}

/// What paid work gives its caller.
pub(super) trait Delivery: Send + Sync + 'static {
    /// Returns its audit event, for a page of `origin`.
    fn event(&self, origin: Option<&str>) -> Option<(Event, Value)>;

    /// Undoes the work as far as possible, because its caller has left.
    fn undelivered(&self, inner: &Inner) -> impl Future<Output = ()> + Send;
}

impl Delivery for Grant {
    fn event(&self, origin: Option<&str>) -> Option<(Event, Value)> {
        let event = match self.kind {
            Kind::Refresh => Event::TokenRefreshed,
            Kind::Mint | Kind::Call | Kind::Redemption | Kind::Transcription => Event::TokenMinted,
        };
        let what = json!({
            "persona": self.persona.as_str(),
            "origin": origin,
            "connect": self.mode.as_str(),
            "expires_at": self.secret.expires_at.as_millis(),
            "upstream_ms": millis(self.upstream_took),
        });
        Some((event, what))
    }

    async fn undelivered(&self, inner: &Inner) {
        inner.note_undelivered(self).await;
    }
}

impl Delivery for Answered {
    fn event(&self, origin: Option<&str>) -> Option<(Event, Value)> {
        let what = json!({
            "call": self.call.id.as_str(),
            "persona": self.persona.as_str(),
            "origin": origin,
            "ends_at": self.ends_at.as_millis(),
            "upstream_ms": millis(self.upstream_took),
            "join_ms": millis(self.join_took),
        });
        Some((Event::CallOpened, what))
    }

    async fn undelivered(&self, inner: &Inner) {
        inner.end_undelivered(self).await;
    }
}

impl Inner {
    /// Writes the audit event of an outcome.
    pub(super) fn audit<T: Delivery>(
        &self,
        caller: &Caller,
        outcome: &Result<Arc<T>, BrokerError>,
    ) {
        let origin = caller.origin.as_ref().map(Origin::as_str);
        let (event, what) = match outcome {
            Ok(done) => match done.event(origin) {
                Some(event) => event,
                None => return,
            },
            Err(BrokerError::QuotaExceeded { quota, .. }) => {
                let what = json!({
                    "policy": "sessions_per_month",
                    "limit": quota.limit,
                    "resets_at": quota.resets_at.as_millis(),
                });
                (Event::QuotaExceeded, what)
            }
            Err(BrokerError::Exhausted { budget, .. }) => {
                let resets_at = budget.resets_at.as_millis();
                let what = json!({ "policy": budget.name(), "resets_at": resets_at });
                (Event::QuotaExceeded, what)
            }
            Err(BrokerError::Refused(Refusal::Foreign | Refusal::Network)) => {
                let what = json!({ "allowed": false, "origin": origin });
                (Event::SessionMismatch, what)
            }
            Err(BrokerError::Ticket(TicketRefusal::Used)) => {
                (Event::TicketReused, json!({ "origin": origin }))
            }
            Err(BrokerError::NotRecorded(error) | BrokerError::NotSettled(error)) => {
                return self.note_records(error);
            }
            Err(BrokerError::Upstream {
                error: UpstreamError::KeyRejected(complaint),
                ..
            }) => {
                return self.note_rejected_key(complaint);
            }
            Err(_) => return,
        };
        self.record(event, caller, what);
    }

    /// Records an event that concerns `caller`.
    pub(super) fn record(&self, event: Event, caller: &Caller, what: Value) {
        self.parts.audit.record(event, caller, || what);
    }

    /// Records that the upstream rejects the API key.
    pub(super) fn note_rejected_key(&self, complaint: &Complaint) {
        let details = json!({
            "key": complaint.key,
            "status": complaint.status,
            "code": complaint.code,
        });
        self.parts.audit.note(Event::UpstreamKeyRejected, details);
    }

    /// Records that the records could not be read or written.
    pub(super) fn note_records(&self, error: &RecordsError) {
        let details = json!({ "cause": telemetry::chain(error) });
        self.parts.audit.note(Event::LedgerUnavailable, details);
    }
}
