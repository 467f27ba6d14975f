//! What must not be seen where it does not belong.

use serde_json::json;
use token_broker::domain::SessionId;

use crate::kit::PAGE;
use crate::kit::in_process::TestApp;

#[tokio::test]
async fn an_answer_holds_the_secret_the_handle_and_a_summary_and_nothing_else_of_the_upstream() {
    let app = TestApp::new();
    let answer = app.post("/token").origin(PAGE).send().await;
    assert!(
        !answer.text.contains("canary-instructions"),
        "{}",
        answer.text
    );
    let keys: Vec<_> = answer.json["session"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(keys, ["id", "model", "type", "voice"]);
}

#[tokio::test]
async fn no_event_holds_a_secret_or_a_handle() {
    let app = TestApp::new();
    let session = app
        .post("/token")
        .origin(PAGE)
        .header("authorization", "Bearer canary-bearer")
        .send()
        .await
        .json;
    let id = session["sessionId"].as_str().unwrap().to_owned();
    app.advance(10);
    app.post("/refresh-token")
        .origin(PAGE)
        .json(&json!({ "sessionId": id }))
        .send()
        .await;
    app.post("/refresh-token")
        .json(&json!({ "sessionId": id, "canary": 1 }))
        .send()
        .await;
    app.post("/refresh-token")
        .json(&json!({ "sessionId": id }))
        .send()
        .await;
    let written = format!("{:?}", app.all_events());
    for secret in ["ek_test_", &id, "canary"] {
        assert!(!written.contains(secret), "{secret} in {written}");
    }
}

#[tokio::test]
async fn debug_of_whatever_holds_a_secret_does_not_show_it() {
    let app = TestApp::new();
    let id = SessionId::random();
    let config = token_broker::config::Config::from_pairs(
        token_broker::config::Mode::Dev,
        &[("upstream.api_key", "sk-canary")],
    )
    .unwrap();
    app.open().await;
    let order = format!("{:?}", app.minter.orders()[0]);
    let shown = format!("{config:?} {id:?}");
    assert!(!shown.contains("canary") && !shown.contains(id.expose()));
    assert!(!order.contains("canary-instructions"), "{order}");
}
