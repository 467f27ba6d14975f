//! The gate of the real executable: a class behind one address, and operators who lift blocks.

use serde_json::Value;
use tokio::task::JoinSet;

use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch, student};
use crate::kit::http::client;
use crate::kit::issuer::REQUIRED;
use crate::kit::provider::simulator;

const TOKEN: &str = "operators-token-that-is-long-enough";

/// Returns settings with an issuer and with the limits and the guard that the product has by default.
fn issuer() -> String {
    REQUIRED.split("[limits]").next().unwrap().to_owned()
}

/// Sends what is no JSON, without a credential.
async fn offend(broker: &Broker) -> Answer {
    let call = broker.post("/token").body("{");
    Answer::to(call.header("content-type", "application/json")).await
}

#[tokio::test]
async fn f01_thirty_verified_callers_at_once_and_a_flood_of_strangers_share_an_address_unharmed() {
    let simulator = simulator(&[]).await;
    let launch = Launch::of(&["serve", "--config", "settings.toml"]);
    let launch = launch.towards(&simulator.base_url());
    let launch = launch.env("BROKER_LEDGER__URL", "memory");
    let broker = launch.file("settings.toml", &issuer()).start().await;
    for _ in 0..100 {
        let stranger = Answer::to(broker.post("/token")).await;
        assert!([401, 429].contains(&stranger.status), "{stranger:?}");
        offend(&broker).await;
    }
    let mut class = JoinSet::new();
    for number in 0..30 {
        let pupil = student(&format!("pupil-{number}"));
        class.spawn(Answer::to(broker.post("/token").bearer_auth(pupil)));
    }
    for answer in class.join_all().await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn operators_list_and_lift_blocks_with_a_command_beside_the_running_broker() {
    let simulator = simulator(&[]).await;
    let launch = Launch::serve(&simulator).env("BROKER_LEDGER__URL", "memory");
    let launch = launch.env("BROKER_OPS__TOKEN", TOKEN);
    let launch = launch.set("ops.listen", "127.0.0.1:0");
    let launch = launch.set("limits.token", "100/60s");
    let broker = launch.start().await;
    let ready = broker.running.logged(|line| line["message"] == "ready");
    let operators = ready.await["operators"].as_str().unwrap().to_owned();
    let listen = operators.strip_prefix("http://").unwrap().to_owned();
    let blocks = async |arguments: &[&str]| {
        let command = Launch::of(&[&["blocks"][..], arguments].concat());
        let command = command.env("BROKER_OPS__TOKEN", TOKEN);
        let ended = command.set("ops.listen", &listen).finish().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.out
    };
    assert!(blocks(&[]).await.contains("nobody is blocked"));
    for _ in 0..12 {
        offend(&broker).await;
    }
    let refused = Answer::to(broker.post("/token")).await;
    refused.is(429, "blocked");
    let found = blocks(&[]).await;
    assert!(found.contains("127.0.0.1/32"), "{found}");
    let json: Value = serde_json::from_str(&blocks(&["--json"]).await).unwrap();
    assert_eq!(json["blocks"][0]["who"], "127.0.0.1/32");
    assert!(blocks(&["--lift", "127.0.0.1"]).await.contains("lifted"));
    assert_eq!(Answer::to(broker.post("/token")).await.status, 200);
    assert!(
        blocks(&["--lift", "127.0.0.1"])
            .await
            .contains("not blocked")
    );
    // Without a token there is no such listener, and the command says so.
    let ended = Launch::of(&["blocks"]).finish().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("ops.token is not set"), "{ended:?}");
    let stranger = client().get(format!("{operators}/blocks"));
    Answer::to(stranger).await.is(401, "unauthorized");
}
