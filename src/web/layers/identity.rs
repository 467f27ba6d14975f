//! Owns the question whom a caller acts for: the `Authorization` header of paid requests.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::audit::Event;
use crate::auth::{AuthError, Credential};
use crate::config::AuthMode;
use crate::domain::{Caller, Identity};
use crate::limit::Offence;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::state::AppState;

/// What is said to who shows nothing, and to who shows what is not good (RFC 6750 §3).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"token-broker\"");
const REFUSAL: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"token-broker\", error=\"invalid_token\"");

/// Why nobody is known.
#[derive(Debug)]
pub(super) enum Unknown {
    /// It showed no credential, and must.
    NoCredential,
    /// It showed one that is not good, or cannot be verified now.
    Refused(AuthError),
}

/// Whom the caller of a request with these headers acts for; `None` for nobody in particular, where that is allowed.
pub(super) async fn of(
    state: &AppState,
    headers: &HeaderMap,
) -> Result<Option<Arc<Identity>>, Unknown> {
    let mode = state.face.auth_mode;
    if mode == AuthMode::Off {
        return Ok(None);
    }
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let credential = match (lines.next(), lines.next()) {
        (None, _) if mode == AuthMode::Optional => return Ok(None),
        (None, _) => return Err(Unknown::NoCredential),
        (Some(only), None) => Credential::parse(only.as_bytes()),
        (Some(_), Some(_)) => Err(AuthError::Rejected(
            "the request has two Authorization headers",
        )),
    };
    let known = match credential {
        Ok(credential) => state.auth.authenticate(&credential).await,
        Err(error) => Err(error),
    };
    known.map(Some).map_err(Unknown::Refused)
}

/// The answer to who is not known. One text for every reason: a forger learns nothing from it.
pub(super) fn refuse(state: &AppState, caller: &Caller, unknown: &Unknown) -> Response {
    let (challenge, offence) = match unknown {
        Unknown::NoCredential => (CHALLENGE, None),
        Unknown::Refused(AuthError::Unavailable { retry_after }) => {
            return unavailable(*retry_after);
        }
        Unknown::Refused(error) => {
            let details = || json!({ "reason": error.to_string() });
            state.audit.record(Event::AuthFailed, caller, details);
            (REFUSAL, offence(error))
        }
    };
    let error = ApiError {
        offence,
        ..Code::Unauthorized.into()
    };
    let mut response = error.into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn unavailable(retry_after: Duration) -> Response {
    ApiError::from(Code::AuthUnavailable)
        .after(retry_after)
        .using_nothing()
        .into_response()
}

/// Expired credentials and those for somebody else are shown by honest pages, too.
const fn offence(error: &AuthError) -> Option<Offence> {
    match error {
        AuthError::Forged(_) => Some(Offence::ForgedCredential),
        AuthError::Rejected(_) | AuthError::Unavailable { .. } => None,
    }
}
