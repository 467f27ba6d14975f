//! `POST /sessions/end`: ends all sessions of one identity.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::OpsState;
use crate::web::error::ApiError;
use crate::web::extract::Body;

/// The identity whose sessions are to end.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndRequest {
    /// The identity's issuer: `iss` of its credential.
    issuer: String,
    /// The identity's subject: `sub` of its credential.
    subject: String,
}

/// Ends all sessions of one identity: none can be refreshed any more. Client secrets that were delivered stay valid until
/// they expire. Answers the number of sessions that were ended.
pub(super) async fn end(
    State(ops): State<OpsState>,
    Body(asked): Body<EndRequest>,
) -> Result<Json<Value>, ApiError> {
    let account = ops.naming.account(&asked.issuer.into(), &asked.subject);
    let ended = ops.app.broker.end_sessions(&account).await?;
    Ok(Json(json!({ "ended": ended })))
}
