//! The sliding windows in front of the paid routes.

use serde_json::json;

use crate::kit::PAGE;
use crate::kit::answer::Answer;
use crate::kit::in_process::TestApp;

fn numbers(answer: &Answer) -> [&str; 3] {
    [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ]
    .map(|name| answer.header(name).unwrap())
}

#[tokio::test]
async fn the_eleventh_in_a_minute_waits_exactly_as_long_as_it_is_told() {
    let app = TestApp::new();
    for left in (0..10).rev() {
        let answer = app.post("/token").send().await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("x-ratelimit-remaining"),
            Some(left.to_string().as_str())
        );
        app.advance(2);
    }
    let refused = app.post("/token").send().await;
    refused.is(429, "rate_limited");
    assert_eq!(
        (refused.retry_after(), &refused.json["error"]["retry_after"]),
        (40, &json!(40))
    );
    assert_eq!(numbers(&refused), ["10", "0", "40"]);
    app.advance(39);
    app.post("/token").send().await.is(429, "rate_limited");
    app.advance(1);
    assert_eq!(app.post("/token").send().await.status, 200);
    app.post("/token").send().await.is(429, "rate_limited");
}

#[tokio::test]
async fn refreshing_has_an_allowance_of_its_own() {
    let app = TestApp::with(&[("limits.token", "1/60s"), ("limits.refresh", "2/60s")]);
    let session = app.open().await;
    app.post("/token").send().await.is(429, "rate_limited");
    assert_eq!(app.refresh(&session).await.status, 200);
    assert_eq!(app.refresh(&session).await.status, 200);
    app.refresh(&session).await.is(429, "rate_limited");
}

#[tokio::test]
async fn all_mints_share_one_allowance_whatever_their_shape() {
    let app = TestApp::with(&[("limits.token", "3/60s"), ("compat.get_token", "true")]);
    assert_eq!(app.post("/session").send().await.status, 200);
    assert_eq!(
        app.post("/v1/realtime/client_secrets").send().await.status,
        200
    );
    assert_eq!(app.get("/token").send().await.status, 200);
    app.post("/token").send().await.is(429, "rate_limited");
}

#[tokio::test]
async fn each_address_has_its_own_allowance_and_an_ipv6_site_only_one() {
    let app = TestApp::with(&[("limits.token", "1/60s")]);
    assert_eq!(
        app.post("/token").from("198.51.100.1").send().await.status,
        200
    );
    assert_eq!(
        app.post("/token").from("198.51.100.2").send().await.status,
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
    app.post("/token")
        .from("2001:db8:0:1:ffff::2")
        .send()
        .await
        .is(429, "rate_limited");
    app.post("/token")
        .from("::ffff:198.51.100.1")
        .send()
        .await
        .is(429, "rate_limited");
}

#[tokio::test]
async fn the_wide_network_has_a_looser_allowance_and_refusing_takes_nothing_from_the_narrow_one() {
    let app = TestApp::with(&[("limits.token_network", "3/60s"), ("limits.token", "2/1h")]);
    for host in 1..=3 {
        let answer = app
            .post("/token")
            .from(&format!("198.51.100.{host}"))
            .send()
            .await;
        assert_eq!(answer.status, 200);
    }
    let refused = app.post("/token").from("198.51.100.4").send().await;
    refused.is(429, "rate_limited");
    app.advance(refused.retry_after());
    for _ in 0..2 {
        assert_eq!(
            app.post("/token").from("198.51.100.4").send().await.status,
            200,
            "both places are still there"
        );
    }
}

#[tokio::test]
async fn probes_preflights_unknown_paths_and_wrong_methods_use_nothing_up() {
    let app = TestApp::with(&[("limits.token", "1/60s"), ("limits.refresh", "1/60s")]);
    for _ in 0..20 {
        app.get("/health").send().await;
        app.get("/livez").send().await;
        app.get("/readyz").send().await;
        app.post("/nothing").send().await;
        app.get("/token").send().await;
        app.get("/refresh-token").send().await;
        app.call(axum::http::Method::OPTIONS, "/token")
            .origin(PAGE)
            .send()
            .await;
    }
    assert_eq!(app.post("/token").send().await.status, 200);
}

#[tokio::test]
async fn forwarded_addresses_count_behind_a_trusted_proxy_only_and_from_the_right() {
    let app = TestApp::with(&[
        ("limits.token", "1/60s"),
        ("server.trusted_proxies", "10.0.0.0/8"),
    ]);
    for spoofed in ["1.1.1.1", "2.2.2.2"] {
        let answer = app
            .post("/token")
            .from("198.51.100.1")
            .header("x-forwarded-for", spoofed)
            .send()
            .await;
        assert_eq!(answer.status, if spoofed == "1.1.1.1" { 200 } else { 429 });
    }
    for number in 0..100 {
        let spoofed = format!("9.9.9.{number}, 203.0.113.50");
        let answer = app
            .post("/token")
            .from("10.0.0.1")
            .header("x-forwarded-for", spoofed)
            .send()
            .await;
        assert_eq!(answer.status, if number == 0 { 200 } else { 429 });
        app.advance(0);
    }
}

#[tokio::test]
async fn a_definite_failure_upstream_gives_the_place_back_and_an_uncertain_one_does_not() {
    use token_broker::upstream::UpstreamError;
    let app = TestApp::with(&[("limits.token", "1/60s")]);
    app.minter.fail(UpstreamError::Broken(500.into()));
    app.post("/token")
        .send()
        .await
        .is(503, "upstream_unavailable");
    app.minter.fail(UpstreamError::TimedOut);
    app.post("/token").send().await.is(504, "upstream_timeout");
    app.post("/token").send().await.is(429, "rate_limited");
}

#[tokio::test]
async fn a_mint_that_the_upstream_refuses_for_its_content_uses_the_window_up() {
    use token_broker::upstream::UpstreamError;
    let app = TestApp::with(&[("limits.token", "2/60s")]);
    for _ in 0..2 {
        app.minter.fail(UpstreamError::Refused(400.into()));
        app.post("/token").send().await.is(502, "upstream_invalid");
    }
    app.post("/token").send().await.is(429, "rate_limited");
    assert_eq!(app.minter.asked(), 2);
}

#[tokio::test]
async fn the_draft_fields_are_structured_and_never_promise_more_than_retry_after() {
    let app = TestApp::with(&[("limits.token", "2/60s"), ("limits.ietf_fields", "true")]);
    let first = app.post("/token").send().await;
    assert_eq!(first.header("ratelimit-policy"), Some("\"token\";q=2;w=60"));
    assert_eq!(first.header("ratelimit"), Some("\"token\";r=1;t=60"));
    app.post("/token").send().await;
    let refused = app.post("/token").send().await;
    let field = refused.header("ratelimit").unwrap();
    let reset: u64 = field.rsplit_once("t=").unwrap().1.parse().unwrap();
    assert!(reset <= refused.retry_after(), "{field}");
    assert!(
        TestApp::new()
            .post("/token")
            .send()
            .await
            .header("ratelimit")
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_at_once_exactly_ten_are_let_through() {
    let app = TestApp::with(&[("session.max_live", "1000")]);
    let calls: Vec<_> = (0..1000)
        .map(|_| tokio::spawn(app.post("/token").send()))
        .collect();
    let mut granted = 0;
    for call in calls {
        granted += u32::from(call.await.unwrap().status == 200);
    }
    assert_eq!((granted, app.minter.asked()), (10, 10));
}
