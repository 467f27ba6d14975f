//! Routes of the simulated provider, and the headers of all its answers.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::calls;
use super::control::faults;
use super::costs::costs;
use super::edge::Edge;
use super::mint::mint;
use super::plan::Operation;
use super::refusal::Refusal;
use super::transcription::transcribe;
use crate::domain::RequestId;
use crate::provider::{KNOWN_MODELS, LIVE_MODELS, announced_shutdown};

/// Returns all routes.
pub(super) fn router(edge: Arc<Edge>) -> Router {
    Router::new()
        .route("/v1/realtime/client_secrets", post(mint))
        .route("/v1/realtime/calls", post(calls::open))
        .route("/v1/realtime/calls/{id}/hangup", post(calls::hang_up))
        .route("/v1/realtime", get(calls::join))
        .route("/v1/live/sessions", post(calls::create))
        .route("/v1/live/sessions/{id}/attach", get(calls::attach))
        .route("/v1/live/sessions/{id}/hangup", post(calls::hang_up_live))
        .route(
            "/v1/audio/transcriptions",
            post(transcribe).layer(DefaultBodyLimit::disable()),
        )
        .route("/v1/models", get(models))
        .route("/v1/organization/costs", get(costs))
        .route("/_simulator/faults", get(faults).put(faults).delete(faults))
        .route("/_simulator/calls/{id}/play", post(calls::play))
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(edge.clone(), stamp))
        .with_state(edge)
}

async fn models(
    State(edge): State<Arc<Edge>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    edge.admit(&headers)?;
    edge.suffer(Operation::Models).await?;
    let model = |name: &&str| {
        let day = announced_shutdown(name).map(|shutdown| shutdown.day);
        json!({"id": name, "object": "model", "created": 0, "owned_by": "system", "shutdown_date": day})
    };
    let names = KNOWN_MODELS.iter().chain(LIVE_MODELS);
    let models: Vec<_> = names.map(model).collect();
    Ok(Json(json!({"object": "list", "data": models})))
}

async fn no_path(method: Method, uri: Uri) -> Refusal {
    Refusal::new(404, None, format!("Invalid URL ({method} {})", uri.path()))
}

async fn no_method(method: Method, uri: Uri) -> Refusal {
    let message = format!("Invalid method for URL ({method} {})", uri.path());
    Refusal::new(405, None, message)
}

/// Adds the provider's headers, and `x-simulated`.
async fn stamp(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let began = edge.clock.tick();
    let response = next.run(request).await;
    let millis = edge.clock.tick().since(began).as_millis();
    let date = httpdate::fmt_http_date(edge.clock.now().into());
    let headers = [
        ("x-simulated", "true".to_owned()),
        ("openai-version", "2020-10-01".to_owned()),
        ("x-request-id", RequestId::random().to_string()),
        ("openai-processing-ms", millis.to_string()),
        (header::DATE.as_str(), date),
    ];
    (headers, response).into_response()
}
