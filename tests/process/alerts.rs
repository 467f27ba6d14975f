//! Alerts by webhook, from the real executable: over a proxy, and without a word of the address in its log.

use std::time::Duration;

use serde_json::Value;

use crate::kit::answer::Answer;
use crate::kit::connect_proxy::ConnectProxy;
use crate::kit::executable::Launch;
use crate::kit::provider::simulator;
use crate::kit::receiver::Receiver;
use crate::kit::waiting::eventually;

/// Conditions are judged every ten seconds.
const JUDGED: Duration = Duration::from_mins(1);

#[tokio::test]
async fn operators_are_told_through_the_proxy_that_most_requests_fail() {
    let (simulator, receiver) = (simulator(&["500"]).await, Receiver::start().await);
    let proxy = ConnectProxy::start(None).await;
    // The proxy alone knows where this name leads to.
    let hook = receiver.url.replace("127.0.0.1", "hooks.example.test");
    let launch = Launch::serve(&simulator).env("BROKER_ALERTS__WEBHOOK", &hook);
    let launch = launch.set("upstream.proxy", &proxy.url());
    let broker = launch.set("limits.token", "1000/60s").start().await;
    for _ in 0..40 {
        let answer = Answer::to(broker.post("/token")).await;
        assert!(answer.status >= 500, "{answer:?}");
    }
    eventually("the message", JUDGED, async || {
        !receiver.messages().is_empty()
    })
    .await;
    let message: Value = serde_json::from_str(&receiver.messages()[0].text).unwrap();
    assert_eq!(message["alert"], "error_rate");
    assert_eq!(message["state"], "firing");
    let told = |line: &Value| line["message"] == "alert was sent to the webhook";
    assert_eq!(broker.running.logged(told).await["alert"], "error_rate");
    let ended = broker.stop().await;
    assert!(!ended.out.contains("with-a-secret"), "{}", ended.out);
}
