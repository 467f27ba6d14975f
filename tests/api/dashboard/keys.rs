//! Several keys of the provider, as operators see them.

use serde_json::{Value, json};
use token_broker::upstream::UpstreamError;

use super::{TOKEN, get, read};
use crate::calls::{OFFER, done, named};
use crate::kit::in_process::{START, TestApp};
use crate::kit::waiting::{SOON, eventually};

const RESERVE: &str = "[[upstream.api_keys]]\nalias = 'reserve'\nkey = 'sk-reserve'\n";
const SETTINGS: [(&str, &str); 5] = [
    ("ops.token", TOKEN),
    ("ops.hosts", "broker.example.com"),
    ("connect.mode", "call"),
    ("personas.file", "tests/api/calls/personas.toml"),
    ("call.persona", "free"),
];

#[tokio::test]
async fn several_keys_are_told_apart_on_the_page_in_metrics_and_in_health() {
    let test = TestApp::of(RESERVE, &SETTINGS);
    let rejected = || UpstreamError::KeyRejected(401.into());
    test.calls.fail_exchange(rejected());
    // The look that follows finds the key rejected, too.
    test.minter.fail_once(rejected());
    let opened = test.post("/calls").body("application/sdp", OFFER);
    assert_eq!(opened.send().await.status, 201);
    named(&test).say(&done("resp_1"));
    let cost = "broker_key_cost_usd_total{key=\"reserve\",source=\"measured\"} 0.010296";
    let metrics = async || get(&test, "/metrics").bearer(TOKEN).send().await.text;
    eventually("the cost of the call", SOON, async || {
        metrics().await.contains(cost)
    })
    .await;
    // An answer without figures is estimated.
    let mut failed = done("resp_2");
    failed["response"]["usage"] = Value::Null;
    named(&test).say(&failed);
    let estimated = "broker_key_cost_usd_total{key=\"reserve\",source=\"estimated\"} 0.";
    eventually("the cost that nobody measured", SOON, async || {
        metrics().await.contains(estimated)
    })
    .await;
    let metrics = metrics().await;
    for sample in [
        "broker_key_rejected{key=\"default\"} 1",
        "broker_key_rejected{key=\"reserve\"} 0",
    ] {
        assert!(metrics.contains(sample), "{metrics}");
    }
    let file = read(&test, "/pages/security?table=keys&as=json").await;
    let rows = &file.json["rows"];
    let told = |row: usize| ["Key", "State", "Cost"].map(|name| rows[row][name].clone());
    assert_eq!(json!(told(0)), json!(["default", "rejected", "0.00"]));
    assert_eq!(json!(told(1)), json!(["reserve", "accepted", "0.010296"]));
    assert_ne!(rows[1]["Cost estimated"], "0.00");
    for (page, column) in [("users", "Tokens in"), ("calls", "Tokens")] {
        let source = source(&test, page, column).await;
        assert_eq!(source, "partly estimated", "{page}");
    }
    let health = test.get("/health").from("127.0.0.1").send().await.json;
    assert_eq!(health["status"], "degraded");
    assert_eq!(
        health["services"]["openaiApi"]["keys"],
        json!([
            { "key": "default", "status": "rejected", "lastSuccess": null },
            { "key": "reserve", "status": "accepted", "lastSuccess": START.as_millis() },
        ])
    );
}

/// How the figures of a column came to be known, in the table that has the name of its page.
async fn source(test: &TestApp, page: &str, column: &str) -> Value {
    let file = read(test, &format!("/pages/{page}?table={page}&as=json")).await;
    let columns = file.json["columns"].as_array().unwrap();
    let column = columns.iter().find(|known| known["name"] == column);
    column.unwrap()["source"].clone()
}
