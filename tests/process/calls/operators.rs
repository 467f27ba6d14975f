//! `token-broker calls`: operators see the calls of a running broker, and hang them up.

use serde_json::Value;

use super::{Up, serve};
use crate::kit::executable::{Broker, Launch, student};
use crate::kit::provider::simulator;
use crate::ledger_file::Books;

const TOKEN: &str = "operators-token-that-is-long-enough";

/// Runs `token-broker calls` beside the broker.
async fn calls(broker: &Broker, arguments: &[&str]) -> crate::kit::executable::Ended {
    let ready = broker.running.logged(|line| line["message"] == "ready");
    let operators = ready.await["operators"].as_str().unwrap().to_owned();
    let command = Launch::of(&[&["calls"][..], arguments].concat());
    let command = command.env("BROKER_OPS__TOKEN", TOKEN);
    let listen = operators.strip_prefix("http://").unwrap();
    command.set("ops.listen", listen).finish().await
}

async fn done(broker: &Broker, arguments: &[&str]) -> String {
    let ended = calls(broker, arguments).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.out
}

#[tokio::test]
async fn ob06_operators_list_calls_and_hang_them_up_with_a_command_beside_the_running_broker() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let launch = serve(&books, &simulator).env("BROKER_OPS__TOKEN", TOKEN);
    let broker = launch.set("ops.listen", "127.0.0.1:0").start().await;
    assert!(done(&broker, &[]).await.contains("there is no call"));
    let mut up = Vec::new();
    for name in ["ana", "ben", "cem"] {
        up.push(Up::of(&broker, &student(name)).await);
    }
    let listed = done(&broker, &[]).await;
    for (call, name) in up.iter().zip(["ana", "ben", "cem"]) {
        let line = listed.lines().find(|line| line.contains(&call.id)).unwrap();
        assert!(line.contains(name) && line.contains("open"), "{listed}");
    }
    let one = done(&broker, &["hangup", &up[0].id]).await;
    assert!(one.contains("calls hung up: 1"), "{one}");
    assert!(!up[0].seen(&simulator).is_open);
    assert_eq!(up[0].reason(&broker).await, "operator");
    let json: Value = serde_json::from_str(&done(&broker, &["--json"]).await).unwrap();
    let rows = json["calls"].as_array().unwrap();
    let states: Vec<_> = rows.iter().map(|row| &row["state"]).collect();
    // The latest first.
    assert_eq!(states, ["open", "open", "ended"]);
    assert_eq!(rows[2]["reason"], "operator");
    let all = done(&broker, &["hangup", "--all", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&all).unwrap()["ended"], 2);
    assert_eq!(simulator.calls().open(), 0);
    assert_eq!(simulator.calls().hang_ups().len(), 3);
    // What is over is not hung up again, and what there never was neither.
    for id in [up[0].id.as_str(), "rtc_unknown"] {
        let none = done(&broker, &["hangup", id]).await;
        assert!(none.contains("calls hung up: 0"), "{none}");
    }
    for wrong in [&["hangup"][..], &["hangup", "rtc_a", "--all"]] {
        assert_eq!(calls(&broker, wrong).await.code, Some(2), "{wrong:?}");
    }
    broker.stop().await;
}
