//! Traces, from the real executable: a collector gets them by OTLP, and one that is away costs callers nothing.

use serde_json::Value;

use crate::kit::answer::Answer;
use crate::kit::connect_proxy::ConnectProxy;
use crate::kit::executable::Launch;
use crate::kit::provider::simulator;
use crate::kit::receiver::{Receiver, span};
use crate::kit::waiting::until;
use crate::nginx_front::Front;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn a_collector_gets_the_spans_of_a_mint_and_the_log_names_their_trace() {
    let (simulator, receiver) = (simulator(&[]).await, Receiver::start().await);
    let broker = Launch::serve(&simulator)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.collector)
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Basic%20canary==,x-tenant=me",
        )
        .env("OTEL_SERVICE_NAME", "broker of a test")
        .set("server.trusted_proxies", "127.0.0.1/32")
        .start()
        .await;
    let mint = broker.post("/token");
    let mint = mint.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    assert_eq!(Answer::to(mint).await.status, 200);
    // At its end, the broker sends what waits.
    let minted = broker
        .running
        .logged(|line| line["event"] == "token_minted")
        .await;
    let ended = broker.stop().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.out.contains("canary"), "{}", ended.out);
    let spans = receiver.spans();
    let request = span(&spans, "POST /token");
    assert_eq!(request.text("traceId"), TRACE);
    assert_eq!(minted["trace_id"], TRACE);
    assert_eq!(minted["span_id"], request.text("spanId"));
    for operation in ["ledger reserve", "mint", "ledger settle"] {
        let work = span(&spans, operation);
        assert_eq!(
            work.text("parentSpanId"),
            request.text("spanId"),
            "{operation}"
        );
        assert!(
            work.nanos() > 0 && work.nanos() <= request.nanos(),
            "{spans:#?}"
        );
    }
    let message = receiver.messages().pop().unwrap();
    assert_eq!(message.headers["authorization"], "Basic canary==");
    assert_eq!(message.headers["x-tenant"], "me");
    assert_eq!(message.headers["content-type"], "application/json");
    let body: Value = serde_json::from_str(&message.text).unwrap();
    let service = &body["resourceSpans"][0]["resource"]["attributes"][0];
    assert_eq!(service["key"], "service.name");
    assert_eq!(service["value"]["stringValue"], "broker of a test");
}

#[tokio::test]
async fn a_collector_that_is_away_is_logged_once_and_gets_the_spans_when_it_is_back() {
    let (simulator, receiver) = (simulator(&[]).await, Receiver::start().await);
    receiver.refuse(2);
    let proxy = ConnectProxy::start(None).await;
    let collector = receiver
        .collector
        .replace("127.0.0.1", "collector.example.test");
    let broker = Launch::serve(&simulator)
        .set("otel.endpoint", &collector)
        .set("upstream.proxy", &proxy.url())
        .start()
        .await;
    assert_eq!(broker.token().await.status, 200);
    let failure = |line: &Value| {
        line["message"]
            .as_str()
            .unwrap()
            .starts_with("traces cannot")
    };
    broker.running.logged(failure).await;
    assert_eq!(broker.token().await.status, 200);
    let again = |line: &Value| line["message"] == "traces are sent again";
    assert_eq!(broker.running.logged(again).await["dropped"], 0);
    until("the spans", || receiver.spans().len() == 8).await;
    assert_eq!(broker.running.log(failure).len(), 1);
    let ended = broker.stop().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test]
async fn behind_nginx_a_caller_does_not_choose_the_trace_of_its_request() {
    let receiver = Receiver::start().await;
    let front = Front::with(&[("otel.endpoint", &receiver.collector)], &[]).await;
    let mint = front.post("/token");
    let mint = mint.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    assert_eq!(Answer::to(mint).await.status, 200);
    until("the spans", || receiver.spans().len() == 4).await;
    let spans = receiver.spans();
    let request = span(&spans, "POST /token");
    assert_ne!(request.text("traceId"), TRACE);
    assert_eq!(request.text("parentSpanId"), "");
}

#[tokio::test]
async fn without_a_collector_nothing_names_a_trace() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("server.trusted_proxies", "127.0.0.1/32")
        .start()
        .await;
    let mint = broker.post("/token");
    let mint = mint.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    assert_eq!(Answer::to(mint).await.status, 200);
    let ended = broker.stop().await;
    assert!(
        !ended.out.contains("trace_id") && !ended.out.contains(TRACE),
        "{}",
        ended.out
    );
}
