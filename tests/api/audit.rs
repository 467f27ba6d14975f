//! What is written down of what happened.

use serde_json::json;
use token_broker::audit::Event;
use token_broker::upstream::UpstreamError;

use crate::harness::{PAGE, TestApp};

#[tokio::test]
async fn every_event_of_the_inventory_happens_and_has_every_field() {
    let app = TestApp::with(&[("limits.token", "4/60s"), ("limits.refresh", "100/60s")]);
    let agent = |call: crate::harness::Call| call.header("user-agent", "test/1");
    let session = agent(app.post("/token")).send().await.json["sessionId"].clone();
    let body = json!({ "sessionId": session });
    app.advance(10);
    agent(app.post("/refresh-token")).json(&body).send().await;
    agent(app.post("/refresh-token"))
        .from("198.51.100.1")
        .json(&body)
        .send()
        .await;
    agent(app.post("/token"))
        .origin("https://evil.test")
        .send()
        .await;
    app.minter.fail(UpstreamError::KeyRejected { status: 401 });
    agent(app.post("/token")).send().await;
    agent(app.post("/token"))
        .body("text/plain", "x")
        .send()
        .await;
    app.advance(50);
    for _ in 0..10 {
        agent(app.post("/token")).send().await;
        app.advance(1);
    }
    app.app
        .state()
        .audit
        .note(Event::ConfigWarning, json!({ "warning": "…" }));
    for event in [
        "token_minted",
        "token_refreshed",
        "rate_limit_exceeded",
        "suspicious_activity",
        "client_blocked",
        "origin_refused",
        "session_mismatch",
        "upstream_key_rejected",
        "config_warning",
    ] {
        let found = app.events(event);
        assert!(!found.is_empty(), "{event} did not happen");
        for field in [
            "timestamp",
            "event",
            "clientIP",
            "userAgent",
            "severity",
            "details",
            "requestId",
        ] {
            assert!(found[0].get(field).is_some(), "{event} has no {field}");
        }
        assert!(["low", "medium", "high"].contains(&found[0]["severity"].as_str().unwrap()));
    }
    assert_eq!(app.events("token_minted")[0]["userAgent"], "test/1");
    assert_eq!(
        app.events("session_mismatch")[0]["clientIP"],
        "198.51.100.1"
    );
}

#[tokio::test]
async fn an_event_quotes_the_request_that_its_answer_names() {
    let app = TestApp::new();
    let answer = app.post("/token").origin(PAGE).send().await;
    let event = &app.events("token_minted")[0];
    assert_eq!(event["requestId"], answer.header("x-request-id").unwrap());
    assert_eq!(event["details"]["origin"], PAGE);
    assert_eq!(event["details"]["persona"], "default");
}

#[tokio::test]
async fn a_flood_of_refusals_is_folded_and_counted() {
    let app = TestApp::with(&[("guard.threshold", "1000"), ("limits.token", "1/60s")]);
    let total = 3000;
    for _ in 0..=total {
        app.post("/token").send().await;
    }
    app.app.state().audit.sum_up(true);
    let lines = app.events("rate_limit_exceeded");
    assert!(lines.len() <= 10, "{} lines", lines.len());
    let folded: u64 = lines
        .iter()
        .filter_map(|line| line["details"]["folded"].as_u64())
        .sum();
    assert_eq!(folded + (lines.len() as u64 - 1), total);
}
