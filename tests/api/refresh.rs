//! `POST /refresh-token`: what bounds a session, and whom it belongs to.

use serde_json::json;
use token_broker::upstream::UpstreamError;

use crate::harness::{PAGE, TestApp};

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
    let app = TestApp::new();
    let session = app.open().await;
    app.advance(3);
    let early = app.refresh(&session).await;
    early.is(429, "refresh_too_soon");
    assert_eq!(early.retry_after(), 7);
    assert_eq!(early.json["error"]["retry_after"], 7);
    app.advance(early.retry_after());
    assert_eq!(app.refresh(&session).await.status, 200);
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
    assert_eq!(over.retry_after(), 1);
    assert_eq!(app.minter.asked(), 3);
}

#[tokio::test]
async fn unknown_malformed_ended_and_somebody_elses_answer_alike() {
    let app = TestApp::new();
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
async fn soft_binding_lets_a_phone_change_networks_and_writes_it_down() {
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
    let granted = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(granted, 1);
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        refused.is(429, "refresh_too_soon");
        assert!(refused.retry_after() >= 1);
    }
    assert_eq!(app.minter.asked(), 2);
}

#[tokio::test]
async fn what_is_refused_leaves_the_session_as_it_was() {
    let app = TestApp::with(&[("session.max_refreshes", "1")]);
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
async fn one_caller_has_at_most_so_many_sessions_and_the_oldest_idle_gives_way() {
    let app = TestApp::with(&[("session.max_live", "2"), ("limits.token", "100/60s")]);
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
