//! The gate as callers meet it: every limit by its name, offences of verified callers, failed verifications.

use std::collections::BTreeSet;

use axum::body::Body;
use serde_json::{Value, json};
use token_broker::gate::Limit;

use crate::kit::answer::Answer;
use crate::kit::in_process::{TestApp, claims, student};
use crate::kit::issuer::{REQUIRED, optional, sign_with};

const HERE: &str = "203.0.113.7";
const NEXT_DOOR: &str = "203.0.113.8";

/// One request: from where, on whose behalf, and whether it refreshes the first session.
#[derive(Clone, Copy)]
enum Ask {
    Open(&'static str, Option<&'static str>),
    Refresh(&'static str, Option<&'static str>),
}

use Ask::{Open, Refresh};

/// Lets all requests through but the last, whose answer it returns.
async fn last_answer(settings: &[(&str, &str)], asks: &[Ask]) -> Answer {
    let app = TestApp::of(&optional(), settings);
    let (last, before) = asks.split_last().unwrap();
    let mut session = Value::Null;
    let send = async |ask: Ask, session: &Value| {
        let (path, from, who) = match ask {
            Open(from, who) => ("/token", from, who),
            Refresh(from, who) => ("/refresh-token", from, who),
        };
        let call = app.post(path).from(from);
        let call = match ask {
            Open(..) => call,
            Refresh(..) => call.json(&json!({ "sessionId": session })),
        };
        match who {
            None => call.send().await,
            Some(name) => call.bearer(&student(name)).send().await,
        }
    };
    for ask in before {
        let answer = send(*ask, &session).await;
        assert_ne!(answer.status, 429, "{}", answer.text);
        if session.is_null() {
            session = answer.json["sessionId"].clone();
        }
        app.advance(10);
    }
    send(*last, &session).await
}

#[expect(clippy::too_many_lines, reason = "one row for each limit")]
#[tokio::test]
async fn a22_every_limit_refuses_under_the_name_of_its_setting() {
    const ANA: Option<&str> = Some("ana");
    const BEN: Option<&str> = Some("ben");
    let rate = "rate_limited";
    let quota = "quota_exceeded";
    let cases: [(&str, &str, &str, &[Ask]); 15] = [
        (
            "token",
            "1/60s",
            rate,
            &[Open(HERE, None), Open(HERE, None)],
        ),
        (
            "token_network",
            "1/60s",
            rate,
            &[Open(HERE, None), Open(NEXT_DOOR, None)],
        ),
        (
            "refresh",
            "1/60s",
            rate,
            &[Open(HERE, None), Refresh(HERE, None), Refresh(HERE, None)],
        ),
        (
            "refresh_network",
            "1/60s",
            rate,
            &[
                Open(HERE, None),
                Refresh(HERE, None),
                Refresh(NEXT_DOOR, None),
            ],
        ),
        (
            "verified_address",
            "1/60s",
            rate,
            &[Open(HERE, ANA), Open(HERE, BEN)],
        ),
        (
            "verified_address",
            "1/60s",
            rate,
            &[Open(HERE, ANA), Refresh(HERE, ANA), Refresh(HERE, BEN)],
        ),
        (
            "identity",
            "1/1h",
            rate,
            &[Open(HERE, ANA), Open("198.51.100.1", ANA)],
        ),
        (
            "identity_mints",
            "1/24h",
            rate,
            &[Open(HERE, ANA), Refresh(HERE, ANA)],
        ),
        (
            "anonymous_mints",
            "1/24h",
            quota,
            &[Open(HERE, None), Open("198.51.100.1", None)],
        ),
        (
            "anonymous_network",
            "1",
            quota,
            &[Open(HERE, None), Open(NEXT_DOOR, None)],
        ),
        (
            "mints",
            "2/60s",
            quota,
            &[Open(HERE, ANA), Open(HERE, BEN), Open(HERE, ANA)],
        ),
        (
            "mints",
            "2/60s",
            quota,
            &[Open(HERE, None), Open(NEXT_DOOR, None)],
        ),
        (
            "mints_daily",
            "2/24h",
            quota,
            &[Open(HERE, ANA), Open(HERE, BEN), Open(HERE, ANA)],
        ),
        (
            "mints_daily",
            "2/24h",
            quota,
            &[Open(HERE, None), Open(NEXT_DOOR, None)],
        ),
        (
            "mints",
            "2/60s",
            quota,
            &[Open(HERE, None), Open(HERE, ANA), Open(HERE, BEN)],
        ),
    ];
    // Tests of their own exceed the limits of refused credentials and of transcriptions.
    let elsewhere = ["refused_credentials", "transcribe"];
    let exceeded: BTreeSet<_> = cases.iter().map(|case| case.0).chain(elsewhere).collect();
    let all: BTreeSet<_> = Limit::ALL.map(|limit| limit.row().setting).into();
    assert_eq!(exceeded, all, "each limit needs a row here");
    for (limit, value, code, asks) in cases {
        let setting = format!("limits.{limit}");
        // So that one percent is one mint.
        let mut settings = vec![(setting.as_str(), value)];
        if limit == "anonymous_network" {
            settings.push(("limits.anonymous_mints", "100/24h"));
        }
        let refused = last_answer(&settings, asks).await;
        refused.is(429, code);
        assert_eq!(refused.json["error"]["limit"], limit, "{}", refused.text);
        assert!(refused.retry_after() >= 1);
    }
}

