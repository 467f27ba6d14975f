//! Offences, blocks, and their exact timeline.

use serde_json::json;
use token_broker::domain::Ticket;

use crate::calls::OFFER;
use crate::kit::in_process::TestApp;

#[tokio::test]
async fn knocking_on_a_full_window_earns_a_block_that_doubles() {
    let app = TestApp::with(&[("limits.token", "1/24h")]);
    assert_eq!(app.post("/token").send().await.status, 200);
    // Ten times the limit may be refused in a window before that is an offence.
    for _ in 0..10 {
        app.post("/token").send().await.is(429, "rate_limited");
        app.advance(1);
    }
    let mut blocks = Vec::new();
    for _ in 0..3 {
        for _ in 0..3 {
            app.post("/token").send().await.is(429, "rate_limited");
            app.advance(1);
        }
        let blocked = app.post("/token").send().await;
        blocked.is(429, "blocked");
        blocks.push(blocked.retry_after() + 1);
        app.advance(blocked.retry_after());
    }
    assert_eq!(blocks, [900, 1800, 3600]);
    assert_eq!(app.events("client_blocked").len(), 3);
}

#[tokio::test]
async fn refusals_count_at_most_once_a_second() {
    let app = TestApp::with(&[("limits.token", "1/60s")]);
    app.post("/token").send().await;
    for _ in 0..100 {
        app.post("/token").send().await.is(429, "rate_limited");
    }
}

#[tokio::test]
async fn a_blocked_caller_who_keeps_asking_is_not_blocked_for_longer() {
    let app = TestApp::with(&[("limits.token", "100/60s")]);
    for _ in 0..12 {
        app.post("/token")
            .body("application/json", "{")
            .send()
            .await
            .is(400, "bad_request");
    }
    let first = app.post("/token").send().await;
    first.is(429, "blocked");
    assert_eq!(first.retry_after(), 900);
    for second in 1..=600 {
        app.advance(1);
        let answer = app.post("/token").send().await;
        assert_eq!(answer.retry_after(), 900 - second);
    }
    let knocks = app.events("rate_limit_exceeded");
    assert!(
        (1..=66).contains(&knocks.len()),
        "written down, and folded: {}",
        knocks.len()
    );
    app.advance(300);
    assert_eq!(app.post("/token").send().await.status, 200);
}

#[tokio::test]
async fn a_flood_of_offenders_frees_nobody() {
    let app = TestApp::with(&[
        ("guard.capacity", "10"),
        ("limits.token_network", "100000/60s"),
    ]);
    let offend = async |address: &str| {
        for _ in 0..12 {
            app.post("/token")
                .from(address)
                .origin("https://evil.test")
                .body("application/json", "{}")
                .send()
                .await;
        }
    };
    offend("203.0.113.66").await;
    for site in 0..100 {
        offend(&format!("2001:db8:0:{site:x}::1")).await;
    }
    app.post("/token")
        .from("203.0.113.66")
        .send()
        .await
        .is(429, "blocked");
}

#[tokio::test]
async fn a_block_is_for_the_paid_routes_and_for_one_network_only() {
    let app = TestApp::with(&[("limits.token", "100/60s")]);
    for _ in 0..12 {
        app.post("/token")
            .from("2001:db8::1")
            .body("application/json", "{")
            .send()
            .await;
    }
    app.post("/token")
        .from("2001:db8::ffff")
        .send()
        .await
        .is(429, "blocked");
    app.post("/refresh-token")
        .from("2001:db8::1")
        .send()
        .await
        .is(429, "blocked");
    assert_eq!(
        app.get("/health").from("2001:db8::1").send().await.status,
        200
    );
    assert_eq!(
        app.post("/token")
            .from("2001:db8:0:1::1")
            .send()
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_block_of_an_address_keeps_no_holder_of_a_ticket_from_hanging_up() {
    let app = TestApp::with(&[("connect.mode", "call")]);
    let unused = app.post("/token").send().await.json["token"].clone();
    let offer = || app.post("/calls").body("application/sdp", OFFER);
    let call = offer().send().await;
    assert_eq!(call.status, 201, "{}", call.text);
    let of = |name| call.header(name).unwrap().to_owned();
    for _ in 0..12 {
        let broken = app.post("/refresh-token").body("application/json", "{");
        broken.send().await.is(400, "bad_request");
    }
    offer().send().await.is(429, "blocked");
    let redeemed = offer().bearer(unused.as_str().unwrap());
    redeemed.send().await.is(429, "blocked");
    let path = of("location");
    app.get(&path).send().await.is(429, "blocked");
    let stolen = app.get(&path).bearer(Ticket::random().expose());
    stolen.send().await.is(404, "unknown_call");
    let hang_up = app.post(&format!("{path}/hangup"));
    let ended = hang_up.bearer(&of("x-call-token")).send().await;
    assert_eq!(ended.status, 200, "{}", ended.text);
    assert_eq!(app.calls.hung_up().len(), 1);
}

#[tokio::test]
async fn no_session_id_is_an_offence_whoever_the_session_belongs_to() {
    let app = TestApp::with(&[
        ("limits.refresh", "100/60s"),
        ("session.ip_binding", "strict"),
    ]);
    let session = app.open().await;
    let ask = |id: String| {
        app.post("/refresh-token")
            .from("198.51.100.66")
            .json(&json!({ "sessionId": id }))
    };
    for number in 0..20 {
        // After an erase or an expiry honest clients present unknown ids, and 256 bits cannot be guessed.
        ask(format!("rts_{number:043}"))
            .send()
            .await
            .is(404, "unknown_session");
        ask(session.clone()).send().await.is(404, "unknown_session");
    }
    let refused = app.events("session_mismatch");
    assert_eq!(refused[0]["details"]["allowed"], false);
    assert!(app.events("client_blocked").is_empty());
}

#[tokio::test]
async fn addresses_on_the_operators_list_are_never_blocked() {
    let app = TestApp::with(&[
        ("guard.never_block", "203.0.113.0/24"),
        ("limits.token", "100/60s"),
    ]);
    for _ in 0..50 {
        app.post("/token")
            .body("application/json", "{")
            .send()
            .await
            .is(400, "bad_request");
    }
    assert_eq!(app.post("/token").send().await.status, 200);
}

#[tokio::test]
async fn a_score_drains_over_ten_minutes() {
    let app = TestApp::with(&[("limits.token", "100/60s")]);
    let offend = async |times: u32| {
        for _ in 0..times {
            app.post("/token")
                .body("application/json", "{")
                .send()
                .await
                .is(400, "bad_request");
        }
    };
    offend(11).await;
    app.advance(600);
    offend(11).await;
    assert_eq!(app.post("/token").send().await.status, 200);
    offend(1).await;
    app.post("/token").send().await.is(429, "blocked");
}
