//! Answers requests for client secrets.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::edge::Edge;
use super::effective::effective;
use super::fault::Fault;
use super::plan::Place;
use super::refusal::Refusal;
use super::wire;
use crate::clock::Timestamp;
use crate::provider::{check_request, known_model, known_transcription_model};

/// Largest accepted body, in bytes.
const MAX_BODY: usize = 256 * 1024;
/// Lifetime of a client secret without `expires_after`.
const DEFAULT_SECONDS: u64 = 600;

/// `POST /v1/realtime/client_secrets`.
pub(super) async fn mint(
    State(edge): State<Arc<Edge>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Response> {
    let body = to_bytes(body, MAX_BODY).await;
    let body = body.map_err(|_| refuse(Refusal::too_large()))?;
    edge.remember(headers.clone(), body.clone());
    edge.admit(&headers).map_err(refuse)?;
    let twist = suffer(&edge, Place::Mint).await?;
    let asked = read(&headers, &body).map_err(refuse)?;
    Ok(Json(answer(&edge, &asked, twist)))
}

/// The part of a fault that changes the ordinary answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Twist {
    /// No change.
    None,
    /// The client secret has expired already.
    Expired,
    /// The client secret is missing.
    MissingValue,
}

/// Fails as planned, or returns the change to the ordinary answer.
pub(super) async fn suffer(edge: &Edge, place: Place) -> Result<Twist, Response> {
    let response = match edge.next_fault(place) {
        None => return Ok(Twist::None),
        Some(Fault::ExpiredSecret) => return Ok(Twist::Expired),
        Some(Fault::MissingValue) => return Ok(Twist::MissingValue),
        Some(Fault::Slow(delay)) => {
            edge.clock.sleep(delay).await;
            return Ok(Twist::None);
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::RateLimited { retry_after }) => refuse(Refusal::rate_limited(retry_after)),
        Some(Fault::QuotaExhausted) => refuse(Refusal::no_credit()),
        Some(Fault::KeyRejected) => refuse(Refusal::wrong_key("sk-simulated-and-revoked")),
        Some(Fault::Forbidden) => refuse(Refusal::forbidden()),
        Some(Fault::BadRequest) => refuse(Refusal::bad_request()),
        Some(Fault::ServerError {
            status,
            retry_after,
        }) => refuse(Refusal::broken(status, retry_after)),
        Some(Fault::HangMidBody) => wire::hang_mid_body(),
        Some(Fault::Garbage) => wire::garbage(),
        Some(Fault::Html) => wire::html(),
        Some(Fault::Huge) => wire::huge(),
        Some(Fault::Redirect(target)) => wire::redirect(&target),
        Some(Fault::Disconnect) => wire::disconnect(),
        Some(Fault::Truncated) => wire::truncated(),
    };
    Err(response)
}

/// Turns a refusal into an answer.
pub(super) fn refuse(refusal: Refusal) -> Response {
    refusal.into_response()
}

/// Returns the request when it obeys all rules.
fn read(headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.map_or(&b""[..], HeaderValue::as_bytes);
    let content_type = String::from_utf8_lossy(content_type);
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::content_type(essence));
    }
    if headers.contains_key("openai-beta") {
        return Err(Refusal::beta_shape());
    }
    let asked: Value = serde_json::from_slice(body).map_err(|_| Refusal::not_json())?;
    check_request(&asked)?;
    models_exist(&asked["session"])?;
    Ok(asked)
}

/// Refuses unknown models. The published rules accept any name, the provider does not.
fn models_exist(session: &Value) -> Result<(), Refusal> {
    if let Some(name) = session["model"].as_str().filter(|name| !known_model(name)) {
        return Err(Refusal::no_model(name));
    }
    let heard = session["audio"]["input"]["transcription"]["model"].as_str();
    match heard.filter(|name| !known_transcription_model(name)) {
        Some(name) => Err(Refusal::no_transcription_model(name)),
        None => Ok(()),
    }
}

fn answer(edge: &Edge, asked: &Value, twist: Twist) -> Value {
    let seconds = asked["expires_after"]["seconds"].as_u64();
    let lifetime = Duration::from_secs(seconds.unwrap_or(DEFAULT_SECONDS));
    let now = edge.clock.now();
    let end = if twist == Twist::Expired {
        Timestamp::from_seconds(now.as_seconds().saturating_sub(60))
    } else {
        now.plus(lifetime)
    };
    let mut answer = json!({
        "expires_at": end.as_seconds(),
        "session": effective(asked.get("session")),
    });
    if twist != Twist::MissingValue {
        // In whole seconds, as the caller is told.
        let value = edge
            .secrets()
            .mint(Timestamp::from_seconds(end.as_seconds()));
        answer["value"] = Value::from(&*value);
        edge.minted.add_one();
    }
    answer
}
