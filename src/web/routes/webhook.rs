//! `POST /webhooks/openai`: takes the provider's word that a GPT-Live session exists.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use crate::audit::Event;
use crate::clock::Timestamp;
use crate::domain::{Caller, UpstreamCallId, WebhookHead};
use crate::web::code::Code;
use crate::web::error::{ApiError, Failure};
use crate::web::extract::{MAX_BODY_BYTES, read};
use crate::web::state::AppState;

/// The path of webhooks, as the contract writes it.
pub const PATH: &str = "/webhooks/openai";
/// The webhook of a new session. Other webhooks are answered alike and mean nothing here.
const CONNECTED: &str = "live.transport.connected";

/// A webhook of the provider.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct Webhook {
    /// Any but `live.transport.connected` is answered 204, and nothing is done.
    #[serde(rename = "type")]
    kind: String,
    /// The time of the event, in seconds since the Unix epoch.
    created_at: Option<f64>,
    #[serde(default)]
    data: Connected,
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
struct Connected {
    /// The GPT-Live session.
    #[serde(default)]
    session_id: String,
}

/// Take a webhook of OpenAI, signed by the rules of Standard Webhooks. `live.transport.connected` names a GPT-Live session of
/// the project.
#[utoipa::path(
    post,
    path = "/webhooks/openai",
    tag = "calls",
    security(()),
    params(
        ("webhook-id" = String, Header, description = "The webhook's id, which a repetition keeps."),
        ("webhook-timestamp" = String, Header, description = "The time of sending, in seconds since the Unix epoch: five minutes ago at most."),
        ("webhook-signature" = String, Header, description = "`v1,` and the signature in base64; several have spaces between them."),
    ),
    request_body = Webhook,
    responses(
        (status = 204, description = "The webhook is recorded, or needs no action."),
        (status = 400, description = "The webhook is not signed with `live.webhook_secret`, is too old, or is malformed; `param` names the header.", body = Failure<'static>),
        (status = 404, description = "The operator has set no `live.webhook_secret`.", body = Failure<'static>),
        (status = 413, description = "The body is larger than 16 KiB.", body = Failure<'static>),
        (status = 421, description = "This server does not serve that host.", body = Failure<'static>),
        (status = 503, description = "The webhook cannot be recorded; send it again.", body = Failure<'static>),
    )
)]
pub async fn openai(
    State(state): State<AppState>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let keys = state.broker.webhook_keys().ok_or(Code::NotFound)?;
    let caller = request.extensions().get::<Caller>().cloned();
    let refuse = |header: &'static str| {
        if let Some(caller) = &caller {
            let details = || json!({ "header": header });
            state.audit.record(Event::WebhookRefused, caller, details);
        }
        ApiError::at(header)
    };
    // The body of a webhook that cannot be right is not waited for.
    WebhookHead::read(signed(request.headers()), state.face.clock.now()).map_err(refuse)?;
    let (parts, body) = read(request, MAX_BODY_BYTES, &state.face).await?;
    let now = state.face.clock.now();
    let head = WebhookHead::read(signed(&parts.headers), now).map_err(refuse)?;
    if !keys.have_signed(&head, &body) {
        return Err(refuse(WebhookHead::SIGNATURE));
    }
    let told: Webhook = serde_json::from_slice(&body).map_err(|_| Code::BadRequest)?;
    if told.kind == CONNECTED {
        let session = UpstreamCallId::of_live(&told.data.session_id);
        let session = session.ok_or_else(|| ApiError::at("data.session_id"))?;
        let said = told.created_at.map(Duration::try_from_secs_f64);
        let created_at = match said {
            Some(Ok(since)) => Timestamp::from_seconds(since.as_secs()),
            Some(Err(_)) | None => now,
        };
        let announced = state.broker.announced(head.id, session, created_at);
        announced.await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Hides the path, whatever the method, from everybody as long as the operator has set no secret.
pub async fn hide(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if state.broker.webhook_keys().is_none() {
        return Err(Code::NotFound.into());
    }
    Ok(next.run(request).await)
}

/// Returns the headers that sign a webhook; empty ones for those that are missing.
fn signed(headers: &HeaderMap) -> (&str, &str, &str) {
    let text = |name| {
        let value = headers.get(name).map(|value| value.to_str());
        value.and_then(Result::ok).unwrap_or_default()
    };
    (
        text(WebhookHead::ID),
        text(WebhookHead::TIMESTAMP),
        text(WebhookHead::SIGNATURE),
    )
}
