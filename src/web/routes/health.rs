//! Answers `/health`, `/livez` and `/readyz`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::{Broker, Health, Readiness, Status};
use crate::clock::{Timestamp, millis};
use crate::config::HealthDetails;
use crate::domain::{Caller, Condition, Forwards, is_private};
use crate::upstream::KeyHealth;
use crate::web::layers::Probe;
use crate::web::state::AppState;

/// The conditions of the service and of its parts.
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
    /// The condition of each part.
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
    /// The keys of the provider, when there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<KeyPart>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct KeyPart {
    /// The alias of the key.
    key: Box<str>,
    /// accepted, resting or rejected.
    status: &'static str,
    /// When the provider last did what it was asked with the key, in milliseconds since the Unix epoch.
    last_success: Option<u64>,
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
    security(()),
    responses(
        (status = 200, description = "Healthy or degraded. Details are shown to loopback and private addresses only, unless the operator says otherwise.", body = HealthAnswer),
        (status = 503, description = "Unhealthy, or about to stop.", body = HealthAnswer),
    )
)]
pub async fn health(
    State(state): State<AppState>,
    Extension(caller): Extension<Caller>,
) -> Response {
    let health = state.broker.health();
    let full = match state.face.health_details {
        HealthDetails::Full => true,
        HealthDetails::Summary => false,
        HealthDetails::Auto => {
            is_private(caller.address()) && caller.forwards != Forwards::Untrusted
        }
    };
    let uptime = health.reading.uptime.as_millis();
    let answer = HealthAnswer {
        ok: health.status != Status::Unhealthy,
        status: health.status,
        timestamp: state.face.clock.now().as_millis(),
        uptime: u64::try_from(uptime).unwrap_or(u64::MAX),
        version: full.then_some(env!("CARGO_PKG_VERSION")),
        services: full.then(|| services(&health)),
        metrics: full.then(|| metrics(&health)),
    };
    let code = if answer.ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    to_probe((code, Json(answer)))
}

/// Answers that the process is alive. Asks nothing else, so that trouble elsewhere never restarts it.
#[utoipa::path(get, path = "/livez", tag = "health", security(()), responses((status = 200, description = "Alive.", body = String)))]
pub async fn livez() -> Response {
    to_probe("alive")
}

/// Answers whether to send requests here.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    security(()),
    responses(
        (status = 200, description = "Ready.", body = String),
        (status = 503, description = "About to stop, without the issuers' keys, or unable to record use.", body = String),
    )
)]
pub async fn readyz(State(broker): State<Broker>) -> Response {
    let unready = match broker.readiness() {
        Readiness::Ready => return to_probe("ready"),
        Readiness::Draining => "draining",
        Readiness::WaitingForIssuers => "waiting for issuers",
        Readiness::WaitingForLedger => "waiting for the ledger",
    };
    to_probe((StatusCode::SERVICE_UNAVAILABLE, unready))
}

fn to_probe(answer: impl IntoResponse) -> Response {
    (Extension(Probe), answer).into_response()
}

fn services(health: &Health) -> Services {
    let part = |status| Part {
        status,
        latency: None,
        keys: Vec::new(),
    };
    Services {
        openai_api: Part {
            status: health.upstream,
            latency: health.upstream_latency.map(millis),
            keys: keys(&health.keys),
        },
        rate_limit: part(health.limits),
        session_tracking: part(health.ledger),
        usage_ledger: part(health.ledger),
        identity: health.identity.map(part),
    }
}

fn keys(keys: &[KeyHealth]) -> Vec<KeyPart> {
    let part = |key: &KeyHealth| KeyPart {
        key: key.alias.clone(),
        status: key.state.as_str(),
        last_success: key.last_success.map(Timestamp::as_millis),
    };
    let several = Some(keys).filter(|keys| keys.len() > 1);
    several.unwrap_or_default().iter().map(part).collect()
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
