//! Finds out which identity the caller of a paid request acts for, from its `Authorization` header.

use std::sync::Arc;

use axum::http::HeaderValue;
use axum::http::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::denied;
use crate::audit::Event;
use crate::auth::{AuthError, Credential};
use crate::config::AuthMode;
use crate::domain::{Caller, Identity};
use crate::gate::Denied;
use crate::limit::Offence;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::state::AppState;

/// The challenges to a request without a credential, and to one whose credential is refused (RFC 6750 §3).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"token-broker\"");
const REFUSAL: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"token-broker\", error=\"invalid_token\"");

/// Why the caller has no identity.
#[derive(Debug)]
pub(super) enum Unknown {
    /// The request has no credential, and needs one.
    NoCredential,
    /// The credential is not good, or cannot be verified now.
    Refused(AuthError),
    /// Too many verifications at this address have just failed.
    Denied(Denied),
}

/// Returns the identity of a request with these headers; `None` for a request without a credential
/// where that is allowed.
pub(super) async fn of(
    state: &AppState,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<Option<Arc<Identity>>, Unknown> {
    let mode = state.face.auth_mode;
    if mode == AuthMode::Off {
        return Ok(None);
    }
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let line = match (lines.next(), lines.next()) {
        (None, _) if mode == AuthMode::Optional => return Ok(None),
        (None, _) => return Err(Unknown::NoCredential),
        (Some(only), None) => only.as_bytes(),
        (Some(_), Some(_)) => {
            let reason = "the request has two Authorization headers";
            return Err(Unknown::Refused(AuthError::Rejected(reason)));
        }
    };
    let credential = Credential::parse(line).map_err(Unknown::Refused)?;
    verified(state, caller, &credential).await.map(Some)
}

/// Screens a credential, and verifies it unless too many verifications at the address of `caller` have
/// just failed. Only failed verifications are paced: they are what forgers can make expensive.
async fn verified(
    state: &AppState,
    caller: &Caller,
    credential: &Credential,
) -> Result<Arc<Identity>, Unknown> {
    let screened = state.auth.screen(credential).map_err(Unknown::Refused)?;
    if !screened.is_verified() {
        state.gate.may_verify(caller).map_err(Unknown::Denied)?;
    }
    state.auth.verify(screened).await.map_err(|error| {
        if !matches!(error, AuthError::Unavailable { .. }) {
            state.gate.note_failed_verification(caller);
        }
        Unknown::Refused(error)
    })
}

/// Returns the answer to a request without identity. All refused credentials get the same text: a
/// forger learns nothing from it.
pub(super) async fn refuse(state: &AppState, caller: &Caller, unknown: &Unknown) -> Response {
    if let Unknown::Refused(AuthError::Unavailable { retry_after }) = unknown {
        let error = ApiError::from(Code::AuthUnavailable).after(*retry_after);
        return error.into_response();
    }
    let denied = match unknown {
        Unknown::Denied(denied) => return denied::answer(state, caller, denied),
        Unknown::NoCredential | Unknown::Refused(_) => state.gate.refuse_credential(caller).await,
    };
    if let Err(denied) = denied {
        return denied::answer(state, caller, &denied);
    }
    let mut challenge = CHALLENGE;
    if let Unknown::Refused(error) = unknown {
        let details = || json!({ "reason": error.to_string() });
        state.audit.record(Event::AuthFailed, caller, details);
        if matches!(error, AuthError::Forged(_)) {
            denied::offend(state, caller, Offence::ForgedCredential).await;
        }
        challenge = REFUSAL;
    }
    let mut response = ApiError::from(Code::Unauthorized).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}
