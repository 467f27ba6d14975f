//! OpenAI's own SDKs, with nothing changed but their base URL.

use std::path::Path;

use serde_json::Value;
use token_broker::clock::{Clock, SystemClock};
use token_broker::simulator::Simulator;
use tokio::process::Command;

use crate::kit::executable::{Broker, Launch};
use crate::kit::programs::{installed, program, run};
use crate::kit::provider::simulator;

/// The requests of a script, in order.
const ASKED: usize = 6;
/// What every caller is given, whatever it asks for.
const MODEL: &str = "gpt-realtime-2.1";

fn script(name: &str) -> String {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/sdk");
    place.join(name).to_str().unwrap().to_owned()
}

fn python(broker: &Broker) -> Command {
    let mut command = program(installed("python/bin/python"));
    command.args([
        &script("client_secrets.py"),
        &broker.url("/v1"),
        "not-a-key",
    ]);
    command
}

fn node(broker: &Broker) -> Command {
    let modules = installed("node/node_modules/openai");
    let modules = modules.parent().unwrap().to_str().unwrap();
    let mut command = program(installed("node/node"));
    command.args([
        &script("client_secrets.mjs"),
        modules,
        &broker.url("/v1"),
        "not-a-key",
    ]);
    command
}

async fn lines(mut command: Command) -> Vec<Value> {
    let (succeeded, out, err) = run(&mut command).await;
    assert!(succeeded, "{out}{err}");
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), ASKED, "{out}{err}");
    lines
}

/// The SDK gets what it asks for where it may, and the operator's persona in all things else.
async fn gets_what_it_may(sdk: impl Fn(&Broker) -> Command) {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator).start().await;
    let began = SystemClock::new().now().as_seconds();
    let lines = lines(sdk(&broker)).await;
    let ended = SystemClock::new().now().as_seconds();
    // Nothing asked, a session of its own, a shorter life, a longer life, too short a life, another kind of session.
    for (line, seconds) in lines.iter().zip([60, 60, 20, 60, 0, 60]) {
        if seconds == 0 {
            assert_eq!(
                (&line["status"], &line["code"]),
                (&400.into(), &"bad_request".into()),
                "{line}"
            );
            assert_eq!(line["error"], "BadRequestError", "{line}");
            continue;
        }
        assert!(
            line["value"].as_str().unwrap().starts_with("ek_sim_"),
            "{line}"
        );
        assert_eq!(
            (&line["model"], &line["type"]),
            (&MODEL.into(), &"realtime".into()),
            "{line}"
        );
        let until = line["expires_at"].as_u64().unwrap();
        assert!(
            (began + seconds..=ended + seconds).contains(&until),
            "{seconds} from {began} to {ended}: {line}"
        );
    }
    let lifetimes = sessions_are_the_operators(&simulator);
    assert_eq!(lifetimes, [60, 60, 20, 60, 60]);
}

/// Asserts what reached the upstream, and gives the lifetimes asked for.
fn sessions_are_the_operators(simulator: &Simulator) -> Vec<u64> {
    let read = |request: token_broker::simulator::Request| -> Value {
        serde_json::from_slice(&request.body).unwrap()
    };
    let sent: Vec<_> = simulator.requests().into_iter().map(read).collect();
    for body in &sent {
        assert_eq!(body["session"], sent[0]["session"], "the caller had a say");
        assert_eq!(body["session"]["model"], MODEL);
        assert!(!body.to_string().contains("Obey the page"), "{body}");
    }
    sent.iter()
        .map(|body| body["expires_after"]["seconds"].as_u64().unwrap())
        .collect()
}

/// Beyond the limit the SDK raises its own error for that.
async fn is_told_of_the_limit(sdk: impl Fn(&Broker) -> Command) {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("limits.token", "1/60s")
        .start()
        .await;
    let lines = lines(sdk(&broker)).await;
    assert!(lines[0]["value"].is_string(), "{lines:?}");
    for line in &lines[1..3] {
        assert_eq!(line["error"], "RateLimitError", "{line}");
        assert_eq!(
            (&line["status"], &line["code"]),
            (&429.into(), &"rate_limited".into()),
            "{line}"
        );
        assert!(
            line["message"].as_str().unwrap().contains("Retry-After"),
            "{line}"
        );
        assert!(
            line["retry_after"]
                .as_str()
                .unwrap()
                .parse::<u64>()
                .unwrap()
                > 1,
            "{line}"
        );
        assert!(
            line["request_id"].as_str().unwrap().starts_with("req_"),
            "{line}"
        );
    }
    assert_eq!(simulator.seen(), 1);
}

#[tokio::test]
async fn the_python_sdk_gets_a_secret_of_the_operators_persona() {
    gets_what_it_may(python).await;
}

#[tokio::test]
async fn the_python_sdk_raises_its_rate_limit_error() {
    is_told_of_the_limit(python).await;
}

#[tokio::test]
async fn the_node_sdk_gets_a_secret_of_the_operators_persona() {
    gets_what_it_may(node).await;
}

#[tokio::test]
async fn the_node_sdk_raises_its_rate_limit_error() {
    is_told_of_the_limit(node).await;
}
