//! `POST /refresh-token`: mints again under a live session.

use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::granted::{Granted, Shape, answer};
use crate::domain::SessionId;
use crate::web::code::Code;
use crate::web::error::{ApiError, Failure};
use crate::web::extract::Paid;
use crate::web::layers::paid::Admitted;
use crate::web::openapi::Refusals;

/// The session to mint under.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// The `sessionId` of the last answer.
    #[serde(rename = "sessionId", alias = "session_id")]
    session_id: String,
}

/// The session to mint under, by the name that the answer of `POST /session` has.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what RefreshRequest reads")]
struct OldRefreshRequest {
    /// The `session_id` of the last answer.
    session_id: String,
}

/// Either name of the session, never both.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what RefreshRequest reads")]
enum EitherRequest {
    New(RefreshRequest),
    Old(OldRefreshRequest),
}

/// Mint again under a live session.
///
/// Within the least interval since the last mint, the last client secret is handed over again while it lives for at least ten
/// more seconds. A ticket is never handed over again.
#[utoipa::path(
    post,
    path = "/refresh-token",
    tag = "mint",
    request_body = EitherRequest,
    responses(
        (status = 200, description = "A new client secret or ticket under the same session, or the last client secret once more.", body = Granted<'static>),
        (status = 404, description = "No live session of this caller has that id.", body = Failure<'static>),
        Refusals,
    )
)]
pub async fn refresh(paid: Paid<RefreshRequest>) -> Result<Response, ApiError> {
    // A text that cannot be a session id is answered like an unknown id.
    let id = SessionId::parse(&paid.asked.session_id).ok_or(Code::UnknownSession)?;
    let Admitted {
        caller, pass, here, ..
    } = paid.admitted;
    let grant = paid.state.broker.refresh(caller, id, pass).await?;
    Ok(answer(&grant, Shape::Ours, (&paid.state.face, &here)))
}
