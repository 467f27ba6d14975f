//! What the audit log says of outcomes.

use std::sync::Arc;

use serde_json::{Value, json};
use tracing::Span;

use super::{BrokerError, Grant, Inner};
use crate::audit::Event;
use crate::clock::millis;
use crate::domain::{Caller, Kind, Origin, PersonaName, Refusal};
use crate::records::RecordsError;
use crate::telemetry;
use crate::upstream::{Complaint, UpstreamError};

/// Adds the persona to the span of the request, so that its log lines name it.
pub(super) fn note_persona(persona: &PersonaName) {
    Span::current().record("persona", persona.as_str());
}

impl Inner {
    /// Writes what the audit log says of an outcome.
    pub(super) fn audit(&self, caller: &Caller, outcome: &Result<Arc<Grant>, BrokerError>) {
        let origin = caller.origin.as_ref().map(Origin::as_str);
        let (event, what) = match outcome {
            Ok(grant) => {
                let event = match grant.kind {
                    Kind::Mint | Kind::Call => Event::TokenMinted,
                    Kind::Refresh => Event::TokenRefreshed,
                };
                let what = json!({
                    "persona": grant.persona.as_str(),
                    "origin": origin,
                    "expires_at": grant.secret.expires_at.as_millis(),
                    "upstream_ms": millis(grant.upstream_took),
                });
                (event, what)
            }
            Err(BrokerError::QuotaExceeded { quota, .. }) => {
                let what = json!({
                    "policy": "sessions_per_month",
                    "limit": quota.limit,
                    "resets_at": quota.resets_at.as_millis(),
                });
                (Event::QuotaExceeded, what)
            }
            Err(BrokerError::Refused(Refusal::Foreign | Refusal::Network)) => {
                let what = json!({ "allowed": false, "origin": origin });
                (Event::SessionMismatch, what)
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
        let details = json!({ "status": complaint.status, "code": complaint.code });
        self.parts.audit.note(Event::UpstreamKeyRejected, details);
    }

    /// Records that the records could not be read or written.
    pub(super) fn note_records(&self, error: &RecordsError) {
        let details = json!({ "cause": telemetry::chain(error) });
        self.parts.audit.note(Event::LedgerUnavailable, details);
    }
}
