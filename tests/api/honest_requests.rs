//! Honest requests that look like attacks: pages without fetch metadata, proxies, placeholders, mistakes.

use serde_json::{Value, json};

use crate::kit::in_process::{TestApp, student};
use crate::kit::issuer::REQUIRED;

#[tokio::test]
async fn a12_a_page_without_fetch_metadata_never_gets_its_visitor_blocked() {
    let app = TestApp::with(&[("limits.refresh", "1000/60s")]);
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded; charset=utf-8",
        "",
    ] {
        for _ in 0..50 {
            let call = app.post("/token").origin("https://evil.test");
            call.body(kind, "x")
                .send()
                .await
                .is(403, "origin_not_allowed");
            let call = app.post("/refresh-token").body(kind, "x");
            call.send().await.is(415, "unsupported_media_type");
        }
    }
    assert!(app.events("client_blocked").is_empty());
    assert_eq!(app.post("/token").send().await.status, 200);
    // A program: no page can make a browser send this without a preflight, which is refused.
    for _ in 0..12 {
        let call = app.post("/token").origin("https://evil.test");
        let call = call.body("application/json", "{}");
        call.send().await.is(403, "origin_not_allowed");
    }
    app.post("/token").send().await.is(429, "blocked");
}

#[tokio::test]
async fn f16_a_proxy_that_is_not_trusted_is_named_at_the_first_refusal_and_never_blocked() {
    for (proxy, header) in [
        ("127.0.0.1", "x-forwarded-for"),
        ("10.0.0.5", "x-forwarded-for"),
        ("fd00::5", "forwarded"),
    ] {
        let app = TestApp::new();
        for number in 0..=10 {
            assert!(app.events("config_warning").is_empty());
            let call = app.post("/token").from(proxy);
            call.header(header, format!("198.51.100.{number}"))
                .send()
                .await;
        }
        let warnings = app.events("config_warning");
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0]["details"]["setting"], "server.trusted_proxies");
        assert_eq!(warnings[0]["details"]["address"], proxy);
        for _ in 0..60 {
            for _ in 0..30 {
                let call = app.post("/token").from(proxy);
                let answer = call.header(header, "198.51.100.1").send().await;
                assert_ne!(answer.json["error"]["code"], "blocked");
            }
            app.advance(1);
        }
        app.app.state().audit.sum_up(true);
        assert!(app.events("config_warning").len() < 20, "folded");
    }
}

#[tokio::test]
async fn an_address_of_the_internet_that_claims_to_forward_is_blocked_as_any_other() {
    let app = TestApp::new();
    for _ in 0..4 {
        for _ in 0..120 {
            let call = app.post("/token").from("198.51.100.1");
            call.header("x-forwarded-for", "192.0.2.1").send().await;
        }
        app.advance(1);
    }
    assert!(app.events("config_warning").is_empty());
    let answer = app.post("/token").from("198.51.100.1").send().await;
    answer.is(429, "blocked");
}

#[tokio::test]
async fn a_trusted_proxy_is_never_blocked_and_the_caller_behind_it_is() {
    let app = TestApp::with(&[
        ("server.trusted_proxies", "10.0.0.0/8"),
        ("limits.token", "100/60s"),
    ]);
    let send = async |client: Option<&'static str>| {
        let call = app.post("/token").from("10.0.0.1");
        let call = match client {
            None => call,
            Some(client) => call.header("x-forwarded-for", client),
        };
        call.body("application/json", "{").send().await
    };
    for _ in 0..12 {
        send(None).await;
        send(Some("198.51.100.1")).await;
    }
    send(Some("198.51.100.1")).await.is(429, "blocked");
    send(None).await.is(400, "bad_request");
}

#[tokio::test]
async fn f17_f19_placeholders_and_oversized_tokens_are_refused_without_an_offence() {
    let large = format!("{}.{}", student("ana"), "A".repeat(20 * 1024));
    for shown in ["undefined", "null", &large] {
        let app = TestApp::of(REQUIRED, &[]);
        for _ in 0..30 {
            app.post("/token")
                .bearer(shown)
                .send()
                .await
                .is(401, "unauthorized");
        }
        let good = app.post("/token").bearer(&student("ana")).send().await;
        assert_eq!(good.status, 200, "{}", good.text);
        assert!(app.events("suspicious_activity").is_empty());
        assert!(app.events("client_blocked").is_empty());
    }
}

#[tokio::test]
async fn f30_n01_honest_mistakes_in_a_request_are_no_offence() {
    let app = TestApp::with(&[("limits.token", "1000/60s"), ("limits.refresh", "1000/60s")]);
    for body in [
        json!({ "language": "es_MX.UTF-8@euro" }),
        json!({ "voice": "nova" }),
        json!({ "persona": "nobody" }),
        json!({ "persona": 7 }),
        json!([]),
    ] {
        for _ in 0..12 {
            app.post("/token").json(&body).send().await;
        }
    }
    for id in ["", "sess_1", "rts_unknown"] {
        for _ in 0..12 {
            app.refresh(id).await;
        }
    }
    for event in ["suspicious_activity", "client_blocked"] {
        assert_eq!(app.events(event), Vec::<Value>::new());
    }
}
