//! What each failure looks like from outside: status, code, how long to wait, and never a word of the upstream's.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;
use token_broker::upstream::{Complaint, UpstreamError};
use token_broker::web::layers::Onion;

use crate::kit::answer::Answer;
use crate::kit::in_process::{TestApp, claims};
use crate::kit::issuer::{REQUIRED, sign};

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
    let wait = Duration::from_secs(7);
    let cases = [
        (
            UpstreamError::Unreachable("canary".into()),
            (503, "upstream_unavailable", Some(2)),
        ),
        (UpstreamError::TimedOut, (504, "upstream_timeout", None)),
        (
            UpstreamError::Broken(500.into()),
            (503, "upstream_unavailable", Some(2)),
        ),
        (
            UpstreamError::Broken(asking(503, wait)),
            (503, "upstream_unavailable", Some(7)),
        ),
        (
            UpstreamError::RateLimited(asking(429, wait)),
            (503, "upstream_unavailable", Some(7)),
        ),
        (
            UpstreamError::QuotaExhausted(429.into()),
            (503, "upstream_unavailable", Some(30)),
        ),
        (
            UpstreamError::KeyRejected(401.into()),
            (503, "upstream_unavailable", Some(5)),
        ),
        (
            UpstreamError::Refused(complaint(404, "model_not_found")),
            (503, "upstream_unavailable", Some(2)),
        ),
        (
            UpstreamError::Refused(complaint(400, "canary")),
            (502, "upstream_invalid", None),
        ),
        (
            UpstreamError::Invalid("canary"),
            (502, "upstream_invalid", None),
        ),
    ];
    let app = TestApp::with(&[("limits.token", "100/60s")]);
    for (error, expected) in cases {
        app.minter.fail(error);
        is_told(&app.post("/token").send().await, expected);
        // Whatever rest the upstream was given is over.
        app.advance(30);
    }
}

/// An answer that asks to be left alone for a while.
fn asking(status: u16, wait: Duration) -> Complaint {
    Complaint {
        retry_after: Some(wait),
        ..status.into()
    }
}

fn complaint(status: u16, code: &str) -> Complaint {
    Complaint {
        code: code.into(),
        ..status.into()
    }
}

fn is_told(answer: &Answer, (status, code, retry_after): (u16, &str, Option<u64>)) {
    answer.is(status, code);
    let told = answer.header("retry-after");
    assert_eq!(told.map(|text| text.parse().unwrap()), retry_after);
    assert_eq!(answer.json["error"]["retry_after"].as_u64(), retry_after);
    assert!(!answer.text.contains("canary"), "{}", answer.text);
    let timing = answer.header("server-timing").unwrap();
    assert!(timing.starts_with("upstream;dur="));
}

#[tokio::test]
async fn while_the_circuit_breaker_is_open_callers_are_told_how_long() {
    let app = TestApp::new();
    let wait = Duration::from_secs(7);
    app.minter
        .fail(UpstreamError::RateLimited(asking(429, wait)));
    app.post("/token").send().await;
    app.advance(3);
    let answer = app.post("/token").send().await;
    is_told(&answer, (503, "upstream_unavailable", Some(4)));
    assert_eq!(app.minter.asked(), 1);
}

#[tokio::test]
async fn requests_beyond_the_capacity_are_told_to_retry_after_a_second() {
    let app = TestApp::with(&[("upstream.max_in_flight", "1"), ("upstream.max_wait", "0s")]);
    app.minter.hold();
    let first = tokio::spawn(app.post("/token").send());
    app.minter.asked_for(1).await;
    let answer = app.post("/token").send().await;
    is_told(&answer, (503, "overloaded", Some(1)));
    app.minter.let_through(1);
    assert_eq!(first.await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn a_key_that_is_rejected_once_and_accepted_by_the_free_look_fails_that_one_request() {
    let app = TestApp::new();
    app.minter
        .fail_once(UpstreamError::KeyRejected(complaint(401, "canary")));
    let answer = app.post("/token").send().await;
    is_told(&answer, (502, "upstream_invalid", None));
    assert_eq!(app.minter.probes(), 1);
    assert_eq!(app.post("/token").send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_code_has_one_constant_message() {
    let app = TestApp::with(&[("limits.token", "100/60s")]);
    let mut messages = Vec::new();
    for error in [
        UpstreamError::QuotaExhausted(429.into()),
        UpstreamError::RateLimited(429.into()),
    ] {
        app.minter.fail(error);
        app.advance(30);
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
