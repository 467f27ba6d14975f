//! Answers requests for client secrets.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::edge::{self, Edge};
use super::effective::effective;
use super::fault::Twist;
use super::plan::Operation;
use super::refusal::Refusal;
use crate::clock::Timestamp;
use crate::provider::{check_request, known_model, known_transcription_model};

/// Lifetime of a client secret without `expires_after`.
const DEFAULT_SECONDS: u64 = 600;

/// `POST /v1/realtime/client_secrets`.
pub(super) async fn mint(
    State(edge): State<Arc<Edge>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Response> {
    let body = edge::read(body).await?;
    edge.remember(headers.clone(), body.clone());
    edge.admit(&headers)?;
    let twist = edge.suffer(Operation::Mint).await?;
    let asked = read(&headers, &body)?;
    Ok(Json(answer(&edge, &asked, twist.as_ref())))
}

/// Returns the request when it obeys all rules.
fn read(headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
    let asked = read_json(headers, body)?;
    if headers.contains_key("openai-beta") {
        let message = "The Realtime Beta API is no longer supported. Remove the OpenAI-Beta header and use the GA shape.";
        return Err(Refusal::new(400, "beta_api_shape_disabled", message));
    }
    check_request(&asked)?;
    models_exist(&asked["session"])?;
    Ok(asked)
}

/// Reads a body that says that it is JSON.
pub(super) fn read_json(headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
    edge::assert_type(headers, "application/json")?;
    serde_json::from_slice(body).map_err(|_| {
        let message = "We could not parse the JSON body of your request. The OpenAI API expects a JSON payload, but what \
             was sent was not valid JSON.";
        Refusal::new(400, None, message)
    })
}

/// Refuses unknown models. The published rules accept any name, the provider does not.
pub(super) fn models_exist(session: &Value) -> Result<(), Refusal> {
    if let Some(name) = session["model"].as_str().filter(|name| !known_model(name)) {
        return Err(Refusal::no_model(name).at("session.model"));
    }
    let heard = session["audio"]["input"]["transcription"]["model"].as_str();
    if let Some(name) = heard.filter(|name| !known_transcription_model(name)) {
        let message = format!("Invalid value: '{name}'. This is not a transcription model.");
        let refusal = Refusal::new(400, "invalid_value", message);
        return Err(refusal.at("session.audio.input.transcription.model"));
    }
    Ok(())
}

fn answer(edge: &Edge, asked: &Value, twist: Option<&Twist>) -> Value {
    let seconds = asked["expires_after"]["seconds"]
        .as_u64()
        .unwrap_or(DEFAULT_SECONDS);
    let now = edge.clock.now();
    let end = if twist == Some(&Twist::Expired) {
        now.minus(Duration::from_mins(1))
    } else {
        now.plus(Duration::from_secs(seconds))
    };
    // In whole seconds, as the caller is told.
    let end = Timestamp::from_seconds(end.as_seconds());
    let mut answer = json!({
        "expires_at": end.as_seconds(),
        "session": effective(&asked["session"]),
    });
    if twist != Some(&Twist::MissingValue) {
        let mut state = edge.state();
        state.minted += 1;
        answer["value"] = state.secrets.mint(end, asked["session"].clone()).into();
    }
    answer
}
