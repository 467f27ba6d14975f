//! What is recorded of every use, and that nothing is minted that cannot be recorded.

use axum::http::StatusCode;
use serde_json::json;
use token_broker::clock::Timestamp;
use token_broker::records::{By, UsageQuery, UsageRow};
use token_broker::upstream::UpstreamError;

use crate::fragile::fragile;
use crate::kit::in_process::{START, TestApp, student, teacher};
use crate::kit::issuer::REQUIRED;

async fn rows(test: &TestApp, by: By) -> Vec<UsageRow> {
    let query = UsageQuery {
        by,
        since: START,
        most: 100,
    };
    test.ledger.usage(query).await.unwrap()
}

#[tokio::test]
async fn a_mint_that_cannot_be_recorded_does_not_happen_and_takes_nothing() {
    let (test, ledger) = fragile(REQUIRED);
    ledger.fail(true, true);
    for _ in 0..20 {
        let refused = test.post("/token").bearer(&student("ana")).send().await;
        refused.is(503, "ledger_unavailable");
        assert!(refused.retry_after() >= 1);
        assert!(!refused.text.contains("disk"), "{}", refused.text);
    }
    assert_eq!(test.minter.asked(), 0);
    let health = test.get("/health").from("127.0.0.1").send().await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health.json["services"]["usageLedger"]["status"], "down");
    let ready = test.get("/readyz").send().await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.text, "waiting for the ledger");
    assert!(!test.events("ledger_unavailable").is_empty());
    ledger.fail(false, false);
    assert_eq!(test.get("/readyz").send().await.status, StatusCode::OK);
    let answer = test.post("/token").bearer(&student("ana")).send().await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("9"));
}

#[tokio::test]
async fn a_refresh_that_cannot_be_recorded_leaves_its_session_as_it_was() {
    let (test, ledger) = fragile("");
    let id = test.open().await;
    test.advance(10);
    ledger.fail(true, true);
    test.refresh(&id).await.is(503, "ledger_unavailable");
    ledger.fail(false, false);
    assert_eq!(test.refresh(&id).await.status, StatusCode::OK);
    assert_eq!(test.minter.asked(), 2);
}

#[tokio::test]
async fn a_mint_that_was_not_settled_is_handed_to_nobody_and_counts() {
    let (test, ledger) = fragile(REQUIRED);
    ledger.fail(false, true);
    let refused = test.post("/token").bearer(&student("ana")).send().await;
    refused.is(503, "ledger_unavailable");
    assert_eq!(test.minter.asked(), 1);
    assert!(!refused.text.contains("ek_"));
    ledger.fail(false, false);
    assert_eq!(
        test.ledger
            .give_up(Timestamp::from_millis(u64::MAX), None)
            .await
            .unwrap(),
        1
    );
    let role = &rows(&test, By::Role).await[0];
    assert_eq!(
        (role.sums.get("sessions"), role.sums.get("uncertain")),
        (1, 1)
    );
}

#[tokio::test]
async fn a_failure_upstream_that_cannot_be_settled_is_still_told_as_what_it_is() {
    let (test, ledger) = fragile("");
    ledger.fail(false, true);
    test.minter.fail(UpstreamError::TimedOut);
    test.post("/token").send().await.is(504, "upstream_timeout");
}

#[tokio::test]
async fn reports_say_who_used_what_as_whom() {
    let test = TestApp::of(REQUIRED, &[]);
    let ana = student("ana");
    let opened = test.post("/token").bearer(&ana).send().await;
    test.post("/token").bearer(&ana).send().await;
    test.post("/token").bearer(&teacher("tom")).send().await;
    test.minter.fail(UpstreamError::TimedOut);
    test.post("/token").bearer(&teacher("tom")).send().await;
    test.minter.fail(UpstreamError::RateLimited(429.into()));
    test.post("/token").bearer(&teacher("tom")).send().await;
    test.advance(10);
    let id = json!({ "sessionId": opened.json["sessionId"] });
    test.post("/refresh-token")
        .bearer(&ana)
        .json(&id)
        .send()
        .await;

    let users = rows(&test, By::User).await;
    let told: Vec<_> = users
        .iter()
        .map(|row| {
            (
                row.subject.as_deref().unwrap(),
                row.sums.get("sessions"),
                row.sums.get("refreshes"),
                row.sums.get("uncertain"),
                row.sums.get("failed"),
            )
        })
        .collect();
    assert_eq!(told, [("ana", 2, 1, 0, 0), ("tom", 2, 0, 1, 1)]);
    let days = rows(&test, By::Day).await;
    let told: Vec<_> = days
        .iter()
        .map(|row| {
            (
                row.day.as_deref().unwrap(),
                row.role.as_deref().unwrap(),
                row.sums.get("sessions"),
            )
        })
        .collect();
    assert_eq!(
        told,
        [("2022-01-01", "student", 2), ("2022-01-01", "teacher", 2)]
    );
    assert_eq!(rows(&test, By::Persona).await.len(), 2);
}

#[tokio::test]
async fn a_refusal_while_the_upstream_rests_writes_nothing_however_often() {
    let (test, ledger) = fragile("[upstream]\nmax_in_flight = 1\nmax_wait = \"0s\"");
    test.minter.hold();
    let first = tokio::spawn(test.post("/token").send());
    test.minter.asked_for(1).await;
    for _ in 0..5 {
        test.post("/token").send().await.is(503, "overloaded");
    }
    assert_eq!(ledger.asked(), 1);
    test.minter.fail(UpstreamError::QuotaExhausted(429.into()));
    test.minter.let_through(1);
    first.await.unwrap().is(503, "upstream_unavailable");
    for _ in 0..5 {
        test.post("/token")
            .send()
            .await
            .is(503, "upstream_unavailable");
    }
    assert_eq!(ledger.asked(), 1);
    let rows = rows(&test, By::Role).await;
    assert_eq!(
        (
            rows.len(),
            rows[0].sums.get("sessions"),
            rows[0].sums.get("failed")
        ),
        (1, 0, 1)
    );
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_asked_about_once_in_ten_seconds() {
    let quota = format!("{REQUIRED}\n[quota.student]\nsessions_per_month = 1");
    let (test, ledger) = fragile(&quota);
    let ask = async || test.post("/token").bearer(&student("ana")).send().await;
    assert_eq!(ask().await.status, StatusCode::OK);
    let waits: Vec<_> = refusals(50, ask).await;
    assert!(waits.iter().all(|wait| *wait == waits[0]), "{waits:?}");
    assert_eq!(ledger.asked(), 2);
    test.advance(10);
    ask().await.is(429, "quota_exceeded");
    assert_eq!(ledger.asked(), 3);
    let other = test.post("/token").bearer(&student("ben")).send().await;
    assert_eq!(other.status, StatusCode::OK);
}

/// The waits that so many refusals in a row tell.
async fn refusals(count: usize, ask: impl AsyncFn() -> crate::kit::answer::Answer) -> Vec<u64> {
    let mut waits = Vec::new();
    for _ in 0..count {
        let refused = ask().await;
        refused.is(429, "quota_exceeded");
        waits.push(refused.retry_after());
    }
    waits
}
