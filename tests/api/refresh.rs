//! `POST /refresh-token`: what bounds a session, and whom it belongs to.

use std::collections::BTreeSet;

use serde_json::json;
use token_broker::upstream::UpstreamError;

use crate::kit::PAGE;
use crate::kit::in_process::{TestApp, student};
use crate::kit::issuer::REQUIRED;

#[tokio::test]
async fn a_refresh_mints_again_under_the_same_session() {
    let app = TestApp::new();
    let session = app.open().await;
    app.advance(10);
    let answer = app.refresh(&session).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        (&answer.json["sessionId"], &answer.json["token"]),
        (&json!(session), &json!("ek_test_2"))
    );
    app.advance(10);
    let old_spelling = app
        .post("/refresh-token")
        .json(&json!({ "session_id": session }))
        .send()
        .await;
    assert_eq!(old_spelling.status, 200);
}

#[tokio::test]
async fn too_soon_says_exactly_how_long_and_that_suffices() {
    // After three seconds the last client secret lives too short to be handed over again.
    let app = TestApp::with(&[("session.token_seconds", "12")]);
    let session = app.open().await;
    app.advance(3);
    let early = app.refresh(&session).await;
    early.is(429, "refresh_too_soon");
    assert_eq!(early.retry_after(), 7);
    assert_eq!(early.json["error"]["retry_after"], 7);
    app.advance(early.retry_after());
    assert_eq!(app.refresh(&session).await.status, 200);
}

/// N F10: a page that is reloaded has lost its client secret and kept the handle of its session.
#[tokio::test]
async fn n10_within_the_interval_the_last_secret_is_handed_over_again_and_counts_in_the_window_only()
 {
    let app = TestApp::with(&[
        ("session.max_refreshes", "1"),
        ("limits.refresh", "4/60s"),
        // Callers without identity may take half of it: two mints.
        ("limits.mints", "4/60s"),
    ]);
    let session = app.open().await;
    for _ in 0..3 {
        app.advance(3);
        let again = app.refresh(&session).await;
        assert_eq!(
            (again.status, &again.json["token"]),
            (200, &json!("ek_test_1"))
        );
        assert_eq!(again.json["sessionId"], session);
    }
    assert_eq!(
        (app.minter.asked(), app.events("token_refreshed").len()),
        (1, 0)
    );
    app.advance(1);
    assert_eq!(app.refresh(&session).await.json["token"], "ek_test_2");
    app.refresh(&session).await.is(429, "rate_limited");
    app.post("/token").send().await.is(429, "quota_exceeded");
}

#[tokio::test]
async fn the_last_secret_is_handed_to_nobody_else_and_to_nobody_after_a_refresh_of_uncertain_outcome()
 {
    let app = TestApp::with(&[("session.ip_binding", "strict")]);
    let session = app.open().await;
    let body = json!({ "sessionId": session });
    for call in [
        app.post("/refresh-token").origin(PAGE),
        app.post("/refresh-token").from("198.51.100.1"),
    ] {
        call.json(&body).send().await.is(404, "unknown_session");
    }
    app.advance(10);
    app.minter.fail(UpstreamError::TimedOut);
    app.refresh(&session).await.is(504, "upstream_timeout");
    app.refresh(&session).await.is(429, "refresh_too_soon");
}

#[tokio::test]
async fn refreshes_are_counted_and_end() {
    let app = TestApp::with(&[("session.max_refreshes", "2")]);
    let session = app.open().await;
    for _ in 0..2 {
        app.advance(10);
        assert_eq!(app.refresh(&session).await.status, 200);
    }
    app.advance(10);
    let over = app.refresh(&session).await;
    over.is(429, "refresh_limit_reached");
    // Until the session ends: no shorter wait helps.
    assert_eq!(over.retry_after(), 3570);
    app.advance(3570);
    app.refresh(&session).await.is(404, "unknown_session");
    assert_eq!(app.minter.asked(), 3);
}

