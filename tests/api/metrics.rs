//! `/metrics`: what is counted, in which format, and that no caller can make it grow.
#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use std::collections::BTreeMap;

use axum::http::Method;
use token_broker::upstream::UpstreamError;

use crate::calls::OFFER;
use crate::kit::answer::Answer;
use crate::kit::in_process::{TestApp, student};
use crate::kit::issuer::{claims_at, optional, sign};
use crate::kit::waiting::{SOON, eventually};

const TOKEN: &str = "operators-token-that-is-long-enough";

pub fn app(settings: &[(&str, &str)]) -> TestApp {
    TestApp::of(&optional(), &[&[("ops.token", TOKEN)], settings].concat())
}

pub async fn scrape(test: &TestApp, accept: &str) -> Answer {
    let onion = test.app.ops_onion().unwrap();
    let call = test.get("/metrics").through(onion).bearer(TOKEN);
    call.header("accept", accept).send().await
}

/// The samples by name and labels.
async fn samples(test: &TestApp) -> BTreeMap<String, f64> {
    let answer = scrape(test, "text/plain").await;
    assert_eq!(answer.status, 200);
    let lines = answer.text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.rsplit_once(' ').unwrap());
    let read = |(name, value): (&str, &str)| (name.to_owned(), value.parse().unwrap());
    pairs.map(read).collect()
}

