//! Sessions that the cache does not hold are looked up in the database, and strangers' ids crowd nobody out.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::json;
use token_broker::domain::SessionId;
use tokio::task::JoinHandle;

use crate::calls::OFFER;
use crate::fragile::{Fragile, fragile};
use crate::kit::PAGE;
use crate::kit::answer::Answer;
use crate::kit::in_process::TestApp;
use crate::kit::waiting::settle;

/// Asks for a session that nobody has, from `address`.
fn ask(app: &TestApp, address: &str) -> JoinHandle<Answer> {
    let body = json!({ "sessionId": SessionId::random().expose() });
    let call = app.post("/refresh-token").from(address).json(&body);
    tokio::spawn(call.send())
}

#[tokio::test]
async fn one_network_looks_up_four_sessions_at_once_and_waits_a_second_at_most() {
    let (app, records) = fragile("");
    records.hold_look_ups();
    let asked: Vec<_> = (0..10).map(|_| ask(&app, "198.51.100.1")).collect();
    settle().await;
    assert_eq!(records.looked_up(), 4);
    let other = ask(&app, "203.0.113.9");
    settle().await;
    assert_eq!(
        records.looked_up(),
        5,
        "another network is not in their way"
    );
    app.clock.advance(Duration::from_secs(1));
    settle().await;
    records.let_look_up(1000);
    let mut statuses = Vec::new();
    for answer in asked {
        let answer = answer.await.unwrap();
        if answer.status == 503 {
            answer.is(503, "overloaded");
            assert!(answer.retry_after() >= 1);
        }
        statuses.push(answer.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [[404; 4].as_slice(), &[503; 6]].concat());
    other.await.unwrap().is(404, "unknown_session");
}

#[tokio::test]
async fn all_networks_together_look_up_sixty_four_sessions_at_once() {
    let (app, records) = fragile("");
    records.hold_look_ups();
    let asked: Vec<_> = (0..80)
        .map(|number| ask(&app, &format!("198.51.{number}.1")))
        .collect();
    settle().await;
    assert_eq!(records.looked_up(), 64);
    records.let_look_up(1000);
    for answer in asked {
        answer.await.unwrap().is(404, "unknown_session");
    }
    assert_eq!(records.looked_up(), 80);
}

/// Hangs up the call at `path` with its ticket, while so many look-ups are let through, one after the other.
async fn hangs_up_within(
    (app, records): (&TestApp, &Fragile),
    (path, ticket): (&str, &str),
    look_ups: usize,
) {
    let hang_up = app.post(&format!("{path}/hangup")).bearer(ticket).send();
    let hang_up = tokio::spawn(hang_up);
    settle().await;
    for _ in 0..look_ups {
        records.let_look_up(1);
        settle().await;
    }
    assert!(hang_up.is_finished(), "the owner waits behind others");
    assert_eq!(hang_up.await.unwrap().status, 200);
}

#[tokio::test]
async fn strangers_who_ask_for_unknown_calls_keep_no_owner_from_hanging_up() {
    let (app, records) = fragile("");
    let offer = app.post("/calls").body("application/sdp", OFFER).send();
    let call = offer.await;
    let of = |name| call.header(name).unwrap().to_owned();
    records.hold_look_ups();
    let stranger = |_| app.get("/calls/rtc_unknown").from("198.51.100.1").send();
    let asked: Vec<_> = (0..50).map(stranger).map(tokio::spawn).collect();
    settle().await;
    // The owner reads the call twice, each time behind four strangers at most. The call's watch reads it, too.
    hangs_up_within((&app, &records), (&of("location"), &of("x-call-token")), 20).await;
    records.let_look_up(1000);
    for answer in asked {
        answer.await.unwrap().is(404, "unknown_call");
    }
}

#[tokio::test]
async fn pages_that_follow_calls_keep_no_owner_from_hanging_up() {
    let (app, records) = fragile("");
    let (mut pages, mut path, mut ticket) = (Vec::new(), String::new(), String::new());
    for _ in 0..4 {
        let offer = app.post("/calls").body("application/sdp", OFFER).send();
        let call = offer.await;
        let of = |name| call.header(name).unwrap().to_owned();
        (path, ticket) = (of("location"), of("x-call-token"));
        for _ in 0..4 {
            let page = app.get(&format!("{path}/events")).bearer(&ticket);
            let page = page.stream().await.into_body();
            pages.push(tokio::spawn(page.collect()));
        }
    }
    settle().await;
    records.hold_look_ups();
    app.clock.advance(Duration::from_secs(1));
    settle().await;
    // The owner reads the call twice, each time beside a page. The calls' watches read them, too.
    hangs_up_within((&app, &records), (&path, &ticket), 12).await;
    pages.iter().for_each(JoinHandle::abort);
}

#[tokio::test]
async fn a_session_that_was_opened_here_is_refreshed_without_a_look_up() {
    let (app, records) = fragile("");
    let session = app.open().await;
    for _ in 0..3 {
        app.advance(10);
        assert_eq!(app.refresh(&session).await.status, 200);
    }
    assert_eq!(records.looked_up(), 0);
}

#[tokio::test]
async fn the_cache_refuses_only_what_cannot_become_untrue_and_the_row_confirms_the_rest() {
    let (app, records) = fragile("[session]\ntoken_seconds = 10");
    let session = app.open().await;
    app.advance(1);
    let body = json!({ "sessionId": session });
    let foreign = app.post("/refresh-token").origin(PAGE).json(&body);
    foreign.send().await.is(404, "unknown_session");
    assert_eq!(
        records.looked_up(),
        0,
        "another origin stays another origin"
    );
    app.refresh(&session).await.is(429, "refresh_too_soon");
    assert_eq!(
        records.looked_up(),
        1,
        "another replica may have given a refresh back"
    );
    app.advance(3600);
    app.refresh(&session).await.is(404, "unknown_session");
    assert_eq!(
        records.looked_up(),
        1,
        "a session that has ended stays ended"
    );
}
