//! `POST /refresh-token`: mints again under a live session.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::granted::{Granted, Shape, answer};
use crate::broker::Broker;
use crate::domain::SessionId;
use crate::web::code::Code;
use crate::web::error::{ApiError, Failure};
use crate::web::extract::Body;
use crate::web::layers::paid::Admitted;
use crate::web::openapi::Refusals;
use crate::web::state::Face;

/// The session to mint under. One of the two names is required.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// The `sessionId` of the last answer. The name `session_id` is accepted, too.
    #[schema(required = true)]
    #[serde(rename = "sessionId", alias = "session_id")]
    session_id: Option<String>,
}

/// Mint again under a live session.
///
/// Within the least interval since the last mint, the last client secret is handed over again while it lives for at least ten
/// more seconds.
#[utoipa::path(
    post,
    path = "/refresh-token",
    tag = "mint",
    request_body = RefreshRequest,
    responses(
        (status = 200, description = "A new client secret under the same session, or the last one once more.", body = Granted),
        (status = 404, description = "No live session of this caller has that id.", body = Failure<'static>),
        Refusals,
    )
)]
pub async fn refresh(
    State(broker): State<Broker>,
    State(face): State<Arc<Face>>,
    Extension(Admitted { caller, pass }): Extension<Admitted>,
    Body(asked): Body<RefreshRequest>,
) -> Result<Response, ApiError> {
    let named = asked
        .session_id
        .ok_or_else(|| ApiError::malformed(Code::BadRequest, Some("sessionId".to_owned())))?;
    // A text that cannot be a session id is answered like an unknown id.
    let id = SessionId::parse(&named).ok_or(Code::UnknownSession)?;
    let grant = broker.refresh(caller, id, pass).await?;
    Ok(answer(&grant, Shape::Ours, face.clock.tick()))
}
