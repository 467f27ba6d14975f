//! What identities and everybody together may use: windows, quotas, budgets, all decided before anything is taken.

use std::sync::Arc;

use axum::http::StatusCode;
use token_broker::clock::{Clock, ManualClock};
use token_broker::upstream::UpstreamError;

use crate::kit::answer::Answer;
use crate::kit::in_process::{TestApp, claims, student, teacher};
use crate::kit::issuer::{REQUIRED, optional, sign};

/// A window for addresses that nobody reaches.
const WIDE: [(&str, &str); 2] = [
    ("limits.token", "100000/60s"),
    ("limits.token_network", "100000/60s"),
];

fn file(quota: &str) -> String {
    format!("{REQUIRED}\n{quota}")
}

async fn open(test: &TestApp, bearer: &str) -> Answer {
    test.post("/token").bearer(bearer).send().await
}

#[tokio::test]
async fn an_identity_opens_so_many_sessions_in_any_hour_wherever_it_calls_from() {
    let test = TestApp::of(REQUIRED, &[("limits.identity", "3/1h")]);
    let ana = student("ana");
    for host in 1..=3 {
        let answer = test
            .post("/token")
            .from(&format!("203.0.113.{host}"))
            .bearer(&ana)
            .send()
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        test.advance(60);
    }
    let refused = test
        .post("/token")
        .from("198.51.100.1")
        .bearer(&ana)
        .send()
        .await;
    refused.is(429, "rate_limited");
    assert_eq!(refused.json["error"]["limit"], "identity");
    assert_eq!(refused.retry_after(), 3600 - 180);
    assert_eq!(open(&test, &student("ben")).await.status, StatusCode::OK);
    test.advance(refused.retry_after());
    assert_eq!(open(&test, &ana).await.status, StatusCode::OK);
}

#[tokio::test]
async fn refused_by_one_limit_a_request_takes_nothing_of_the_others() {
    let quota = file("[quota.student]\nsessions_per_month = 1");
    let settings = [
        ("limits.token", "3/60s"),
        ("limits.identity", "3/1h"),
        ("limits.mints", "3/60s"),
    ];
    let test = TestApp::of(&quota, &settings);
    let ana = student("ana");
    assert_eq!(open(&test, &ana).await.status, StatusCode::OK);
    for _ in 0..10 {
        let refused = open(&test, &ana).await;
        refused.is(429, "quota_exceeded");
        assert_eq!(refused.json["error"]["limit"], "sessions_per_month");
        assert_eq!(
            refused.header("x-ratelimit-remaining"),
            None,
            "it would mislead"
        );
    }
    // Of three places of the address and of everybody, two are left.
    assert_eq!(open(&test, &student("ben")).await.status, StatusCode::OK);
    assert_eq!(open(&test, &student("cem")).await.status, StatusCode::OK);
    assert_eq!(test.minter.asked(), 3);
}

#[tokio::test]
async fn a_refusal_of_the_identitys_window_takes_nothing_of_the_address_and_is_no_offence() {
    let settings = [("limits.token", "3/60s"), ("limits.identity", "1/1h")];
    let test = TestApp::of(REQUIRED, &settings);
    assert_eq!(open(&test, &student("ana")).await.status, StatusCode::OK);
    for _ in 0..10 {
        open(&test, &student("ana")).await.is(429, "rate_limited");
        test.advance(1);
    }
    assert_eq!(open(&test, &student("ben")).await.status, StatusCode::OK);
    assert!(test.events("client_blocked").is_empty());
}

#[tokio::test]
async fn a_quota_is_the_exceptions_then_the_roles_then_everybodys() {
    let quota = file(
        r#"
[quota.default]
sessions_per_month = 1
[quota.student]
sessions_per_month = 2
[[quota.exceptions]]
issuer = "https://id.example.com/"
subject = "ana"
sessions_per_month = 3
"#,
    );
    let test = TestApp::of(&quota, &WIDE);
    for (bearer, allowed) in [
        (student("ana"), 3),
        (student("ben"), 2),
        (teacher("tom"), 1),
    ] {
        for _ in 0..allowed {
            assert_eq!(open(&test, &bearer).await.status, StatusCode::OK);
        }
        open(&test, &bearer).await.is(429, "quota_exceeded");
    }
}

