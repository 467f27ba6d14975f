//! Official clients on relays, with nothing changed but their base URL.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use token_broker::simulator::Simulator;
use tokio::process::Command;

use super::super::ledger_file::Books;
use super::{LONG, pair, received, session};
use crate::kit::executable::{Broker, Launch, student};
use crate::kit::programs::{free_address, installed, program};
use crate::kit::provider::simulator;
use crate::kit::waiting::eventually;

const KEY: &str = "service-key-of-the-tests-0123456789abcdef";
/// The hash is that of [`KEY`].
const PROGRAMS: &str = r#"
[auth]
mode = "required"
[[auth.service_keys]]
name = "agent"
key_sha256 = "c2f6544d6b3d061ca3b856d1b86c0db67254522f9da68d6f2bd9dc5463b45057"
[call]
persona = "free"
"#;
/// How long a script may take. A busy machine imports some frameworks for a minute.
const AGES: Duration = Duration::from_mins(5);
const MODEL: &str = "gpt-realtime-2.1";
const RELAY: (&str, &str) = ("connect.mode", "relay");

/// A script for Python below `tests/process/sdk`, with these arguments.
fn python(environment: &str, script: &str, arguments: &[&str]) -> Command {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/sdk");
    let mut command = program(installed(&format!("{environment}/bin/python")));
    command.arg(place.join(script)).args(arguments);
    command
}

fn lines(out: &str) -> Vec<Value> {
    let lines = out.lines().map(serde_json::from_str);
    lines.map(Result::unwrap).collect()
}

fn ticket(minted: &crate::kit::answer::Answer) -> String {
    minted.json["token"].as_str().unwrap().to_owned()
}

/// A script that talks to `broker` until it has had one turn.
pub async fn has_a_turn(
    broker: &Broker,
    (environment, script): (&str, &str),
    key: &str,
) -> Vec<Value> {
    let command = python(environment, script, &[&broker.url("/v1"), key, "1", MODEL]);
    let ended = Launch::from(command).spawn().end(AGES).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    lines(&ended.out)
}

#[tokio::test]
async fn re2_openais_python_sdk_has_a_turn_by_a_ticket() {
    let (simulator, broker) = pair(&[RELAY]).await;
    let key = ticket(&broker.token().await);
    let heard = has_a_turn(&broker, ("python", "relay.py"), &key).await;
    assert_eq!(heard[0], json!({"type": "session.created"}));
    let last = heard.last().unwrap();
    assert_eq!(last["status"], "completed", "{heard:?}");
    assert!(last["tokens"].as_u64().unwrap() > 0, "{heard:?}");
    let types: Vec<_> = received(&simulator)
        .iter()
        .map(|event| event["type"].clone())
        .collect();
    let expected = [
        "session.update",
        "conversation.item.create",
        "response.create",
    ];
    assert_eq!(types, expected);
}

#[tokio::test]
async fn re27_openais_python_sdk_goes_on_at_another_replica_when_one_stops() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let address = free_address().to_string();
    let launch = || {
        let launch = books.launch(&simulator).set(RELAY.0, RELAY.1);
        launch
            .set("server.drain_delay", "0s")
            .set("server.listen", &address)
    };
    let mut first = launch().start().await;
    let minted = first.token_as(&student("ana")).await;
    let (key, model) = (ticket(&minted), minted.json["session"]["model"].as_str());
    let arguments = [&*first.url("/v1"), &*key, "2", model.unwrap()];
    let command = python("python", "relay.py", &arguments);
    let mut talking = Launch::from(command).spawn();
    eventually("the first turn", AGES, async || {
        let said = talking.all_said();
        said.iter().any(|line| line.contains("completed"))
    })
    .await;
    first.running.signal("TERM");
    assert_eq!(first.running.end(LONG).await.code, Some(0));
    let _second = launch().start().await;
    let ended = talking.end(AGES).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let heard = lines(&ended.out);
    assert!(heard.contains(&json!({"again": 1012})), "{heard:?}");
    let turns = heard.iter().filter(|line| line["status"] == "completed");
    assert_eq!(turns.count(), 2, "{heard:?}");
}

/// A broker before `simulator` that knows one program by its key, with these settings.
async fn for_programs(simulator: &Simulator, settings: &[(&str, &str)]) -> Broker {
    let launch = Launch::of(&["serve", "--config", "settings.toml"]);
    let launch = launch.towards(&simulator.base_url());
    let launch = launch.file("settings.toml", PROGRAMS);
    settings
        .iter()
        .fold(launch, |launch, (name, value)| launch.set(name, value))
        .start()
        .await
}

#[tokio::test]
async fn re2_livekits_plugin_has_turns_by_a_service_key_and_a_free_persona() {
    let simulator = simulator(&[]).await;
    let broker = for_programs(&simulator, &[]).await;
    let script = ("livekit", "relay_livekit.py");
    let heard = has_a_turn(&broker, script, KEY).await;
    let turns = heard.iter().filter(|line| line["status"] == "completed");
    assert_eq!(turns.count(), 1, "{heard:?}");
    assert_eq!(heard.last().unwrap(), &json!({"over": false}));
    let types = received(&simulator);
    let has = |kind: &str| types.iter().any(|event| event["type"] == kind);
    assert!(has("session.update") && has("conversation.item.create"));
    assert_eq!(session(&simulator).session["instructions"], "Be brief.");
}

#[tokio::test]
#[ignore = "450 MB: scripts/test-tools.sh --pipecat"]
async fn re2_pipecats_service_has_a_turn_by_a_service_key_and_a_free_persona() {
    let simulator = simulator(&[]).await;
    let broker = for_programs(&simulator, &[]).await;
    let heard = has_a_turn(&broker, ("pipecat", "relay_pipecat.py"), KEY).await;
    assert_eq!(heard, [json!({"status": "completed"})]);
    assert_eq!(session(&simulator).session["instructions"], "Be brief.");
}

#[tokio::test]
async fn re25_livekits_plugin_stops_for_good_when_the_money_is_gone() {
    let simulator = simulator(&[]).await;
    let broker = for_programs(&simulator, &[("call.max_money", "0.1")]).await;
    let arguments = [&*broker.url("/v1"), KEY, "100"];
    let command = python("livekit", "relay_livekit.py", &arguments);
    let ended = Launch::from(command).spawn().end(AGES).await;
    let heard = lines(&ended.out);
    assert_eq!(heard.last(), Some(&json!({"over": true})), "{ended:?}");
    let told = heard.iter().filter(|line| line["recoverable"] == false);
    assert_eq!(told.count(), 1, "{heard:?}");
    assert_eq!(simulator.calls().all().len(), 1);
}
