//! Service keys: programs without a login are callers with an identity of their own.

use serde_json::json;

use crate::calls::offer;
use crate::kit::PAGE;
use crate::kit::in_process::{TestApp, student};

const KEY: &str = "service-key-of-the-tests-0123456789abcdef";
/// The hash is that of [`KEY`].
const FILE: &str = r#"
[auth]
mode = "required"
[[auth.issuers]]
issuer = "https://id.example.com/"
audience = ["authenticated"]
hmac_secret = "canary-hmac-secret-that-is-long-enough-4f1d"
algorithms = ["HS256"]
[[auth.service_keys]]
name = "bridge"
key_sha256 = "c2f6544d6b3d061ca3b856d1b86c0db67254522f9da68d6f2bd9dc5463b45057"
role = "staff"
personas = ["staff", "tutor"]
"#;

#[tokio::test]
async fn a_program_mints_by_its_key_and_is_counted_by_its_name() {
    let app = TestApp::of(FILE, &[("limits.identity", "2/1h")]);
    let minted = app.post("/token").bearer(KEY).send().await;
    assert_eq!(minted.status, 200, "{minted:?}");
    let named = json!({ "persona": "tutor" });
    let named = app.post("/token").bearer(KEY).json(&named).send().await;
    assert_eq!(named.status, 200, "{named:?}");
    // The first of its personas is the usual one.
    assert_eq!(app.personas(), ["staff", "tutor"]);
    let third = app.post("/token").bearer(KEY).from("203.0.113.9").send();
    third.await.is(429, "rate_limited");
    // Others have limits of their own.
    let other = app.post("/token").bearer(&student("ana")).send().await;
    assert_eq!(other.status, 200, "{other:?}");
}

#[tokio::test]
async fn a_program_uses_its_own_personas_only() {
    let app = TestApp::of(FILE, &[]);
    for (persona, status) in [("default", 403), ("teacher", 403), ("nobody", 422)] {
        let asked = json!({ "persona": persona });
        let refused = app.post("/token").bearer(KEY).json(&asked).send().await;
        assert_eq!(refused.status, status, "{persona}: {refused:?}");
    }
}

#[tokio::test]
async fn a_service_key_in_a_web_page_is_refused_and_reported() {
    let app = TestApp::of(FILE, &[]);
    let page = app.post("/token").bearer(KEY).origin(PAGE).send().await;
    page.is(401, "unauthorized");
    let told = app.events("auth_failed");
    let reason = told[0]["details"]["reason"].as_str().unwrap();
    assert!(reason.contains("web page"), "{reason}");
    assert!(!format!("{:?}", app.all_events()).contains(KEY));
    let wrong = app.post("/token").bearer(&KEY.replace('f', "e"));
    wrong.send().await.is(401, "unauthorized");
}

#[tokio::test]
async fn a_program_opens_calls_and_refreshes_its_sessions() {
    let app = TestApp::of(FILE, &[]);
    let opened = offer(&app).bearer(KEY).send().await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let minted = app.post("/token").bearer(KEY).send().await;
    app.advance(10);
    let id = json!({ "sessionId": minted.json["sessionId"] });
    let refresh = app.post("/refresh-token").json(&id);
    assert_eq!(refresh.bearer(KEY).send().await.status, 200);
    let stranger = app.post("/refresh-token").json(&id);
    stranger
        .bearer(&student("ana"))
        .send()
        .await
        .is(404, "unknown_session");
}

#[tokio::test]
async fn programs_alone_need_no_issuer() {
    let (before, after) = FILE.split_once("[[auth.issuers]]").unwrap();
    let (_, keys) = after.split_once("[[auth.service_keys]]").unwrap();
    let file = format!("{before}[[auth.service_keys]]{keys}");
    let app = TestApp::of(&file, &[]);
    assert_eq!(app.post("/token").bearer(KEY).send().await.status, 200);
    let refused = app.post("/token").bearer(&student("ana")).send().await;
    refused.is(401, "unauthorized");
}
