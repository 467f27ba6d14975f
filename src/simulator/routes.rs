//! Routes of the simulated provider, and the headers of all its answers.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::edge::Edge;
use super::plan::Place;
use super::refusal::Refusal;
use super::{control, mint};
use crate::domain::RequestId;
use crate::provider::KNOWN_MODELS;

/// Returns all routes.
pub(super) fn router(edge: Arc<Edge>) -> Router {
    let faults = get(control::show).put(control::set).delete(control::clear);
    Router::new()
        .route("/v1/realtime/client_secrets", post(mint::mint))
        .route("/v1/models", get(models))
        .route("/_simulator/faults", faults)
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(edge.clone(), stamp))
        .with_state(edge)
}

async fn models(
    State(edge): State<Arc<Edge>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Response> {
    edge.admit(&headers).map_err(mint::refuse)?;
    mint::suffer(&edge, Place::Models).await?;
    let model =
        |name: &&str| json!({"id": name, "object": "model", "created": 0, "owned_by": "system"});
    let models: Vec<_> = KNOWN_MODELS.iter().map(model).collect();
    Ok(Json(json!({"object": "list", "data": models})))
}

async fn no_path(method: Method, uri: Uri) -> Refusal {
    Refusal::no_path(&method, &uri)
}

async fn no_method(method: Method, uri: Uri) -> Refusal {
    Refusal::no_method(&method, &uri)
}

/// Adds the provider's headers, and `x-simulated`.
async fn stamp(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let began = edge.clock.tick();
    let mut response = next.run(request).await;
    let millis = edge.clock.tick().since(began).as_millis();
    let headers = response.headers_mut();
    headers.insert("x-simulated", HeaderValue::from_static("true"));
    headers.insert("openai-version", HeaderValue::from_static("2020-10-01"));
    let written = [
        ("x-request-id", RequestId::random().to_string()),
        ("openai-processing-ms", millis.to_string()),
        (
            header::DATE.as_str(),
            httpdate::fmt_http_date(edge.clock.now().into()),
        ),
    ];
    for (name, value) in written {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    response
}
