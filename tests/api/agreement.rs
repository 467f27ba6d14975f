//! Settings that change while the broker runs: what callers may choose, use and spend.

use std::fs;

use serde_json::json;

use crate::calls::OFFER;
use crate::kit::in_process::{TestApp, claims, student};
use crate::kit::issuer::{REQUIRED, sign};
use crate::kit::scratch::Scratch;

/// Callers must show a credential, and students may open so many sessions.
fn quota(role: &str, sessions: u32) -> String {
    format!("{REQUIRED}\n[quota.{role}]\nsessions_per_month = {sessions}\n")
}

#[tokio::test]
async fn another_quota_holds_at_once_even_for_those_whose_quota_was_used_up() {
    let app = TestApp::of(&quota("student", 1), &[]);
    let ana = student("ana");
    let ask = async || app.post("/token").bearer(&ana).send().await;
    assert_eq!(ask().await.status, 200);
    ask().await.is(429, "quota_exceeded");
    app.adopt(&quota("student", 2), &[]);
    assert_eq!(ask().await.status, 200);
    ask().await.is(429, "quota_exceeded");
    app.adopt(REQUIRED, &[]);
    assert_eq!(ask().await.status, 200);
    app.adopt(&quota("student", 1), &[]);
    ask().await.is(429, "quota_exceeded");
}

#[tokio::test]
async fn a_role_that_only_the_new_quotas_name_is_known_at_once() {
    let app = TestApp::of(REQUIRED, &[]);
    let mut said = claims("ana", "student");
    said["app_metadata"]["role"] = json!(["guest", "tutor"]);
    let bearer = sign(&said);
    let ask = async || app.post("/token").bearer(&bearer).send().await;
    assert_eq!(ask().await.status, 200);
    app.adopt(&quota("tutor", 2), &[]);
    assert_eq!(ask().await.status, 200);
    let told = &app.events("token_minted")[1]["details"];
    assert_eq!(told["role"], "tutor", "{told}");
    ask().await.is(429, "quota_exceeded");
}

#[tokio::test]
async fn personas_come_and_go_and_a_session_ends_with_its_persona() {
    let scratch = Scratch::new();
    let persona = |name: &str| {
        format!("[{name}]\npublic = true\n[{name}.session]\nmodel = 'gpt-realtime-2.1'\n")
    };
    let one = scratch.file("one.toml", &persona("default"));
    let both = persona("default") + &persona("guide");
    let two = scratch.file("two.toml", &both);
    let app = TestApp::with(&[("personas.file", &one)]);
    let ask = async || {
        let ask = app.post("/token").json(&json!({ "persona": "guide" }));
        ask.send().await
    };
    ask().await.is(422, "unknown_persona");
    app.adopt("", &[("personas.file", &two)]);
    let opened = ask().await;
    assert_eq!(opened.status, 200, "{opened:?}");
    app.adopt("", &[("personas.file", &one)]);
    app.advance(60);
    let session = opened.json["sessionId"].as_str().unwrap();
    assert_eq!(app.refresh(session).await.status, 404);
}

#[tokio::test]
async fn a_price_that_was_missing_is_used_without_a_restart() {
    let scratch = Scratch::new();
    let prices = fs::read_to_string("config/prices.toml").unwrap();
    let card = "\n[[model]]\nnames = ['gpt-realtime-of-tomorrow']\nvalid_from = 2021-12-01\n\
                text = { input = 4, cached = 0.4, output = 16 }\n\
                audio = { input = 32, cached = 0.4, output = 64 }\n";
    let prices = scratch.file("prices.toml", &(prices + card));
    let usual = [
        ("personas.file", "tests/api/calls/personas.toml"),
        ("money.per_day", "5.00"),
    ];
    let app = TestApp::with(&usual);
    let ask = async || {
        let ask = app.post("/calls?persona=unpriced");
        ask.body("application/sdp", OFFER).send().await
    };
    let refused = ask().await;
    refused.is(503, "no_price");
    assert_eq!(refused.retry_after(), 60, "an operator has to act");
    let [personas, money] = usual;
    app.adopt("", &[personas, money, ("money.prices", &prices)]);
    assert_eq!(ask().await.status, 201);
}