#[tokio::test]
async fn unknown_malformed_ended_and_somebody_elses_answer_alike() {
    let app = TestApp::with(&[("session.ip_binding", "strict")]);
    let session = app.post("/token").origin(PAGE).send().await.json["sessionId"]
        .as_str()
        .unwrap()
        .to_owned();
    let elsewhere = app.open().await;
    app.advance(10);
    let body = |id: &str| json!({ "sessionId": id });
    let mut answers = vec![
        app.post("/refresh-token")
            .origin(PAGE)
            .json(&body("nonsense"))
            .send()
            .await,
        app.post("/refresh-token")
            .origin(PAGE)
            .json(&body(&format!("rts_{}", "A".repeat(43))))
            .send()
            .await,
        app.post("/refresh-token")
            .origin(PAGE)
            .json(&body(&elsewhere))
            .send()
            .await,
        app.post("/refresh-token")
            .json(&body(&session))
            .send()
            .await,
        app.post("/refresh-token")
            .origin(PAGE)
            .from("198.51.100.1")
            .json(&body(&session))
            .send()
            .await,
    ];
    app.advance(3600);
    answers.push(
        app.post("/refresh-token")
            .origin(PAGE)
            .json(&body(&session))
            .send()
            .await,
    );
    for mut answer in answers {
        answer.is(404, "unknown_session");
        answer.json["error"]["request_id"] = json!(null);
        assert_eq!(
            answer.json["error"].as_object().unwrap().len(),
            4,
            "{}",
            answer.text
        );
        assert!(answer.header("retry-after").is_none());
    }
    assert_eq!(app.minter.asked(), 2, "nothing was minted for any of them");
}

#[tokio::test]
async fn a_missing_session_id_is_named() {
    let app = TestApp::new();
    let answer = app.post("/refresh-token").json(&json!({})).send().await;
    answer.is(400, "bad_request");
    assert_eq!(answer.json["error"]["param"], "sessionId");
}

#[tokio::test]
async fn soft_binding_lets_a_phone_change_networks_and_records_it() {
    let app = TestApp::with(&[("session.ip_binding", "soft")]);
    let session = app.open().await;
    app.advance(10);
    let moved = app
        .post("/refresh-token")
        .from("2001:db8::1")
        .json(&json!({ "sessionId": session }))
        .send()
        .await;
    assert_eq!(moved.status, 200);
    let events = app.events("session_mismatch");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["details"]["allowed"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_refreshes_at_once_exactly_one_mints() {
    let app = TestApp::with(&[
        ("limits.refresh", "1000/60s"),
        ("limits.refresh_network", "1000/60s"),
    ]);
    let session = app.open().await;
    app.advance(10);
    let answers: Vec<_> = {
        let calls = (0..200).map(|_| {
            let call = app
                .post("/refresh-token")
                .json(&json!({ "sessionId": session }));
            tokio::spawn(call.send())
        });
        let mut answers = Vec::new();
        for call in calls.collect::<Vec<_>>() {
            answers.push(call.await.unwrap());
        }
        answers
    };
    let granted = answers.iter().filter(|answer| answer.status == 200);
    let secrets: BTreeSet<_> = granted
        .map(|answer| answer.json["token"].to_string())
        .collect();
    assert_eq!(secrets, BTreeSet::from(["\"ek_test_2\"".to_owned()]));
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        refused.is(429, "refresh_too_soon");
        assert!(refused.retry_after() >= 1);
    }
    assert_eq!(app.minter.asked(), 2);
}

#[tokio::test]
async fn a_refusal_leaves_the_session_as_it_was() {
    let app = TestApp::with(&[
        ("session.max_refreshes", "1"),
        ("session.ip_binding", "strict"),
    ]);
    let session = app.open().await;
    app.advance(10);
    let body = json!({ "sessionId": session });
    for call in [
        app.post("/refresh-token").origin(PAGE),
        app.post("/refresh-token").from("198.51.100.1"),
    ] {
        call.json(&body).send().await.is(404, "unknown_session");
    }
    assert_eq!(app.refresh(&session).await.status, 200);
}

#[tokio::test]
async fn a_refresh_that_the_upstream_plainly_refused_is_not_counted() {
    let app = TestApp::with(&[("session.max_refreshes", "1")]);
    let session = app.open().await;
    app.advance(10);
    app.minter.fail(UpstreamError::Broken(500.into()));
    app.refresh(&session).await.is(503, "upstream_unavailable");
    assert_eq!(
        app.refresh(&session).await.status,
        200,
        "at once, and within the one that is allowed"
    );
}

#[tokio::test]
async fn a_refresh_that_may_have_minted_stays_counted() {
    let app = TestApp::new();
    let session = app.open().await;
    app.advance(10);
    app.minter.fail(UpstreamError::TimedOut);
    app.refresh(&session).await.is(504, "upstream_timeout");
    app.refresh(&session).await.is(429, "refresh_too_soon");
}

#[tokio::test]
async fn one_network_has_at_most_so_many_sessions_and_the_one_idle_longest_gives_way() {
    let app = TestApp::with(&[
        ("session.max_live_network", "2"),
        ("limits.token", "100/60s"),
    ]);
    let first = app.open().await;
    app.advance(1);
    let second = app.open().await;
    app.advance(10);
    assert_eq!(
        app.refresh(&first).await.status,
        200,
        "now the second is the idler one"
    );
    app.open().await;
    app.advance(10);
    app.refresh(&second).await.is(404, "unknown_session");
    assert_eq!(app.refresh(&first).await.status, 200);
}

#[tokio::test]
async fn one_identity_has_at_most_max_live_sessions_whatever_its_network_may_have() {
    let settings = [
        ("session.max_live", "2"),
        ("limits.identity", "100/1h"),
        ("limits.token", "100/60s"),
    ];
    let app = TestApp::of(REQUIRED, &settings);
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let opened = app.post("/token").bearer(&student("ana")).send().await;
        sessions.push(opened.json["sessionId"].clone());
        app.advance(1);
    }
    let other = app.post("/token").bearer(&student("ben")).send().await;
    sessions.push(other.json["sessionId"].clone());
    app.advance(10);
    for (session, (subject, status)) in
        sessions
            .iter()
            .zip([("ana", 404), ("ana", 200), ("ana", 200), ("ben", 200)])
    {
        let call = app.post("/refresh-token").bearer(&student(subject));
        let answer = call.json(&json!({ "sessionId": session })).send().await;
        assert_eq!(answer.status, status, "{subject}: {}", answer.text);
    }
}

