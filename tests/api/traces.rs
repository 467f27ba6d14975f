//! Traces: the spans of requests and of the work within them, whose trace they continue, and what they do not tell.

use std::sync::Arc;

use token_broker::clock::SystemClock;
use token_broker::config::{Config, Mode};
use token_broker::http_client::Way;
use token_broker::telemetry::{self, Exporter};
use token_broker::upstream::UpstreamError;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

use crate::calls::OFFER;
use crate::kit::in_process::{Call, TestApp, student};
use crate::kit::issuer::REQUIRED;
use crate::kit::log_lines::ask_all_threads;
use crate::kit::receiver::{Receiver, Span, span};
use crate::kit::waiting::{SOON, eventually};

const PROXY: &str = "10.0.0.1";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A broker whose requests are traced, and the collector. Spans of this thread only are collected.
struct Traced {
    app: TestApp,
    exporter: Exporter,
    receiver: Receiver,
    _guard: DefaultGuard,
}

impl Traced {
    async fn with(settings: &[(&str, &str)]) -> Self {
        Self::of("", settings).await
    }

    async fn of(file: &str, settings: &[(&str, &str)]) -> Self {
        let receiver = Receiver::start().await;
        let usual = [
            ("otel.endpoint", &*receiver.collector),
            ("server.trusted_proxies", PROXY),
        ];
        let config = Config::from_pairs(Mode::Dev, &usual).unwrap();
        let clock = Arc::new(SystemClock::new());
        let exporter = Exporter::new(&config.otel, &Way::default(), clock).unwrap();
        let exporter = exporter.unwrap();
        ask_all_threads();
        let registry = tracing_subscriber::registry().with(telemetry::spans(&exporter));
        Self {
            app: TestApp::of(file, &[&usual[..], settings].concat()),
            exporter,
            receiver,
            _guard: tracing::subscriber::set_default(registry),
        }
    }

    /// A mint by way of the proxy.
    fn forwarded(&self, flags: &str) -> Call {
        let call = self.app.post("/token").from(PROXY);
        let call = call.header("x-forwarded-for", "198.51.100.1");
        call.header("traceparent", format!("00-{TRACE}-{PARENT}-{flags}"))
    }

    async fn spans(&self) -> Vec<Span> {
        self.exporter.flush().await;
        self.receiver.spans()
    }
}

#[tokio::test]
async fn a_trusted_proxys_trace_is_continued_and_work_has_its_place_below_the_request() {
    let traced = Traced::with(&[]).await;
    assert_eq!(traced.forwarded("01").send().await.status, 200);
    let spans = traced.spans().await;
    let request = span(&spans, "POST /token");
    assert_eq!(request.text("traceId"), TRACE);
    assert_eq!(request.text("parentSpanId"), PARENT);
    assert_eq!(request.0["kind"], 2);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/token"),
        ("http.response.status_code", "200"),
        ("broker.persona", "default"),
    ] {
        assert_eq!(request.attribute(name), Some(value), "{request:?}");
    }
    let mint = span(&spans, "mint");
    assert_eq!(mint.text("traceId"), TRACE);
    assert_eq!(mint.text("parentSpanId"), request.text("spanId"));
    assert_ne!(mint.text("spanId"), request.text("spanId"));
    assert_eq!(mint.0["kind"], 3);
    assert!(mint.nanos() <= request.nanos(), "{mint:?} {request:?}");
    assert!(!request.has_failed() && !mint.has_failed());
}

#[tokio::test]
async fn nobody_else_chooses_the_trace_of_a_request() {
    let traced = Traced::with(&[]).await;
    for address in ["198.51.100.1", "127.0.0.1", "10.0.0.2"] {
        let stranger = traced.forwarded("01").from(address);
        assert_eq!(stranger.send().await.status, 200);
    }
    let spans = traced.spans().await;
    assert_eq!(spans.len(), 6, "{spans:#?}");
    assert!(spans.iter().all(|span| span.text("traceId") != TRACE));
    let requests = spans.iter().filter(|span| span.0["kind"] == 2);
    assert!(
        requests
            .clone()
            .all(|span| span.0["parentSpanId"].is_null())
    );
    assert_eq!(requests.count(), 3);
}

#[tokio::test]
async fn what_is_recorded_is_decided_by_the_trusted_proxy_or_else_by_the_share() {
    let traced = Traced::with(&[("otel.percent", "0")]).await;
    for call in [traced.forwarded("00"), traced.app.post("/token")] {
        assert_eq!(call.send().await.status, 200);
    }
    assert_eq!(traced.spans().await.len(), 0);
    assert_eq!(traced.forwarded("01").send().await.status, 200);
    assert_eq!(traced.spans().await.len(), 2);
}