#[tokio::test]
async fn operators_get_metrics_in_both_formats_and_strangers_do_not() {
    let test = app(&[]);
    let plain = scrape(&test, "*/*").await;
    assert_eq!(
        plain.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let answer = scrape(&test, open).await;
    assert_eq!(answer.header("content-type"), Some(open));
    assert!(answer.text.ends_with("# EOF\n"));
    let onion = test.app.ops_onion().unwrap();
    let stranger = test.get("/metrics").through(onion).send().await;
    stranger.is(401, "unauthorized");
    let public = test.get("/metrics").bearer(TOKEN).send().await;
    public.is(404, "not_found");
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one list of what one page says")]
async fn mints_refreshes_refusals_and_durations_are_counted() {
    let test = app(&[("limits.token", "2/60s")]);
    let session = test.open().await;
    test.advance(10);
    assert_eq!(test.refresh(&session).await.status, 200);
    test.minter.fail(UpstreamError::KeyRejected(401.into()));
    test.post("/token")
        .send()
        .await
        .is(503, "upstream_unavailable");
    test.advance(10);
    assert_eq!(test.post("/token").send().await.status, 200);
    test.post("/token").send().await.is(429, "rate_limited");
    let ana = student("ana");
    assert_eq!(test.post("/token").bearer(&ana).send().await.status, 200);
    test.post("/token")
        .bearer("no")
        .send()
        .await
        .is(401, "unauthorized");
    let evil = test.post("/token").origin("https://evil.test");
    evil.send().await.is(403, "origin_not_allowed");
    let seen = samples(&test).await;
    for (sample, expected) in [
        (
            "broker_http_requests_total{route=\"/token\",method=\"POST\",code=\"200\"}",
            3.0,
        ),
        (
            "broker_http_requests_total{route=\"/token\",method=\"POST\",code=\"429\"}",
            1.0,
        ),
        (
            "broker_http_request_duration_seconds_count{route=\"/token\",method=\"POST\"}",
            7.0,
        ),
        (
            "broker_http_own_duration_seconds_count{route=\"/token\"}",
            4.0,
        ),
        (
            "broker_refusals_total{code=\"upstream_unavailable\",route=\"/token\"}",
            1.0,
        ),
        (
            "broker_rate_limited_total{limit=\"token\",route=\"/token\"}",
            1.0,
        ),
        (
            "broker_tokens_minted_total{role=\"\",model=\"gpt-realtime-2.1\",outcome=\"minted\"}",
            2.0,
        ),
        (
            "broker_tokens_minted_total{role=\"student\",model=\"gpt-realtime-2.1\",outcome=\"minted\"}",
            1.0,
        ),
        (
            "broker_tokens_minted_total{role=\"\",model=\"\",outcome=\"key_rejected\"}",
            1.0,
        ),
        (
            "broker_token_refreshes_total{role=\"\",model=\"gpt-realtime-2.1\",outcome=\"minted\"}",
            1.0,
        ),
        (
            "broker_upstream_request_duration_seconds_count{operation=\"mint\",outcome=\"ok\"}",
            4.0,
        ),
        (
            "broker_upstream_errors_total{operation=\"mint\",kind=\"key_rejected\"}",
            1.0,
        ),
        ("broker_auth_failures_total{reason=\"refused\"}", 1.0),
        ("broker_origin_rejected_total{reason=\"program\"}", 1.0),
        ("broker_audit_events_total{event=\"origin_refused\"}", 1.0),
        ("broker_key_rejected{key=\"default\"}", 0.0),
        ("broker_condition{part=\"upstream\"}", 0.0),
        ("broker_sessions_active", 3.0),
    ] {
        assert_eq!(seen.get(sample), Some(&expected), "{sample}: {seen:#?}");
    }
}

#[tokio::test]
async fn a_rejected_key_and_a_rest_show_until_a_mint_succeeds() {
    let test = app(&[]);
    test.minter.fail(UpstreamError::KeyRejected(401.into()));
    test.post("/token")
        .send()
        .await
        .is(503, "upstream_unavailable");
    let seen = samples(&test).await;
    assert_eq!(seen["broker_key_rejected{key=\"default\"}"], 1.0);
    assert_eq!(seen["broker_upstream_breaker_open"], 1.0);
    assert_eq!(seen["broker_condition{part=\"upstream\"}"], 2.0);
    assert_eq!(
        seen["broker_key_last_success_timestamp_seconds{key=\"default\"}"],
        0.0
    );
    test.advance(10);
    test.open().await;
    let seen = samples(&test).await;
    assert_eq!(seen["broker_key_rejected{key=\"default\"}"], 0.0);
    assert_eq!(seen["broker_upstream_breaker_open"], 0.0);
    let last = seen["broker_key_last_success_timestamp_seconds{key=\"default\"}"];
    assert!(last >= 1_640_995_210.0, "{last}");
}

#[tokio::test]
async fn a_flood_of_routes_methods_personas_and_roles_adds_few_series() {
    let test = app(&[
        ("limits.token", "100000/60s"),
        ("limits.verified_address", "100000/60s"),
    ]);
    test.open().await;
    samples(&test).await;
    let before = samples(&test).await.len();
    for number in 0..700 {
        let path = format!("/{number}/../x?{number}");
        let method = Method::from_bytes(format!("M{number}").as_bytes()).unwrap();
        test.call(method, &path).send().await;
        let body = serde_json::json!({ "persona": format!("persona-{number}") });
        test.post("/token").json(&body).send().await;
        let claims = claims_at(
            1_640_995_200,
            40,
            (&format!("s{number}"), &format!("role-{number}")),
        );
        test.post("/token").bearer(&sign(&claims)).send().await;
    }
    let seen = samples(&test).await;
    let roles = seen.keys().filter(|name| name.contains("role=\"role-"));
    assert!(roles.count() <= 512);
    let others = seen.keys().filter(|name| !name.contains("role="));
    let others = others.count();
    assert!(others < before + 40, "{before} → {others}");
    let strange = seen
        .keys()
        .find(|name| name.contains("persona-") || name.contains("M1"));
    assert_eq!(strange, None);
}

#[tokio::test]
async fn ob2_calls_their_use_and_their_ends_are_counted() {
    let test = app(&[
        ("connect.mode", "call"),
        ("personas.file", "tests/api/calls/personas.toml"),
        ("call.persona", "free"),
        ("money.per_day", "5.00"),
        ("money.anonymous_per_day", "2.00"),
    ]);
    let call = test.post("/calls").body("application/sdp", OFFER);
    let answer = call.bearer(&student("ana")).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let side = crate::calls::named(&test);
    let seen = samples(&test).await;
    assert_eq!(seen["broker_calls_open"], 1.0);
    assert_eq!(seen["broker_relay_connections"], 0.0);
    side.say(&crate::calls::done("resp_1"));
    let cost = "broker_usage_cost_usd_total{model=\"gpt-realtime-2.1\",role=\"student\",source=\"measured\"}";
    eventually("the use", SOON, async || {
        samples(&test).await.contains_key(cost)
    })
    .await;
    let seen = samples(&test).await;
    assert!((seen[cost] - 0.010_296).abs() < 1e-9, "{}", seen[cost]);
    let tokens = |name: &&String| name.starts_with("broker_usage_tokens_total");
    let sum: f64 = seen.keys().filter(tokens).map(|name| seen[name]).sum();
    assert!(sum > 0.0);
    test.app.state().broker.take_stock().await;
    let seen = samples(&test).await;
    assert!((seen["broker_budget_spent_usd{budget=\"money.per_day\"}"] - 0.010_296).abs() < 1e-9);
    assert!((seen["broker_budget_limit_usd{budget=\"money.per_day\"}"] - 5.0).abs() < 1e-9);
    let anonymous = "{budget=\"money.anonymous_per_day\"}";
    assert!(seen[&format!("broker_budget_spent_usd{anonymous}")].abs() < 1e-9);
    assert!((seen[&format!("broker_budget_limit_usd{anonymous}")] - 2.0).abs() < 1e-9);
    assert_eq!(seen["broker_hangups_pending"], 0.0);

    test.calls.fail_hang_up(UpstreamError::TimedOut);
    let path = answer.header("location").unwrap().to_owned() + "/hangup";
    let ended = test.post(&path).bearer(&student("ana")).send().await;
    assert!(ended.status < 300, "{}", ended.text);
    test.app.state().broker.take_stock().await;
    assert_eq!(samples(&test).await["broker_hangups_pending"], 1.0);
    test.advance(60);
    test.app.state().broker.tend_calls().await;
    // The watch waits a moment for the use of a last answer.
    eventually("the end", SOON, async || {
        test.advance(1);
        !test.events("call_ended").is_empty()
    })
    .await;
    test.app.state().broker.take_stock().await;
    let seen = samples(&test).await;
    assert_eq!(seen["broker_hangups_pending"], 0.0);
    assert_eq!(seen["broker_hang_ups_total{outcome=\"failed\"}"], 1.0);
    assert_eq!(seen["broker_hang_ups_total{outcome=\"confirmed\"}"], 1.0);
    let ends = "broker_call_duration_seconds_count{role=\"student\",end_reason=\"hung_up\"}";
    assert_eq!(seen[ends], 1.0);
}
