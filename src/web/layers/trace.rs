//! Traces requests: the span that log lines are tied to, the access line, the counts, `Server-Timing`.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::header::ORIGIN;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::Response;
use tower::{Layer, Service};
use tracing::Span;
use tracing::field::Empty;

use super::arrival::Arrival;
use crate::clock::{Tick, millis};
use crate::domain::Account;
use crate::telemetry;
use crate::web::error::ApiError;
use crate::web::state::Face;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Longest part of an `Origin` header that is logged.
const MAX_ORIGIN: usize = 128;

/// An answer's extension: how long the upstream took for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpstreamTook(pub Duration);

/// An answer's extension that marks an answer to a probe: not counted, and logged at debug level only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiet;

/// Opens the span of a request. Log lines below the web and in spawned work carry its fields.
pub(super) fn span(arrival: &Arrival) -> Span {
    // At the level of errors, so that every line that is written at all names its request.
    tracing::error_span!(
        target: telemetry::REQUEST,
        "request",
        request_id = arrival.request_id.as_str(),
        route = Empty,
        identity = Empty,
    )
}

/// Adds the hashed identity of the caller to the request's span.
pub(super) fn note_identity(account: &Account) {
    let hash = format!("{:016x}", account.key().to_bits() >> 64);
    Span::current().record("identity", hash);
}

/// Adds the pattern of the matched route to the request's span. Unknown paths are made up by strangers and never logged.
#[derive(Clone)]
pub(super) struct NoteRoute;

/// A route whose pattern is added to the request's span.
#[derive(Clone)]
pub(super) struct Noted<S>(S);

impl<S> Layer<S> for NoteRoute {
    type Service = Noted<S>;

    fn layer(&self, route: S) -> Noted<S> {
        Noted(route)
    }
}

impl<S: Service<Request>> Service<Request> for Noted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> S::Future {
        let matched = request.extensions().get::<MatchedPath>();
        Span::current().record("route", matched.map_or("-", MatchedPath::as_str));
        self.0.call(request)
    }
}

/// A request that waits for its answer. It is counted and logged when the answer is ready, or when the caller leaves.
pub(super) struct Open {
    face: Arc<Face>,
    at: Tick,
    method: &'static str,
    client_ip: IpAddr,
    origin: Option<HeaderValue>,
    answered: bool,
}

impl Open {
    /// Begins with `request`, which has just arrived.
    pub(super) fn new(face: &Arc<Face>, arrival: &Arrival, request: &Request) -> Self {
        Self {
            face: Arc::clone(face),
            at: arrival.at,
            method: known_method(request.method()),
            client_ip: arrival.address,
            origin: request.headers().get(ORIGIN).cloned(),
            answered: false,
        }
    }

    /// Counts and logs the answer, and adds its `Server-Timing`.
    pub(super) fn answer(&mut self, response: &mut Response) {
        self.answered = true;
        let took = self.face.clock.tick().since(self.at);
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
        let Self {
            method, client_ip, ..
        } = self;
        let (status, duration_ms) = (response.status(), rounded(millis(took)));
        let upstream_ms = upstream_ms.map(rounded);
        let extensions = response.extensions();
        let error = extensions.get::<ApiError>();
        let code = error.map(|error| error.code.as_str());
        let origin = self.origin();
        if extensions.get::<Quiet>().is_some() {
            tracing::debug!(target: "access", method, status = status.as_u16(), duration_ms, %client_ip, "answered");
        } else if status.is_server_error() {
            let cause = error.and_then(|error| error.cause.as_ref());
            let cause = cause.map(|cause| telemetry::chain(cause.as_ref()));
            tracing::error!(target: "access", method, status = status.as_u16(), duration_ms, upstream_ms, %client_ip, origin, code, cause, "failed");
        } else {
            tracing::info!(target: "access", method, status = status.as_u16(), duration_ms, upstream_ms, %client_ip, origin, code, "answered");
        }
    }

    /// Returns the origin that the request sent, cut to a bearable length.
    fn origin(&self) -> Option<&str> {
        let origin = self.origin.as_ref()?.to_str().ok()?;
        Some(&origin[..origin.floor_char_boundary(MAX_ORIGIN)])
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let took = self.face.clock.tick().since(self.at);
        self.face.vitals.count_request(took, false);
        let Self {
            method, client_ip, ..
        } = &*self;
        let (duration_ms, origin) = (rounded(millis(took)), self.origin());
        tracing::info!(target: "access", method, duration_ms, %client_ip, origin, "the caller left before its answer");
    }
}

/// Returns the name of a registered method. Others are made up by strangers and never logged.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "-",
    }
}

/// Rounds to microseconds: more digits say nothing.
fn rounded(milliseconds: f64) -> f64 {
    (milliseconds * 1000.0).round() / 1000.0
}

/// Returns how long the upstream took for an answer, whether it succeeded or failed.
fn upstream_took(response: &Response) -> Option<Duration> {
    let good = response
        .extensions()
        .get::<UpstreamTook>()
        .map(|took| took.0);
    good.or_else(|| response.extensions().get::<ApiError>()?.upstream_took)
}
