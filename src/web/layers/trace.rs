//! Traces requests: the span that log lines are tied to, the access line, the counts, `Server-Timing`.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::header::ORIGIN;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use tracing::Span;
use tracing::field::{Empty, display};

use super::{Probe, counted};
use crate::clock::{Tick, millis};
use crate::config::LogIdentity;
use crate::domain::{Account, Caller, Party, Trace};
use crate::spans::TRACE;
use crate::telemetry;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::state::Face;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The registered methods that may be logged.
const METHODS: [&str; 9] = [
    "GET", "POST", "OPTIONS", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT",
];
/// Longest part of an `Origin` header that is logged, in bytes.
const MAX_ORIGIN: usize = 128;

/// An answer's extension: how long the upstream took for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpstreamTook(pub Duration);

/// An answer's extension: how long the side channel of a call took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JoinTook(pub Duration);

/// A request's extension: the matched route, once it is known.
#[derive(Clone, Default)]
pub(super) struct Route(Arc<OnceLock<MatchedPath>>);

impl Route {
    /// Returns the pattern. Strangers make up unknown paths, so these have none.
    fn pattern(&self) -> &str {
        self.0.get().map_or("-", MatchedPath::as_str)
    }
}

/// Opens the span of a request. Log lines below the web and in spawned work carry its fields.
pub(super) fn span(caller: &Caller) -> Span {
    let trace = caller.trace.as_ref();
    // At the level of errors, so that every line that is written at all names its request.
    tracing::error_span!(
        target: telemetry::REQUEST,
        "request",
        request_id = caller.request_id.as_str(),
        route = Empty,
        identity = Empty,
        persona = Empty,
        trace_id = trace.map(Trace::trace_id),
        span_id = trace.map(Trace::span_id),
        parent_span_id = trace.and_then(Trace::parent_id),
    )
}

/// Adds the identity of the caller to the request's span, as `log.identity` says.
pub(super) fn note_identity(account: &Account, shown: LogIdentity) {
    if let Some(identity) = shown.name(account) {
        Span::current().record("identity", identity);
    }
}

/// Notes the pattern of the matched route, also in the request's span.
pub(super) fn note_route(request: &Request) {
    let Some(route) = request.extensions().get::<Route>() else {
        return;
    };
    if let Some(matched) = request.extensions().get::<MatchedPath>() {
        // A request is routed once.
        let _ = route.0.set(matched.clone());
    }
    Span::current().record("route", route.pattern());
}

/// What access lines are folded by. Strangers can cause many requests at no cost, so only the first lines of an outcome are
/// written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// `None` when the caller left before the answer.
    status: Option<StatusCode>,
    code: Option<Code>,
}

/// Writes the counts of folded access lines when their minute is over, or at once when `even_early`.
pub(in crate::web) fn sum_up(face: &Face, even_early: bool) {
    for (outcome, lines) in face.folding.sum_up(face.clock.tick(), even_early) {
        let status = outcome.status.map(|status| status.as_u16());
        let code = outcome.code.map(|code| display(code.name()));
        let (folded, written) = (lines.folded, lines.written);
        if outcome
            .status
            .is_some_and(|status| status.is_server_error())
        {
            tracing::error!(target: "access", status, code, folded, written, "folded");
        } else {
            tracing::info!(target: "access", status, code, folded, written, "folded");
        }
    }
}

/// A request that waits for its answer. It is counted and logged when the answer is ready, or when the caller leaves.
pub(super) struct Open {
    face: Arc<Face>,
    at: Tick,
    method: Method,
    pub(super) route: Route,
    client_ip: IpAddr,
    network: Party,
    origin: Option<HeaderValue>,
    answered: bool,
}

impl Open {
    /// Begins with `request`, which has just arrived.
    pub(super) fn new(face: &Arc<Face>, caller: &Caller, request: &Request) -> Self {
        Self {
            face: Arc::clone(face),
            at: face.clock.tick(),
            method: request.method().clone(),
            route: Route::default(),
            client_ip: caller.address(),
            network: Party::Network(caller.network()),
            origin: request.headers().get(ORIGIN).cloned(),
            answered: false,
        }
    }