#[tokio::test]
async fn a_quota_begins_anew_with_the_utc_month_and_says_when() {
    let test = TestApp::of(&file("[quota.student]\nsessions_per_month = 1"), &WIDE);
    let ana = || {
        let mut claims = claims("ana", "student");
        claims["iat"] = test.clock.now().as_seconds().into();
        sign(&claims)
    };
    assert_eq!(open(&test, &ana()).await.status, StatusCode::OK);
    let refused = open(&test, &ana()).await;
    // The clock stands at the beginning of January.
    assert_eq!(refused.retry_after(), 31 * 24 * 3600);
    test.advance(31 * 24 * 3600 - 1);
    open(&test, &ana()).await.is(429, "quota_exceeded");
    test.advance(1);
    assert_eq!(open(&test, &ana()).await.status, StatusCode::OK);
    open(&test, &ana()).await.is(429, "quota_exceeded");
}

#[tokio::test]
async fn a_plain_failure_upstream_gives_the_place_back_and_an_unknown_outcome_does_not() {
    let quota = file("[quota.student]\nsessions_per_month = 1");
    let test = TestApp::of(
        &quota,
        &[("limits.identity", "1/1h"), ("limits.mints", "1/60s")],
    );
    let ana = student("ana");
    test.minter.fail(UpstreamError::Broken(500.into()));
    open(&test, &ana).await.is(503, "upstream_unavailable");
    test.minter.fail(UpstreamError::TimedOut);
    open(&test, &ana).await.is(504, "upstream_timeout");
    test.advance(3600);
    open(&test, &ana).await.is(429, "quota_exceeded");
}

#[tokio::test]
async fn a_request_that_never_reached_a_mint_is_no_session_of_its_identity() {
    let test = TestApp::of(
        REQUIRED,
        &[("limits.identity", "1/1h"), ("guard.threshold", "1000")],
    );
    let ana = student("ana");
    for _ in 0..3 {
        let bad = test
            .post("/token")
            .bearer(&ana)
            .body("application/json", "{")
            .send()
            .await;
        bad.is(400, "bad_request");
    }
    let answer = open(&test, &ana).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
}

#[tokio::test]
async fn the_budget_of_everybody_holds_strangers_too() {
    let settings = [
        WIDE[0],
        WIDE[1],
        // Strangers may take half of each.
        ("limits.mints", "10/60s"),
        ("limits.mints_daily", "16/24h"),
    ];
    let test = TestApp::of(&optional(), &settings);
    let call = async |host: u32| {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + host * 1024).to_string();
        test.post("/token").from(&address).send().await
    };
    for host in 0..5 {
        assert_eq!(call(host).await.status, StatusCode::OK);
    }
    let refused = call(6).await;
    refused.is(429, "quota_exceeded");
    assert_eq!(refused.json["error"]["limit"], "mints");
    assert_eq!(refused.retry_after(), 60);
    assert_eq!(refused.header("x-ratelimit-limit"), None);
    test.advance(60);
    for host in 7..10 {
        assert_eq!(call(host).await.status, StatusCode::OK);
    }
    let refused = call(11).await;
    assert_eq!(refused.json["error"]["limit"], "mints_daily");
    assert_eq!(test.minter.asked(), 8);
    assert!(test.events("client_blocked").is_empty());
}

#[tokio::test]
async fn admitted_callers_do_not_learn_how_much_of_everybodys_budget_is_left() {
    let test = TestApp::with(&[("limits.mints", "2/60s")]);
    let answer = test.post("/token").send().await;
    assert_eq!(answer.header("x-ratelimit-limit"), Some("10"));
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("9"));
}

