//! Owns what is told of a request once it is over: its log line, its place in the counts, its `Server-Timing`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::Response;

use super::arrival::Arrival;
use crate::clock::millis;
use crate::telemetry;
use crate::web::error::ApiError;
use crate::web::state::Face;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// How long the upstream took for this answer. Left in the answer by whoever asked it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpstreamTook(pub Duration);

/// Marks an answer to a probe: not counted, and logged only when somebody looks closely.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet;

/// The paths there are. No other is written down: what strangers make up does not belong into a log.
pub(super) type Paths = Arc<[Arc<str>]>;

/// A request that waits for its answer: counted and logged when the answer is there, or when its caller has left.
pub(super) struct Open {
    face: Arc<Face>,
    arrival: Arrival,
    method: Method,
    route: Option<Arc<str>>,
    answered: bool,
}

impl Open {
    /// `request`, which has just arrived.
    pub(super) fn new(
        face: &Arc<Face>,
        paths: &Paths,
        arrival: &Arrival,
        request: &Request,
    ) -> Self {
        let route = paths
            .iter()
            .find(|path| ***path == *request.uri().path())
            .cloned();
        let (face, arrival, method) = (Arc::clone(face), arrival.clone(), request.method().clone());
        Self {
            face,
            arrival,
            method,
            route,
            answered: false,
        }
    }

    /// The answer is there.
    pub(super) fn answer(&mut self, response: &mut Response) {
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
        let route = self.route.as_deref().unwrap_or("-");
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
        let route = self.route.as_deref().unwrap_or("-");
        tracing::info!(target: "access", method, route, duration_ms = millis(took), request_id, "the caller left before its answer");
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
