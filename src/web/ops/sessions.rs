//! Owns `POST /sessions/end`: ends all sessions of one identity.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::broker::{Broker, BrokerError};
use crate::domain::Naming;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::extract::Body;

/// Whose sessions.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndRequest {
    /// Who vouches for the identity: `iss` of its credential.
    issuer: Option<String>,
    /// Who it is there: `sub` of its credential.
    subject: Option<String>,
}

#[derive(Serialize)]
struct Ended {
    /// How many there were.
    ended: usize,
}

/// How long to wait for what shares sessions.
const OUTAGE_WAIT: Duration = Duration::from_secs(5);

/// Ended here, and not everywhere. Why was logged where it was noticed.
fn unended(error: BrokerError) -> ApiError {
    match error {
        BrokerError::Store(_) => ApiError::from(Code::SessionsUnreachable).after(OUTAGE_WAIT),
        other => other.into(),
    }
}

/// Ends them: none can be refreshed any more. Client secrets that are out live on until they expire.
pub(super) async fn end(
    State(broker): State<Broker>,
    State(naming): State<Naming>,
    Body(asked): Body<EndRequest>,
) -> Result<Response, ApiError> {
    let given = |field: Option<String>, name: &str| {
        field.ok_or_else(|| ApiError::malformed(Code::BadRequest, Some(name.to_owned())))
    };
    let issuer = given(asked.issuer, "issuer")?;
    let subject = given(asked.subject, "subject")?;
    let account = naming.account(&issuer.into(), &subject);
    let ended = broker.end_sessions(&account).await.map_err(unended)?;
    Ok(Json(Ended { ended }).into_response())
}