#[tokio::test]
async fn failures_are_marked_with_their_code_and_a_callers_mistake_is_none() {
    let traced = Traced::with(&[]).await;
    let app = &traced.app;
    app.minter.fail(UpstreamError::KeyRejected(401.into()));
    app.post("/token")
        .send()
        .await
        .is(503, "upstream_unavailable");
    let mistake = app.post("/token").body("application/json", "{");
    assert_eq!(mistake.send().await.status, 400);
    let spans = traced.spans().await;
    let mint = span(&spans, "mint");
    assert!(
        mint.has_failed() && mint.attribute("error.type").is_some(),
        "{mint:?}"
    );
    let answered = |status: &str| {
        let mut spans = spans.iter();
        spans.find(|span| span.attribute("http.response.status_code") == Some(status))
    };
    let (failed, mistaken) = (answered("503").unwrap(), answered("400").unwrap());
    assert!(failed.has_failed() && !mistaken.has_failed());
    assert_eq!(failed.attribute("error.type"), Some("upstream_unavailable"));
    assert!(mistaken.attribute("error.type").is_some());
}

#[tokio::test]
async fn spans_hold_neither_content_nor_secrets_and_identities_as_the_log_does() {
    let traced = Traced::of(REQUIRED, &[("log.identity", "hashed")]).await;
    let call = traced
        .app
        .post("/token?canary-query")
        .bearer(&student("canary-ana"));
    assert_eq!(call.send().await.status, 200);
    traced
        .app
        .get("/canary-path")
        .send()
        .await
        .is(404, "not_found");
    let spans = traced.spans().await;
    let request = span(&spans, "POST /token");
    assert_eq!(request.attribute("broker.identity").map(str::len), Some(16));
    assert_eq!(span(&spans, "GET").attribute("http.route"), None);
    let told = format!("{:?}", traced.receiver.messages());
    for secret in ["canary", "ek_test", "sk-test", "198.51.100", "Bearer"] {
        assert!(!told.contains(secret), "{secret}: {told}");
    }
}

#[tokio::test]
async fn a_call_has_spans_of_its_opening_and_one_of_its_end_which_links_to_the_request() {
    let traced = Traced::with(&[
        ("connect.mode", "call"),
        ("personas.file", "tests/api/calls/personas.toml"),
    ])
    .await;
    let app = &traced.app;
    let opened = app
        .post("/calls")
        .body("application/sdp", OFFER)
        .send()
        .await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let opening = traced.spans().await;
    let request = span(&opening, "POST /calls");
    for operation in ["exchange", "join"] {
        let work = span(&opening, operation);
        assert_eq!(work.text("parentSpanId"), request.text("spanId"));
    }
    assert_eq!(opening.len(), 3, "nothing is open: {opening:#?}");
    app.advance(700);
    eventually("the end", SOON, async || {
        !app.events("call_ended").is_empty()
    })
    .await;
    let spans = traced.spans().await;
    let end = span(&spans, "end");
    assert_ne!(end.text("traceId"), request.text("traceId"));
    assert_eq!(end.0["links"][0]["traceId"], request.text("traceId"));
    assert_eq!(end.0["links"][0]["spanId"], request.text("spanId"));
    let reason = app.events("call_ended")[0]["details"]["reason"].clone();
    assert_eq!(end.attribute("broker.end_reason"), reason.as_str());
    let hang_up = span(&spans, "hang_up");
    assert_eq!(hang_up.text("parentSpanId"), end.text("spanId"));
}

#[tokio::test]
async fn probes_and_operators_leave_no_spans() {
    let token = "operators-token-of-24-bytes";
    let traced = Traced::with(&[("ops.token", token)]).await;
    let app = &traced.app;
    for path in ["/livez", "/readyz", "/health"] {
        assert_eq!(app.get(path).send().await.status, 200, "{path}");
    }
    let onion = app.app.ops_onion().unwrap();
    let metrics = app.get("/metrics").through(onion).bearer(token);
    assert_eq!(metrics.send().await.status, 200);
    assert_eq!(traced.spans().await.len(), 0);
}

#[tokio::test]
async fn spans_that_are_not_taken_at_once_are_sent_again() {
    let traced = Traced::with(&[]).await;
    traced.app.open().await;
    traced.receiver.refuse(1);
    assert_eq!(traced.spans().await.len(), 0);
    let spans = traced.spans().await;
    assert_eq!(spans.len(), 2, "{spans:#?}");
}

#[tokio::test]
async fn a_flood_of_spans_is_bounded() {
    let traced = Traced::with(&[]).await;
    traced.receiver.refuse(1);
    for _ in 0..5_000 {
        traced.app.get("/nowhere").send().await;
    }
    assert_eq!(traced.spans().await.len(), 0);
    assert_eq!(traced.spans().await.len(), 4096);
}
