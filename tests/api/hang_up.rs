//! Callers who leave before their answer.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use token_broker::upstream::UpstreamError;

use crate::kit::in_process::{Call, TestApp};
use crate::kit::waiting::settle;

/// Sends a call, waits until the upstream has been asked, and hangs up.
async fn hang_up(app: &TestApp, call: Call) {
    let asked = app.minter.asked();
    app.minter.hold();
    let caller = tokio::spawn(call.send());
    app.minter.asked_for(asked + 1).await;
    caller.abort();
    assert!(caller.await.is_err(), "the caller has gone");
    app.minter.let_through(1000);
}

async fn settled(app: &TestApp, event: &str, count: usize) {
    for _ in 0..1000 {
        if app.events(event).len() == count {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{event} was not written down: {:?}", app.all_events());
}

#[tokio::test]
async fn a_caller_who_hangs_up_still_leaves_a_finished_mint() {
    let app = TestApp::new();
    hang_up(&app, app.post("/token")).await;
    settled(&app, "token_minted", 1).await;
    assert_eq!(
        app.get("/health").from("127.0.0.1").send().await.json["metrics"]["activeSessions"],
        1
    );
}

/// A refresh whose caller leaves before the answer.
async fn lose_refresh(app: &TestApp, session: &str) {
    app.advance(10);
    let id = json!({ "sessionId": session });
    hang_up(app, app.post("/refresh-token").json(&id)).await;
    settled(app, "token_refreshed", 1).await;
}

#[tokio::test]
async fn a_caller_who_lost_the_answer_to_a_refresh_gets_the_same_one_on_coming_back_at_once() {
    let app = TestApp::new();
    let session = app.open().await;
    lose_refresh(&app, &session).await;
    app.advance(2);
    let again = app.refresh(&session).await;
    assert_eq!(
        (again.status, &again.json["token"]),
        (200, &json!("ek_test_2"))
    );
    assert_eq!(again.json["expiresIn"], 58);
    assert_eq!(app.minter.asked(), 2, "one mint for both tries");
    assert_eq!(app.refresh(&session).await.json["token"], "ek_test_2");
    assert_eq!(app.minter.asked(), 2, "and for a third");
}

#[tokio::test]
async fn a_lost_answer_is_for_its_owner_only_and_not_for_long() {
    let app = TestApp::with(&[("session.ip_binding", "strict")]);
    let session = app.open().await;
    lose_refresh(&app, &session).await;
    let stranger = app
        .post("/refresh-token")
        .from("198.51.100.9")
        .json(&json!({ "sessionId": session }));
    stranger.send().await.is(404, "unknown_session");
    app.advance(10);
    assert_eq!(app.refresh(&session).await.json["token"], "ek_test_3");
}

#[tokio::test]
async fn a_secret_is_not_handed_over_again_when_another_replica_has_minted_since() {
    let settings = [
        ("session.max_total", "20"),
        ("session.max_live", "20"),
        ("limits.token", "100/60s"),
    ];
    let here = TestApp::with(&settings);
    // As many sessions as this replica remembers. One more is looked up at each refresh.
    for _ in 0..20 {
        here.open().await;
    }
    let session = here.open().await;
    assert_eq!(here.refresh(&session).await.json["token"], "ek_test_21");
    let (ledger, clock) = (Arc::clone(&here.ledger), Arc::clone(&here.clock));
    let there = TestApp::over(ledger, clock, ("", &settings));
    here.advance(10);
    assert_eq!(there.refresh(&session).await.json["token"], "ek_test_1");
    here.advance(2);
    let refused = here.refresh(&session).await;
    refused.is(429, "refresh_too_soon");
}

#[tokio::test]
async fn an_ending_service_waits_for_work_whose_caller_has_left() {
    let app = TestApp::new();
    app.minter.hold();
    let caller = tokio::spawn(app.post("/token").send());
    app.minter.asked_for(1).await;
    caller.abort();
    let broker = app.app.state().broker.clone();
    let finish = tokio::spawn(async move { broker.finish().await });
    tokio::time::timeout(Duration::from_millis(20), async {
        while !finish.is_finished() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap_err();
    app.minter.let_through(1);
    finish.await.unwrap();
    assert_eq!(app.events("token_minted").len(), 1);
    app.post("/token").send().await.is(503, "shutting_down");
}

#[tokio::test]
async fn a_first_grant_that_nobody_waited_for_is_not_kept() {
    let app = TestApp::new();
    hang_up(&app, app.post("/token")).await;
    settled(&app, "token_minted", 1).await;
    assert_eq!(app.minter.asked(), 1);
    let metrics = app.get("/health").from("127.0.0.1").send().await.json["metrics"].clone();
    assert_eq!(metrics["totalRequests"], 1, "who leaves is counted too");
}

#[tokio::test]
async fn a_caller_who_leaves_before_a_mint_that_plainly_fails_uses_up_no_session() {
    // Callers without identity may take half of it: two mints.
    let app = TestApp::with(&[("limits.mints", "4/60s")]);
    for _ in 0..3 {
        app.minter.fail_once(UpstreamError::Refused(400.into()));
        hang_up(&app, app.post("/token")).await;
        settle().await;
    }
    assert_eq!(app.post("/token").send().await.status, 200);
    assert_eq!(app.post("/token").send().await.status, 200);
    app.post("/token").send().await.is(429, "quota_exceeded");
}

#[tokio::test]
async fn a_caller_who_leaves_before_its_mint_ends_well_has_used_it_up() {
    let app = TestApp::with(&[("limits.mints", "4/60s")]);
    for minted in 1..=2 {
        hang_up(&app, app.post("/token")).await;
        settled(&app, "token_minted", minted).await;
        settle().await;
    }
    app.post("/token").send().await.is(429, "quota_exceeded");
}
