//! How the service says how it is: to people, to monitors, to orchestrators.

use std::time::Duration;

use axum::http::Method;
use serde_json::json;
use token_broker::upstream::UpstreamError;

use crate::kit::in_process::TestApp;

#[tokio::test]
async fn health_has_exactly_the_promised_shape() {
    let app = TestApp::new();
    let session = app.open().await;
    app.advance(10);
    app.refresh(&session).await;
    app.advance(3590);
    let answer = app.get("/health").from("127.0.0.1").send().await;
    assert_eq!(answer.status, 200);
    let mut golden: serde_json::Value =
        serde_json::from_str(include_str!("../contract/health.json")).unwrap();
    golden["version"] = json!(env!("CARGO_PKG_VERSION"));
    assert_eq!(answer.json, golden);
}

#[tokio::test]
async fn strangers_see_only_the_status_in_health() {
    let app = TestApp::new();
    let keys = async |call: crate::kit::in_process::Call| {
        let answer = call.send().await;
        answer
            .json
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let summary = ["ok", "status", "timestamp", "uptime"];
    assert_eq!(keys(app.get("/health").from("203.0.113.9")).await, summary);
    let hidden = app
        .get("/health")
        .from("127.0.0.1")
        .header("x-forwarded-for", "203.0.113.9");
    assert_eq!(
        keys(hidden).await,
        summary,
        "behind a proxy that is not trusted, nobody knows who asks"
    );
    for insider in ["127.0.0.1", "10.1.2.3", "192.168.0.9", "::1", "fd00::1"] {
        assert_eq!(
            keys(app.get("/health").from(insider)).await.len(),
            7,
            "{insider}"
        );
    }
    let full = TestApp::with(&[("health.details", "full")]);
    assert_eq!(keys(full.get("/health")).await.len(), 7);
    let summary_only = TestApp::with(&[("health.details", "summary")]);
    assert_eq!(
        keys(summary_only.get("/health").from("127.0.0.1")).await,
        summary
    );
}

#[tokio::test]
async fn ob5_upstream_trouble_is_degraded_and_never_unready() {
    let app = TestApp::with(&[("limits.token", "100/60s")]);
    let is_shown_as = async |condition: &str| {
        let health = app.get("/health").from("127.0.0.1").send().await;
        assert_eq!(
            (health.status, &health.json["status"]),
            (200, &json!("degraded"))
        );
        assert_eq!(health.json["services"]["openaiApi"]["status"], condition);
        assert_eq!(app.get("/livez").send().await.status, 200);
        assert_eq!(app.get("/readyz").send().await.status, 200);
    };
    for failures in 1..=5 {
        app.minter.fail(UpstreamError::TimedOut);
        app.post("/token").send().await;
        is_shown_as("degraded").await;
        assert_eq!(app.minter.asked(), failures);
    }
    // The circuit breaker is open now.
    app.post("/token").send().await;
    assert_eq!(app.minter.asked(), 5);
    is_shown_as("down").await;
    app.advance(2);
    app.minter.fail(UpstreamError::KeyRejected(401.into()));
    app.post("/token").send().await;
    is_shown_as("down").await;
    app.advance(5);
    app.post("/token").send().await;
    assert_eq!(app.get("/health").send().await.json["status"], "healthy");
}

#[tokio::test]
async fn failures_are_those_of_ours_and_the_upstreams_only() {
    let app = TestApp::new();
    app.post("/token").body("text/plain", "x").send().await;
    app.minter.fail(UpstreamError::TimedOut);
    app.post("/token").send().await;
    app.get("/health").send().await;
    let metrics = app.get("/health").from("127.0.0.1").send().await.json["metrics"].clone();
    assert_eq!(
        (&metrics["totalRequests"], &metrics["errorRate"]),
        (&json!(2), &json!(0.5))
    );
}

#[tokio::test]
async fn ob5_a_draining_service_says_so_and_still_serves() {
    let app = TestApp::new();
    app.app.state().broker.drain();
    assert_eq!(app.get("/readyz").send().await.status, 503);
    assert_eq!(app.get("/readyz").send().await.text, "draining");
    let health = app.get("/health").send().await;
    assert_eq!(
        (health.status, &health.json["status"], &health.json["ok"]),
        (503, &json!("unhealthy"), &json!(false))
    );
    assert_eq!(app.get("/livez").send().await.status, 200);
    assert_eq!(app.post("/token").send().await.status, 200);
}

#[tokio::test]
async fn probes_are_answered_with_one_word_and_heads_without() {
    let app = TestApp::new();
    assert_eq!(app.get("/livez").send().await.text, "alive");
    assert_eq!(app.get("/readyz").send().await.text, "ready");
    for path in ["/health", "/livez", "/readyz"] {
        let head = app.call(Method::HEAD, path).send().await;
        assert_eq!((head.status, head.text.as_str()), (200, ""));
    }
}

#[tokio::test]
async fn asking_for_health_never_asks_the_upstream() {
    let app = TestApp::new();
    for _ in 0..100 {
        app.get("/health").send().await;
    }
    assert_eq!((app.minter.asked(), app.minter.probes()), (0, 0));
}

#[tokio::test]
async fn the_upstream_is_looked_at_unless_a_mint_has_just_shown_it() {
    let app = TestApp::new();
    let broker = app.app.state().broker.clone();
    let interval = Duration::from_secs(30);
    broker.look_upstream(interval).await;
    assert_eq!(app.minter.probes(), 1);
    let health = app.get("/health").from("127.0.0.1").send().await;
    assert_eq!(health.json["services"]["openaiApi"]["latency"], 120.0);
    app.advance(30);
    app.open().await;
    broker.look_upstream(interval).await;
    assert_eq!(app.minter.probes(), 1, "the mint was look enough");
    app.advance(30);
    app.minter.fail(UpstreamError::TimedOut);
    broker.look_upstream(interval).await;
    assert_eq!(app.minter.probes(), 2);
    assert_eq!(app.get("/health").send().await.json["status"], "degraded");
}

#[tokio::test]
async fn a_flood_of_strangers_that_can_only_be_estimated_is_degraded() {
    let app = TestApp::with(&[("limits.capacity", "1")]);
    for host in 1..=3 {
        app.post("/token")
            .from(&format!("198.51.100.{host}"))
            .send()
            .await;
    }
    let health = app.get("/health").from("127.0.0.1").send().await;
    assert_eq!(
        (
            &health.json["status"],
            &health.json["services"]["rateLimit"]["status"]
        ),
        (&json!("degraded"), &json!("degraded"))
    );
}

#[tokio::test]
async fn an_idle_service_looks_at_the_upstream_every_time() {
    let app = TestApp::new();
    let broker = app.app.state().broker.clone();
    for looks in 1..=3 {
        broker.look_upstream(Duration::from_secs(30)).await;
        assert_eq!(app.minter.probes(), looks);
        app.advance(30);
    }
}

#[tokio::test]
async fn a_free_look_clears_silence_and_a_rejected_key_and_nothing_that_only_a_mint_can() {
    let app = TestApp::new();
    let broker = app.app.state().broker.clone();
    let status = async || app.get("/health").send().await.json["status"].clone();
    for (error, cleared) in [
        (UpstreamError::QuotaExhausted(429.into()), false),
        (UpstreamError::KeyRejected(401.into()), true),
        (UpstreamError::Refused(400.into()), false),
        (UpstreamError::TimedOut, true),
    ] {
        app.advance(60);
        app.minter.fail(error);
        app.post("/token").send().await;
        assert_eq!(status().await, "degraded");
        broker.look_upstream(Duration::from_secs(30)).await;
        assert_eq!(status().await, if cleared { "healthy" } else { "degraded" });
        app.advance(60);
        app.post("/token").send().await;
        assert_eq!(status().await, "healthy");
    }
}

#[tokio::test]
async fn a_caller_that_may_be_a_proxy_sees_the_status_of_health_only() {
    let app = TestApp::new();
    for name in [
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
        "via",
        "cf-connecting-ip",
    ] {
        let answer = app
            .get("/health")
            .from("127.0.0.1")
            .header(name, "203.0.113.9")
            .send()
            .await;
        assert!(answer.json["metrics"].is_null(), "{name}");
    }
}
