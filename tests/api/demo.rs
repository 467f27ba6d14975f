//! The try-it page: served where it is wanted, under a policy that lets nothing of a third party in.

use axum::http::{Method, StatusCode};

use crate::kit::PAGE;
use crate::kit::in_process::TestApp;

const PATHS: [&str; 5] = [
    "/demo",
    "/demo/style.css",
    "/demo/app.js",
    "/demo/sdk.js",
    "/demo/relay.js",
];

#[tokio::test]
async fn the_demo_is_not_there_unless_a_setting_wants_it() {
    let test = TestApp::new();
    for path in PATHS.iter().chain(&["/demo/about"]) {
        test.get(path).send().await.is(404, "not_found");
    }
}

#[tokio::test]
async fn every_file_of_the_demo_is_served_under_a_strict_policy_and_is_small() {
    let test = TestApp::with(&[("demo.enabled", "true")]);
    let mut bytes = 0;
    for path in PATHS {
        let answer = test.get(path).send().await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(
            answer.header("permissions-policy"),
            Some("microphone=(self)")
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        bytes += answer.text.len();
    }
    assert!((10_000..200_000).contains(&bytes), "{bytes}");
    let html = test.get("/demo").send().await.text;
    assert!(
        !html.contains("http://www.google") && !html.contains("<script>"),
        "{html}"
    );
}

#[tokio::test]
async fn f24_the_page_may_call_the_provider_that_mints_and_no_other() {
    for (setting, base, origin) in [
        (
            "upstream.base_url",
            "https://api.openai.com/v1",
            "https://api.openai.com",
        ),
        (
            "upstream.base_url",
            "https://eu.api.openai.com/v1",
            "https://eu.api.openai.com",
        ),
        (
            "upstream.base_url",
            "https://Mine.OpenAI.Azure.com:443/openai/v1/",
            "https://mine.openai.azure.com",
        ),
        (
            "upstream.base_url",
            "http://127.0.0.1:4000/v1",
            "http://127.0.0.1:4000",
        ),
        (
            "upstream.public_url",
            "https://voice.example.com:8443/llm/v1",
            "https://voice.example.com:8443",
        ),
    ] {
        let test = TestApp::with(&[("demo.enabled", "true"), (setting, base)]);
        for path in PATHS {
            let answer = test.get(path).send().await;
            let policy = answer.header("content-security-policy").unwrap();
            let mut rules = policy.split("; ");
            let calls = rules.find_map(|rule| rule.strip_prefix("connect-src "));
            assert_eq!(calls.unwrap(), format!("'self' {origin}"), "{base}");
        }
    }
}

#[tokio::test]
async fn a_file_that_the_browser_has_is_not_sent_again_and_others_are_compressed_on_request() {
    let test = TestApp::with(&[("demo.enabled", "true")]);
    for path in PATHS {
        let plain = test.get(path).send().await;
        assert_eq!(plain.header("cache-control"), Some("no-cache"), "{path}");
        assert_eq!(plain.header("content-encoding"), None, "{path}");
        assert!(plain.header("vary").unwrap().contains("accept-encoding"));
        let etag = plain.header("etag").unwrap().to_owned();
        let packed = test
            .call(Method::HEAD, path)
            .header("accept-encoding", "gzip, br");
        let packed = packed.send().await;
        assert_eq!(packed.header("content-encoding"), Some("gzip"), "{path}");
        assert_eq!(packed.header("etag"), Some(&*etag), "{path}");
        let again = test.get(path).header("if-none-match", &etag).send().await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path}");
        assert_eq!(again.text, "", "{path}");
        let other = test.get(path).header("if-none-match", "W/\"other\"");
        assert_eq!(other.send().await.text, plain.text, "{path}");
    }
    // What is no file of the page is never kept.
    let about = test.get("/demo/about").send().await;
    assert_eq!(about.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn outside_dev_mode_the_demo_offers_no_people_to_act_for() {
    let test = TestApp::with(&[("demo.enabled", "true")]);
    let about = test.get("/demo/about").send().await.json;
    assert_eq!(about["mode"], "serve");
    assert_eq!(about["people"], serde_json::json!([]));
    assert_eq!(about["simulated"], false);
    assert_eq!(about["refresh_interval_seconds"], 10.0);
    assert_eq!(about["call_persona"], serde_json::Value::Null);
}

#[tokio::test]
async fn outside_dev_mode_the_page_plays_neither_the_operator_nor_the_provider() {
    let test = TestApp::with(&[("demo.enabled", "true")]);
    for path in ["/demo/calls/rtc_1/hangup", "/demo/calls/rtc_1/cut"] {
        let own = test.post(path).header("sec-fetch-site", "same-origin");
        own.send().await.is(404, "not_found");
    }
}

#[tokio::test]
async fn the_demo_stands_below_the_base_path() {
    let test = TestApp::with(&[
        ("demo.enabled", "true"),
        ("server.base_path", "/api/voice-agent"),
    ]);
    assert_eq!(
        test.get("/api/voice-agent/demo").send().await.status,
        StatusCode::OK
    );
    test.get("/demo").send().await.is(404, "not_found");
    let with_slash = test.get("/api/voice-agent/demo/").send().await;
    assert_eq!(with_slash.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_the_page_itself_may_ask_whom_it_may_act_for() {
    let test = TestApp::with(&[("demo.enabled", "true")]);
    for site in ["same-origin", "none"] {
        let own = test.get("/demo/about").header("sec-fetch-site", site);
        assert_eq!(own.send().await.status, StatusCode::OK, "{site}");
    }
    for site in ["same-site", "cross-site"] {
        let other = test.get("/demo/about").header("sec-fetch-site", site);
        other.send().await.is(403, "origin_not_allowed");
    }
    // A page that may mint may still not act for others.
    for origin in [PAGE, "http://localhost:5173"] {
        let other = test.get("/demo/about").origin(origin);
        other.send().await.is(403, "origin_not_allowed");
    }
}
