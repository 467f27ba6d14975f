//! The try-it page: served where it is wanted, under a policy that lets nothing of a third party in.

use axum::http::StatusCode;

use crate::harness::TestApp;

const PATHS: [&str; 4] = ["/demo", "/demo/style.css", "/demo/app.js", "/demo/sdk.js"];

#[tokio::test]
async fn it_is_not_there_unless_it_is_wanted() {
    let test = TestApp::new();
    for path in PATHS.iter().chain(&["/demo/about"]) {
        test.get(path).send().await.is(404, "not_found");
    }
}

#[tokio::test]
async fn every_file_of_it_is_served_under_a_strict_policy_and_is_small() {
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
async fn outside_dev_mode_it_knows_of_nobody_to_act_for() {
    let test = TestApp::with(&[("demo.enabled", "true")]);
    let about = test.get("/demo/about").send().await.json;
    assert_eq!(about["mode"], "serve");
    assert_eq!(about["people"], serde_json::json!([]));
    assert_eq!(about["simulated"], false);
}

#[tokio::test]
async fn it_stands_below_the_base_path() {
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
async fn pages_elsewhere_cannot_read_whom_it_may_act_for() {
    let test = TestApp::with(&[("demo.enabled", "true")]);
    let foreign = test
        .get("/demo/about")
        .origin("https://evil.example")
        .send()
        .await;
    assert_eq!(foreign.header("access-control-allow-origin"), None);
    assert_eq!(
        foreign.header("cross-origin-resource-policy"),
        Some("same-origin")
    );
}
