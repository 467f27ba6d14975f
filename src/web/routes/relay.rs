//! `GET /realtime`: a session over a WebSocket, which the broker carries to the provider and back.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Query, Request, State};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use utoipa::IntoParams;

use super::wanted::Wanted;
use crate::broker::{Line, RelayRequest};
use crate::relay::carry;
use crate::web::code::Code;
use crate::web::error::{ApiError, Failure};
use crate::web::layers::paid::Admitted;
use crate::web::openapi::{CallRefusals, Refusals};
use crate::web::state::AppState;
use crate::web::upgrade::Upgrade;

/// Longest time until a connection that was granted is there.
const HANDOVER: Duration = Duration::from_secs(10);

/// Options of a relay. All are optional. Others are ignored.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RelayOptions {
    /// The model. Omit it, or send the persona's.
    #[param(max_length = 128)]
    model: Option<String>,
    /// `transcription`, for a persona that only transcribes. It may be omitted.
    intent: Option<String>,
    /// `1` to get `broker.call.ending`, with `seconds_left` and `reason`, before the broker ends the session.
    notices: Option<String>,
    /// Not served: calls are joined by the broker itself.
    call_id: Option<String>,
}

/// Open a session over a WebSocket. The credential or the ticket comes as bearer, or as the subprotocol
/// `openai-insecure-api-key.…` beside `realtime`. Refusals come before the connection becomes a WebSocket.
#[utoipa::path(
    get,
    path = "/realtime",
    tag = "relay",
    params(RelayOptions, Wanted),
    responses(
        (status = 101, description = "The connection is a WebSocket with the provider's events. The session runs as the persona says."),
        CallRefusals,
        (status = 409, description = "The ticket is in use by another connection.", body = Failure<'static>),
        Refusals,
    )
)]
pub async fn relay(
    State(state): State<AppState>,
    Extension(admitted): Extension<Admitted>,
    Query(options): Query<RelayOptions>,
    request: Request,
) -> Result<Response, ApiError> {
    if options.call_id.is_some() {
        return Err(ApiError::at("call_id"));
    }
    let intent = options.intent.as_deref();
    if intent.is_some_and(|intent| intent != "transcription") {
        return Err(ApiError::at("intent"));
    }
    let notices = options.notices.as_deref();
    if notices.is_some_and(|notices| notices != "1") {
        return Err(ApiError::at("notices"));
    }
    let wanted = Wanted::of(&request)?;
    let upgrade = Upgrade::of(request)?;
    let asked = RelayRequest {
        choice: wanted.choice()?,
        wants_transcription: options.intent.is_some(),
        wants_notices: options.notices.is_some(),
        model: options.model,
        ticket: admitted.ticket,
    };
    let (caller, pass) = (admitted.caller, admitted.pass);
    let relayed = state.broker.relay(caller, asked, pass).await?;
    let line = relayed.take().ok_or(Code::Internal)?;
    let (connection, response) = upgrade.grant();
    state.broker.carry_on(hand_over(line, connection));
    Ok(response)
}

/// Carries a relay, or an attached program, once its connection is there.
pub(super) async fn hand_over(line: Line, connection: OnUpgrade) {
    let clock = std::sync::Arc::clone(&line.clock);
    if let Ok(Ok(connection)) = clock.timeout(HANDOVER, connection).await {
        carry(line, Box::new(TokioIo::new(connection))).await;
    } else {
        tracing::debug!("the client left before its relay began");
    }
}