#[tokio::test]
async fn callers_without_identity_leave_half_of_everybodys_budget_to_the_others() {
    let app = TestApp::of(&optional(), &[("limits.mints", "4/60s")]);
    for host in 1..=2 {
        let from = format!("198.51.100.{host}");
        assert_eq!(app.post("/token").from(&from).send().await.status, 200);
    }
    let refused = app.post("/token").send().await;
    refused.is(429, "quota_exceeded");
    assert_eq!(refused.json["error"]["limit"], "mints");
    for name in ["ana", "ben"] {
        let answer = app.post("/token").bearer(&student(name)).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

#[tokio::test]
async fn offences_of_a_verified_caller_block_its_identity_everywhere_and_nobody_elses() {
    let app = TestApp::of(&optional(), &[]);
    let ana = student("ana");
    for _ in 0..12 {
        let call = app.post("/refresh-token").bearer(&ana);
        let broken = call.body("application/json", Body::from("{"));
        broken.send().await.is(400, "bad_request");
    }
    let blocked = app.events("client_blocked");
    assert_eq!(blocked.len(), 1);
    assert_eq!(blocked[0]["details"]["identity"], "ana");
    assert_eq!(blocked[0]["details"]["network"], Value::Null);
    let elsewhere = app.post("/token").from("198.51.100.9").bearer(&ana);
    elsewhere.send().await.is(429, "blocked");
    let ben = app.post("/token").bearer(&student("ben")).send().await;
    assert_eq!(ben.status, 200, "{}", ben.text);
    assert_eq!(app.post("/token").send().await.status, 200);
}

#[tokio::test]
async fn verifications_that_fail_are_paced_and_known_credentials_pass_all_the_same() {
    let app = TestApp::of(REQUIRED, &[("limits.refused_credentials", "1000/60s")]);
    let ana = student("ana");
    assert_eq!(app.post("/token").bearer(&ana).send().await.status, 200);
    let forged = |number: u32| {
        let claims = claims(&format!("forger-{number}"), "teacher");
        sign_with(&claims, "another secret that is long enough too")
    };
    for number in 0..50 {
        let answer = app.post("/token").bearer(&forged(number)).send().await;
        assert_ne!(answer.json["error"]["code"], "rate_limited");
    }
    let paced = app.post("/token").bearer(&forged(50)).send().await;
    paced.is(429, "rate_limited");
    assert_eq!(paced.json["error"]["limit"], "failed_verifications");
    assert_eq!(paced.retry_after(), 1);
    let known = app.post("/token").bearer(&ana).send().await;
    assert_eq!(known.status, 200, "{}", known.text);
    let elsewhere = app.post("/token").from("198.51.100.9");
    let elsewhere = elsewhere.bearer(&student("ben")).send().await;
    assert_eq!(elsewhere.status, 200, "{}", elsewhere.text);
    app.advance(1);
    let new = app.post("/token").bearer(&student("cleo")).send().await;
    assert_eq!(new.status, 200, "{}", new.text);
}
