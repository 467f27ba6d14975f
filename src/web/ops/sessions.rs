//! `POST /sessions/end`: ends all sessions of one identity.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::broker::Broker;
use crate::domain::Naming;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::extract::Body;

/// The identity whose sessions are to end.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndRequest {
    /// The identity's issuer: `iss` of its credential.
    issuer: Option<String>,
    /// The identity's subject: `sub` of its credential.
    subject: Option<String>,
}

#[derive(Serialize)]
struct Ended {
    /// The number of sessions that were ended.
    ended: u64,
}

/// Ends all sessions of one identity: none can be refreshed any more. Client secrets that were delivered stay valid until
/// they expire.
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
    let ended = broker.end_sessions(&account).await?;
    Ok(Json(Ended { ended }).into_response())
}