#[tokio::test]
async fn refreshes_are_mints_of_the_budget_but_not_sessions_of_an_identity() {
    let test = TestApp::of(
        REQUIRED,
        &[("limits.identity", "1/1h"), ("limits.mints", "2/60s")],
    );
    let ana = student("ana");
    let opened = open(&test, &ana).await;
    let id = serde_json::json!({ "sessionId": opened.json["sessionId"] });
    let refresh = async || {
        test.post("/refresh-token")
            .bearer(&ana)
            .json(&id)
            .send()
            .await
    };
    test.advance(10);
    assert_eq!(refresh().await.status, StatusCode::OK);
    test.advance(10);
    let refused = refresh().await;
    assert_eq!(refused.json["error"]["limit"], "mints", "{}", refused.text);
}

#[tokio::test]
async fn a_restart_gives_nobody_a_new_allowance() {
    let settings = [
        WIDE[0],
        WIDE[1],
        ("limits.identity", "3/1h"),
        ("limits.mints_daily", "5/24h"),
    ];
    let before = TestApp::of(REQUIRED, &settings);
    let (ana, ben) = (student("ana"), student("ben"));
    for _ in 0..3 {
        assert_eq!(open(&before, &ana).await.status, StatusCode::OK);
        before.advance(600);
    }
    let clock = Arc::new(ManualClock::at(before.clock.now()));
    let after = TestApp::over(Arc::clone(&before.ledger), clock, (REQUIRED, &settings));
    after.app.remember().await.unwrap();
    let refused = open(&after, &ana).await;
    refused.is(429, "rate_limited");
    assert_eq!(refused.retry_after(), 3600 - 1800);
    assert_eq!(open(&after, &ben).await.status, StatusCode::OK);
    after.advance(refused.retry_after());
    assert_eq!(open(&after, &ana).await.status, StatusCode::OK);
    let refused = open(&after, &ben).await;
    assert_eq!(
        refused.json["error"]["limit"], "mints_daily",
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn a_restart_gives_a_neighbourhood_of_strangers_no_new_allowance() {
    // One percent is one mint.
    let settings = [
        ("limits.anonymous_mints", "100/24h"),
        ("limits.anonymous_network", "1"),
    ];
    let before = TestApp::with(&settings);
    assert_eq!(before.post("/token").send().await.status, StatusCode::OK);
    let clock = Arc::new(ManualClock::at(before.clock.now()));
    let after = TestApp::over(Arc::clone(&before.ledger), clock, ("", &settings));
    after.app.remember().await.unwrap();
    let refused = after.post("/token").send().await;
    refused.is(429, "quota_exceeded");
    assert_eq!(refused.json["error"]["limit"], "anonymous_network");
    let elsewhere = after.post("/token").from("198.51.100.9").send().await;
    assert_eq!(elsewhere.status, StatusCode::OK);
}

#[tokio::test]
async fn neither_one_identity_nor_all_strangers_use_up_everybodys_day() {
    let settings = [
        WIDE[0],
        WIDE[1],
        ("limits.identity_mints", "2/24h"),
        ("limits.anonymous_mints", "2/24h"),
        ("limits.anonymous_network", "100"),
    ];
    let test = TestApp::of(&optional(), &settings);
    let ana = student("ana");
    let opened = open(&test, &ana).await;
    let id = serde_json::json!({ "sessionId": opened.json["sessionId"] });
    test.advance(10);
    let refreshed = test
        .post("/refresh-token")
        .bearer(&ana)
        .json(&id)
        .send()
        .await;
    assert_eq!(refreshed.status, StatusCode::OK);
    test.advance(10);
    let refused = test
        .post("/refresh-token")
        .bearer(&ana)
        .json(&id)
        .send()
        .await;
    refused.is(429, "rate_limited");
    assert_eq!(refused.json["error"]["limit"], "identity_mints");
    for _ in 0..2 {
        assert_eq!(test.post("/token").send().await.status, StatusCode::OK);
    }
    let stranger = test.post("/token").from("198.51.100.9").send().await;
    stranger.is(429, "quota_exceeded");
    assert_eq!(stranger.json["error"]["limit"], "anonymous_mints");
    assert_eq!(open(&test, &student("ben")).await.status, StatusCode::OK);
    let refusal = test.events("rate_limit_exceeded").pop().unwrap();
    assert_eq!(refusal["details"]["identity"], "ana");
}
