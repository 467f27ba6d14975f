//! Owns what is told of a request once it is over: its log line, its place in the counts, its `Server-Timing`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;

use super::arrival::Arrival;
use crate::clock::millis;
use crate::telemetry;
use crate::web::error::ApiError;
use crate::web::state::{AppState, Face};

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

/// Counts and logs each request when its answer is ready, or its caller has left.
pub async fn trace(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let Some(arrival) = request.extensions().get::<Arrival>().cloned() else {
        return next.run(request).await;
    };
    let mut open = Open {
        face: state.face,
        arrival,
        method: request.method().clone(),
        answered: false,
    };
    let mut response = next.run(request).await;
    open.answer(&mut response);
    response
}

/// A request that waits for its answer. hyper drops it when its caller leaves, which is worth a line too.
struct Open {
    face: Arc<Face>,
    arrival: Arrival,
    method: Method,
    answered: bool,
}

impl Open {
    fn answer(&mut self, response: &mut Response) {
        self.answered = true;
        let took = self.face.clock.tick().since(self.arrival.at);
        let quiet = response.extensions().get::<Quiet>().is_some();
        if !quiet {
            self.face
                .vitals
                .count_request(took, response.status().is_server_error());
        }
        let upstream = upstream_took(response);
        self.log(response, took, upstream.map(millis));
        if let Some(upstream) = upstream {
            let timing = format!(
                "upstream;dur={:.1}, total;dur={:.1}",
                millis(upstream),
                millis(took)
            );
            let timing = HeaderValue::try_from(timing)
                .ok()
                .map(|timing| (SERVER_TIMING, timing));
            response.headers_mut().extend(timing);
        }
    }

    fn log(&self, response: &Response, took: Duration, upstream_ms: Option<f64>) {
        let (status, duration_ms) = (response.status(), millis(took));
        let extensions = response.extensions();
        let route = extensions
            .get::<Route>()
            .map_or("-", |route| route.0.as_str());
        let error = extensions.get::<ApiError>();
        let code = error.map(|error| error.code.as_str());
        let (method, request_id) = (self.method.as_str(), self.arrival.request_id.as_str());
        if extensions.get::<Quiet>().is_some() {
            let status = status.as_u16();
            tracing::debug!(target: "access", method, route, status, duration_ms, request_id, "answered");
        } else if status.is_server_error() {
            let (status, cause) = (
                status.as_u16(),
                error.and_then(|error| error.cause.as_ref()),
            );
            let cause = cause.map(|cause| telemetry::chain(cause.as_ref()));
            tracing::error!(target: "access", method, route, status, duration_ms, upstream_ms, request_id, code, cause, "failed");
        } else {
            let status = status.as_u16();
            tracing::info!(target: "access", method, route, status, duration_ms, upstream_ms, request_id, code, "answered");
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let took = self.face.clock.tick().since(self.arrival.at);
        self.face.vitals.count_request(took, false);
        let (method, request_id) = (self.method.as_str(), self.arrival.request_id.as_str());
        tracing::info!(target: "access", method, duration_ms = millis(took), request_id, "the caller left before its answer");
    }
}

/// How long the upstream took for an answer, be it good or bad.
fn upstream_took(response: &Response) -> Option<Duration> {
    let good = response
        .extensions()
        .get::<UpstreamTook>()
        .map(|took| took.0);
    good.or_else(|| response.extensions().get::<ApiError>()?.upstream_took)
}