    /// Counts and logs the answer, and adds its `Server-Timing`.
    pub(super) fn answer(mut self, response: &mut Response) {
        self.answered = true;
        let took = self.face.clock.tick().since(self.at);
        let is_failure = response.status().is_server_error();
        if response.extensions().get::<Probe>().is_none() {
            self.face.vitals.count_request(took, is_failure);
            self.count(took, Some(response));
            self.end_span(response);
        }
        let upstream = response.extensions().get::<UpstreamTook>();
        let upstream_ms = upstream.map(|upstream| millis(upstream.0));
        self.log(response, millis(took), upstream_ms);
        if let Some(upstream) = upstream_ms {
            let total = millis(took);
            let join = response.extensions().get::<JoinTook>();
            let join = join.map(|join| format!("join;dur={:.1}, ", millis(join.0)));
            let join = join.unwrap_or_default();
            let timing = format!("upstream;dur={upstream:.1}, {join}total;dur={total:.1}");
            let timing = HeaderValue::try_from(timing).ok();
            let timing = timing.map(|timing| (SERVER_TIMING, timing));
            response.headers_mut().extend(timing);
        }
    }

    fn log(&self, response: &Response, duration_ms: f64, upstream_ms: Option<f64>) {
        let (method, origin, client_ip) = (self.method(), self.origin(), self.client_ip);
        let error = response.extensions().get::<ApiError>();
        let (status, code) = (response.status(), error.map(|error| error.code));
        let is_probe = response.extensions().get::<Probe>().is_some();
        // Each grant is worth its line, and each change that an operator makes.
        let is_free = !status.is_success() || (upstream_ms.is_none() && self.method.is_safe());
        let outcome = Outcome {
            status: Some(status),
            code,
        };
        let party = response.extensions().get().copied();
        if !is_probe && is_free && !self.admits(outcome, party.unwrap_or(self.network)) {
            return;
        }
        let (status, code) = (status.as_u16(), code.map(|code| display(code.name())));
        let limit = error.and_then(|error| error.limit);
        if is_probe {
            tracing::debug!(target: "access", method, status, duration_ms, %client_ip, "answered");
        } else if response.status().is_server_error() {
            let cause = error.and_then(|error| error.cause.as_ref());
            let cause = cause.map(|cause| telemetry::chain(cause.as_ref()));
            tracing::error!(target: "access", method, status, duration_ms, upstream_ms, %client_ip, origin, code, limit, cause, "failed");
        } else {
            tracing::info!(target: "access", method, status, duration_ms, upstream_ms, %client_ip, origin, code, limit, "answered");
        }
    }

    /// Ends the request's span in its trace.
    fn end_span(&self, response: &Response) {
        let (method, status) = (self.method(), response.status().as_u16());
        let error = response.extensions().get::<ApiError>();
        let code = error.map(|error| display(error.code.name()));
        tracing::info!(target: TRACE, method, status, code);
    }

    fn count(&self, took: Duration, response: Option<&Response>) {
        let of = (self.route.pattern(), self.method());
        counted::count(&self.face.vitals.series, of, took, response);
    }

    /// Returns whether a line of `party` is written in full.
    fn admits(&self, outcome: Outcome, party: Party) -> bool {
        sum_up(&self.face, false);
        let now = self.face.clock.tick();
        self.face.folding.admits(outcome, Some(party), now)
    }

    /// Returns the origin that the request sent, cut to a bearable length.
    fn origin(&self) -> Option<&str> {
        let origin = self.origin.as_ref()?.to_str().ok()?;
        Some(&origin[..origin.floor_char_boundary(MAX_ORIGIN)])
    }

    /// Returns the method if it is registered. Strangers make up others, so these are not logged.
    fn method(&self) -> &str {
        let known = METHODS.iter().find(|known| self.method == **known);
        known.unwrap_or(&"-")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let took = self.face.clock.tick().since(self.at);
        self.face.vitals.count_request(took, false);
        self.count(took, None);
        tracing::info!(target: TRACE, method = self.method(), code = "left");
        let left = Outcome {
            status: None,
            code: None,
        };
        if !self.admits(left, self.network) {
            return;
        }
        let (method, origin, client_ip) = (self.method(), self.origin(), self.client_ip);
        tracing::info!(target: "access", method, duration_ms = millis(took), %client_ip, origin, "caller left before the answer");
    }
}
