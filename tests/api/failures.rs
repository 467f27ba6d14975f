//! What each failure looks like from outside: status, code, how long to wait, and never a word of the upstream's.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;
use token_broker::upstream::UpstreamError;
use token_broker::web::layers::Onion;

use crate::harness::{Answer, TestApp};
use crate::people::{REQUIRED, claims, sign};

/// `answer` is the golden one, but for the id of its request, which its header tells, too.
fn is_golden(answer: &Answer, golden: &str) {
    let mut golden: Value = serde_json::from_str(golden).unwrap();
    let id = answer.header("x-request-id").unwrap();
    assert!(id.starts_with("req_"), "{id}");
    golden["error"]["request_id"] = id.into();
    assert_eq!(answer.json, golden);
}

#[tokio::test]
async fn refusals_are_exactly_what_the_contract_promises() {
    let one = format!("{REQUIRED}\n[quota.student]\nsessions_per_month = 1");
    let app = TestApp::of(&one, &[]);
    let stranger = app.post("/token").send().await;
    stranger.is(401, "unauthorized");
    is_golden(&stranger, include_str!("../contract/unauthorized.json"));
    let ana = sign(&claims("ana", "student"));
    app.post("/token").bearer(&ana).send().await;
    let spent = app.post("/token").bearer(&ana).send().await;
    spent.is(429, "quota_exceeded");
    assert_eq!(spent.header("retry-after"), Some("2678400"));
    is_golden(&spent, include_str!("../contract/quota-exceeded.json"));
}

#[tokio::test]
async fn every_upstream_failure_has_its_own_answer_and_none_surfaces_as_it_was() {
    let wait = Some(Duration::from_secs(7));
    let cases = [
        (
            UpstreamError::Unreachable("canary".into()),
            503,
            "upstream_unavailable",
            Some(2),
        ),
        (UpstreamError::TimedOut, 504, "upstream_timeout", None),
        (
            UpstreamError::Broken {
                status: 500,
                retry_after: None,
            },
            503,
            "upstream_unavailable",
            Some(2),
        ),
        (
            UpstreamError::Broken {
                status: 503,
                retry_after: wait,
            },
            503,
            "upstream_unavailable",
            Some(7),
        ),
        (
            UpstreamError::RateLimited { retry_after: wait },
            503,
            "upstream_unavailable",
            Some(7),
        ),
        (
            UpstreamError::QuotaExhausted,
            503,
            "upstream_unavailable",
            Some(30),
        ),
        (
            UpstreamError::KeyRejected { status: 401 },
            503,
            "upstream_unavailable",
            Some(30),
        ),
        (
            UpstreamError::Refused {
                status: 400,
                code: "canary".into(),
            },
            502,
            "upstream_invalid",
            None,
        ),
        (
            UpstreamError::Invalid("canary"),
            502,
            "upstream_invalid",
            None,
        ),
        (
            UpstreamError::Overloaded {
                retry_after: Duration::from_millis(1500),
            },
            503,
            "overloaded",
            Some(2),
        ),
        (
            UpstreamError::Resting {
                retry_after: Duration::from_secs(1),
            },
            503,
            "upstream_unavailable",
            Some(1),
        ),
    ];
    let app = TestApp::with(&[("limits.token", "100/60s")]);
    for (error, status, code, retry_after) in cases {
        app.minter.fail(error);
        let answer = app.post("/token").send().await;
        answer.is(status, code);
        assert_eq!(
            answer
                .header("retry-after")
                .map(|text| text.parse().unwrap()),
            retry_after
        );
        assert_eq!(answer.json["error"]["retry_after"].as_u64(), retry_after);
        assert!(!answer.text.contains("canary"), "{}", answer.text);
        assert!(
            answer
                .header("server-timing")
                .unwrap()
                .starts_with("upstream;dur=")
        );
    }
}

#[tokio::test]
async fn messages_are_constant_per_code() {
    let app = TestApp::with(&[("limits.token", "100/60s")]);
    let mut messages = Vec::new();
    for error in [
        UpstreamError::QuotaExhausted,
        UpstreamError::RateLimited { retry_after: None },
    ] {
        app.minter.fail(error);
        messages.push(app.post("/token").send().await.json["error"]["message"].clone());
    }
    assert_eq!(messages[0], messages[1]);
}

#[tokio::test]
async fn a_panic_is_our_fault_and_the_next_request_is_served() {
    let app = TestApp::new();
    app.minter.panic_next();
    app.post("/token").send().await.is(500, "internal");
    assert_eq!(app.post("/token").send().await.status, StatusCode::OK);
    let in_a_handler = axum::Router::new().route("/panic", axum::routing::get(panicking));
    let wrapped = Onion::around(in_a_handler, app.app.state());
    let answer = app.get("/panic").through(wrapped).send().await;
    answer.is(500, "internal");
    assert!(!answer.text.contains("canary"));
}

async fn panicking() {
    panic!("canary");
}
