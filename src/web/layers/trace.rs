//! Owns the access log: one line per request, and the single mention of a failure's cause.

use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::arrival::Arrival;
use crate::telemetry;
use crate::web::error::ApiError;
use crate::web::state::AppState;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// How long the upstream took for this answer. Left in the answer by whoever asked it.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamTook(pub Duration);

/// Marks an answer to a probe: not counted, and logged only when somebody looks closely.
#[derive(Clone, Copy, Debug)]
pub struct Quiet;

/// The route pattern of an answer. Left by [`name_route`].
#[derive(Clone, Debug)]
struct Route(MatchedPath);

/// Notes which route answered; runs inside the router, where that is known.
pub async fn name_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(Route(route));
    }
    response
}

/// Counts and logs each request when its answer is ready.
pub async fn trace(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let arrival = request.extensions().get::<Arrival>().cloned();
    let method = request.method().clone();
    let mut response = next.run(request).await;
    let Some(arrival) = arrival else {
        return response;
    };

    let took = state.face.clock.tick().since(arrival.at);
    let upstream = response
        .extensions()
        .get::<UpstreamTook>()
        .map(|took| took.0);
    let quiet = response.extensions().get::<Quiet>().is_some();
    if !quiet {
        state
            .face
            .vitals
            .count_request(took, response.status().is_server_error());
    }
    log(
        &Line {
            arrival: &arrival,
            method: method.as_str(),
            took,
            upstream,
            quiet,
        },
        &response,
    );
    if let Some(upstream) = upstream {
        let timing = format!(
            "upstream;dur={:.1}, total;dur={:.1}",
            millis(upstream),
            millis(took)
        );
        response.headers_mut().extend(
            HeaderValue::try_from(timing)
                .ok()
                .map(|timing| (SERVER_TIMING, timing)),
        );
    }
    response
}

struct Line<'a> {
    arrival: &'a Arrival,
    method: &'a str,
    took: Duration,
    upstream: Option<Duration>,
    quiet: bool,
}

fn log(line: &Line<'_>, response: &Response) {
    let route = response
        .extensions()
        .get::<Route>()
        .map_or("-", |route| route.0.as_str());
    let (status, error) = (
        response.status().as_u16(),
        response.extensions().get::<ApiError>(),
    );
    let code = error.map(|error| error.code.as_str());
    let (duration_ms, upstream_ms) = (millis(line.took), line.upstream.map(millis));
    let (method, request_id) = (line.method, line.arrival.request_id.as_str());
    if response.status().is_server_error() {
        let cause = error
            .and_then(|error| error.cause.as_ref())
            .map(|cause| telemetry::chain(cause.as_ref()));
        tracing::error!(target: "access", method, route, status, duration_ms, upstream_ms, request_id, code, cause, "failed");
    } else if line.quiet {
        tracing::debug!(target: "access", method, route, status, duration_ms, request_id, "answered");
    } else {
        tracing::info!(target: "access", method, route, status, duration_ms, upstream_ms, request_id, code, "answered");
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
