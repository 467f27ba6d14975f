//! Finds out whom the caller of a paid request acts for, from the credential or the ticket in its `Authorization` header.

use std::sync::Arc;

use axum::http::HeaderValue;
use axum::http::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::denied;
use crate::audit::Event;
use crate::auth::{AuthError, Credential};
use crate::broker::BrokerError;
use crate::config::AuthMode;
use crate::domain::{Caller, ConnectMode, Identity, KnownTicket, Ticket};
use crate::gate::Denied;
use crate::limit::Offence;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::state::AppState;

/// The challenges to a request without a credential, and to one whose credential is refused (RFC 6750 §3).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"token-broker\"");
pub(in crate::web) const REFUSAL: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"token-broker\", error=\"invalid_token\"");

/// Why the caller has no identity.
enum Unknown {
    /// The request has no credential, and needs one.
    NoCredential,
    /// The credential is not good, or cannot be verified now.
    Refused(AuthError),
    /// Too many verifications at this address have just failed.
    Denied(Denied),
}

impl From<AuthError> for Unknown {
    fn from(error: AuthError) -> Self {
        Self::Refused(error)
    }
}

/// Returns the identity of a request with these headers, or `None` for a request without a credential
/// where that is allowed. Fails with the answer to a request that needs an identity and has none.
pub(super) async fn of(
    state: &AppState,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<Option<Arc<Identity>>, Response> {
    if state.face.auth_mode == AuthMode::Off {
        return Ok(None);
    }
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let known = match (lines.next(), lines.next()) {
        (None, _) if state.face.auth_mode == AuthMode::Optional => return Ok(None),
        (None, _) => Err(Unknown::NoCredential),
        (Some(only), None) => verified(state, caller, only).await,
        (Some(_), Some(_)) => {
            Err(AuthError::Rejected("the request has two Authorization headers").into())
        }
    };
    match known {
        Ok(identity) => Ok(Some(identity)),
        Err(unknown) => Err(refuse(state, caller, unknown).await),
    }
}

/// Returns what is known of the ticket that `caller` shows to open a call or a relay. Fails with the answer to a request whose ticket
/// opens nothing.
pub(super) async fn of_ticket(
    state: &AppState,
    caller: &Caller,
    (shown, mode): (&Ticket, ConnectMode),
) -> Result<KnownTicket, Response> {
    let found = state.broker.ticket(caller, shown, mode).await;
    let error = match found {
        Ok(ticket) => return Ok(ticket),
        Err(error) => error,
    };
    let refusal = match error {
        BrokerError::Ticket(refusal) => refusal,
        error => return Err(ApiError::from(error).into_response()),
    };
    let details = || json!({ "reason": refusal.to_string() });
    state.audit.record(Event::AuthFailed, caller, details);
    state.face.vitals.series.auth_failures.add(["ticket"], 1);
    if let Err(denied) = state.gate.refuse_credential(caller).await {
        return Err(denied::answer(state, caller, &denied));
    }
    let error = ApiError::from(refusal);
    Err(match error.code {
        Code::TicketExpired => ([(WWW_AUTHENTICATE, REFUSAL)], error).into_response(),
        _ => error.into_response(),
    })
}

/// Screens a credential, and verifies it unless too many verifications at the address of `caller` have
/// just failed. Only failed verifications are paced, because forgers can make them expensive.
async fn verified(
    state: &AppState,
    caller: &Caller,
    header: &HeaderValue,
) -> Result<Arc<Identity>, Unknown> {
    let credential = Credential::parse(header.as_bytes())?;
    let screened = state.auth.screen(&credential)?;
    if screened.is_of_program() && caller.origin.is_some() {
        return Err(AuthError::Rejected(
            "a web page has shown a service key, which everybody can read there: revoke it",
        )
        .into());
    }
    if !screened.is_verified() {
        state.gate.may_verify(caller).map_err(Unknown::Denied)?;
    }
    let verified = state.auth.verify(screened).await;
    if matches!(verified, Err(AuthError::Rejected(_) | AuthError::Forged(_))) {
        state.gate.note_failed_verification(caller);
    }
    Ok(verified?)
}

/// Returns the answer to a request without identity. All refused credentials get the same text, so that a
/// forger learns nothing from it.
async fn refuse(state: &AppState, caller: &Caller, unknown: Unknown) -> Response {
    let error = match unknown {
        Unknown::Refused(AuthError::Unavailable { retry_after }) => {
            let error = ApiError::from(Code::AuthUnavailable);
            return error.after(retry_after).into_response();
        }
        Unknown::Denied(denied) => return denied::answer(state, caller, &denied),
        Unknown::Refused(error) => Some(error),
        Unknown::NoCredential => None,
    };
    if let Err(denied) = state.gate.refuse_credential(caller).await {
        return denied::answer(state, caller, &denied);
    }
    let mut challenge = CHALLENGE;
    if let Some(error) = error {
        let details = || json!({ "reason": error.to_string() });
        state.audit.record(Event::AuthFailed, caller, details);
        let is_forged = matches!(error, AuthError::Forged(_));
        let reason = if is_forged { "forged" } else { "refused" };
        state.face.vitals.series.auth_failures.add([reason], 1);
        if is_forged {
            denied::offend(state, caller, Offence::ForgedCredential).await;
        }
        challenge = REFUSAL;
    }
    let error = ApiError::from(Code::Unauthorized);
    ([(WWW_AUTHENTICATE, challenge)], error).into_response()
}
