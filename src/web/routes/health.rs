//! Answers `/health`, `/livez` and `/readyz`.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::{Broker, Health, Readiness, Status};
use crate::clock::millis;
use crate::config::HealthDetails;
use crate::domain::{Condition, is_private};
use crate::web::layers::arrival::Arrival;
use crate::web::layers::failure_shape::OwnBody;
use crate::web::layers::trace::Quiet;
use crate::web::state::AppState;

/// How the service and its parts are.
#[derive(Serialize, ToSchema)]
pub struct HealthAnswer {
    /// True unless unhealthy.
    ok: bool,
    /// healthy, degraded or unhealthy.
    #[schema(value_type = String)]
    status: Status,
    /// Milliseconds since the Unix epoch.
    timestamp: u64,
    /// Milliseconds since the service started.
    uptime: u64,
    /// The running version. Shown to the operator's own network only, like all that follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    /// How each part is.
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Services>,
    /// Counts of requests and sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Metrics>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Services {
    openai_api: Part,
    rate_limit: Part,
    session_tracking: Part,
    usage_ledger: Part,
    /// Only when callers are asked for credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Part>,
}

#[derive(Serialize, ToSchema)]
struct Part {
    /// operational, degraded or down.
    #[schema(value_type = String)]
    status: Condition,
    /// Duration of the last good answer in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<f64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    /// Requests since the start, without probes.
    total_requests: u64,
    /// Sessions that can be refreshed.
    active_sessions: u64,
    /// Refreshes since the start.
    total_refreshes: u64,
    /// Share of the last five minutes' requests that failed through this service or the upstream.
    error_rate: f64,
    /// Mean duration of the last five minutes' requests in milliseconds.
    average_response_time: f64,
}

/// Answers how the service is, for people and monitors.
#[utoipa::path(
    get,
    path = "/health",
    tag = "health",
    responses(
        (status = 200, description = "Healthy or degraded. Details are shown to loopback and private addresses only, unless the operator says otherwise.", body = HealthAnswer),
        (status = 503, description = "Unhealthy, or about to stop.", body = HealthAnswer),
    )
)]
pub async fn health(
    State(state): State<AppState>,
    Extension(arrival): Extension<Arrival>,
) -> Response {
    let face = &state.face;
    let health = state.broker.health();
    let full = match face.health_details {
        HealthDetails::Full => true,
        HealthDetails::Summary => false,
        HealthDetails::Auto => is_private(arrival.address) && !arrival.forwarded_by_stranger,
    };
    let answer = HealthAnswer {
        ok: health.status != Status::Unhealthy,
        status: health.status,
        timestamp: face.clock.now().as_millis(),
        uptime: whole_millis(health.reading.uptime),
        version: full.then_some(env!("CARGO_PKG_VERSION")),
        services: full.then(|| services(&health)),
        metrics: full.then(|| metrics(&health)),
    };
    let code = if answer.ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    quietly((code, Json(answer)))
}

/// Answers that the process is alive. Asks nothing else, so that trouble elsewhere never restarts it.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, description = "Alive.", body = String)))]
pub async fn livez() -> Response {
    quietly("alive")
}

/// Answers whether to send requests here.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses(
        (status = 200, description = "Ready.", body = String),
        (status = 503, description = "About to stop, or without the keys to verify credentials with.", body = String),
    )
)]
pub async fn readyz(State(broker): State<Broker>) -> Response {
    match broker.readiness() {
        Readiness::Ready => quietly("ready"),
        Readiness::Draining => quietly((StatusCode::SERVICE_UNAVAILABLE, "draining")),
        Readiness::WaitingForIssuers => {
            quietly((StatusCode::SERVICE_UNAVAILABLE, "waiting for issuers"))
        }
    }
}

fn quietly(answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    response.extensions_mut().insert(OwnBody);
    response.extensions_mut().insert(Quiet);
    response
}

fn services(health: &Health) -> Services {
    let part = |condition: Condition| Part {
        status: condition,
        latency: None,
    };
    Services {
        openai_api: Part {
            status: health.upstream,
            latency: health.upstream_latency.map(millis),
        },
        rate_limit: part(health.limits),
        session_tracking: part(health.ledger),
        usage_ledger: part(health.ledger),
        identity: health.identity.map(part),
    }
}

fn metrics(health: &Health) -> Metrics {
    Metrics {
        total_requests: health.reading.requests,
        active_sessions: health.live,
        total_refreshes: health.reading.refreshes,
        error_rate: health.reading.error_rate,
        average_response_time: health.reading.mean_millis,
    }
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