/// F07: dual-stacked visitors alternate between IPv4 and IPv6.
#[tokio::test]
async fn f07_a_dual_stacked_visitor_keeps_the_session_for_its_whole_life() {
    let app = TestApp::new();
    let session = app.open().await;
    let from = ["2001:db8:5:6::9", "203.0.113.7"];
    let body = json!({ "sessionId": session });
    for address in from.into_iter().cycle().take(119) {
        app.advance(30);
        let call = app.post("/refresh-token").from(address).json(&body);
        let answer = call.send().await;
        assert_eq!(answer.status, 200, "{address}: {}", answer.text);
    }
    assert_eq!(app.events("session_mismatch").len(), 1, "one new network");
    assert!(app.events("client_blocked").is_empty());
}

/// F07: an egress pool sends one visitor's requests from several addresses.
#[tokio::test]
async fn f07_an_egress_pool_keeps_its_session_and_a_fifth_network_does_not_get_it() {
    let app = TestApp::new();
    let body = json!({ "sessionId": app.open().await });
    let pool = [
        "203.0.113.7",
        "198.51.100.1",
        "198.51.100.2",
        "198.51.100.3",
    ];
    for address in pool.into_iter().cycle().take(40) {
        app.advance(10);
        let call = app.post("/refresh-token").from(address).json(&body);
        assert_eq!(call.send().await.status, 200, "{address}");
    }
    app.advance(10);
    let fifth = app.post("/refresh-token").from("192.0.2.1").json(&body);
    fifth.send().await.is(404, "unknown_session");
    let first = app.post("/refresh-token").json(&body);
    assert_eq!(first.send().await.status, 200);
}

#[tokio::test]
async fn with_strict_binding_a_session_stays_in_the_network_that_opened_it() {
    let app = TestApp::with(&[("session.ip_binding", "strict")]);
    let body = json!({ "sessionId": app.open().await });
    app.advance(10);
    let moved = app.post("/refresh-token").from("198.51.100.1").json(&body);
    moved.send().await.is(404, "unknown_session");
    assert_eq!(
        app.post("/refresh-token").json(&body).send().await.status,
        200
    );
}

#[tokio::test]
async fn a_mint_whose_caller_left_leaves_no_session_that_counts() {
    let app = TestApp::with(&[("session.max_live_network", "1")]);
    let session = app.open().await;
    app.minter.hold();
    let caller = tokio::spawn(app.post("/token").send());
    while app.minter.asked() < 2 {
        tokio::task::yield_now().await;
    }
    caller.abort();
    assert!(caller.await.is_err(), "the caller has gone");
    app.minter.let_through(10);
    app.app.state().broker.finish().await;
    // The session of nobody has displaced the only one of this network, and is closed itself.
    let owner = token_broker::domain::Party::Network(token_broker::domain::Network::of(
        [203, 0, 113, 7].into(),
    ));
    assert_eq!(
        app.ledger.end_sessions(owner).await.unwrap(),
        0,
        "{session}"
    );
}
