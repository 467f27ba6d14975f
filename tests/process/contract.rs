//! The contract of the executable, `/openapi.json`, judged by schemathesis: what it describes is accepted, everything else
//! is refused, and each answer is one that it describes.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use token_broker::simulator::Simulator;

use crate::kit::executable::{Broker, Launch, student};
use crate::kit::issuer::unlimited;
use crate::kit::programs::{installed, program};
use crate::kit::provider::simulator;

/// Bound on one run, which takes about fifteen seconds on two quiet cores.
const BOUND: Duration = Duration::from_mins(4);

/// Settings under which nobody is limited or blocked, beside those of [`unlimited`].
const FREE: [(&str, &str); 12] = [
    ("compat.get_token", "true"),
    ("guard.failed_verifications", "1000000"),
    ("guard.threshold", "1000"),
    ("limits.anonymous_mints", "1000000/24h"),
    ("limits.anonymous_network", "100"),
    ("limits.identity_mints", "1000000/24h"),
    ("limits.refresh", "1000000/60s"),
    ("limits.refused_credentials", "1000000/60s"),
    ("limits.transcribe", "1000000/60s"),
    ("limits.verified_address", "1000000/60s"),
    ("call.max_live_network", "1000"),
    ("transcription.models", "gpt-4o-mini-transcribe,whisper-1"),
];

/// Starts a broker that limits nobody, unless `settings` say so.
async fn broker(simulator: &Simulator, settings: &[(&str, &str)]) -> Broker {
    let launch = Launch::of(&["serve", "--config", "settings.toml"])
        .towards(&simulator.base_url())
        .file("settings.toml", &unlimited());
    let all = FREE.iter().chain(settings);
    let launch = all.fold(launch, |launch, (name, value)| launch.set(name, value));
    launch.start().await
}

/// Runs schemathesis with all its checks against the broker. It must find nothing. Returns the statuses of the answers.
async fn judged(broker: &Broker, flags: &[&str]) -> BTreeSet<u64> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process");
    let (place, audio) = (
        folder.join("schemathesis.toml"),
        folder.join("schemathesis_audio.py"),
    );
    let mut command = program(installed("python/bin/python"));
    command
        .env("SCHEMATHESIS_HOOKS", audio)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(installed("python/bin/st"))
        .arg("--config-file")
        .arg(place)
        .args(["run", &broker.url("/openapi.json")])
        .args(flags);
    let ended = Launch::from(command).spawn().end(BOUND).await;
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    let answers = broker.running.log(|line| line["status"].is_u64());
    answers
        .iter()
        .filter_map(|line| line["status"].as_u64())
        .collect()
}

/// Asserts that schemathesis got to these statuses, so that it judged more than one kind of answer.
fn assert_seen(seen: &BTreeSet<u64>, statuses: &[u64]) {
    for status in statuses {
        assert!(seen.contains(status), "{status} is missing: {seen:?}");
    }
}

#[tokio::test]
async fn a16_without_identity_exactly_what_the_contract_describes_is_accepted() {
    let simulator = simulator(&[]).await;
    let broker = broker(&simulator, &[("auth.mode", "off")]).await;
    let seen = judged(&broker, &[]).await;
    assert_seen(&seen, &[200, 400, 404, 405, 415, 422]);
}

/// Without the credential, and with another one, each paid route answers 401.
#[tokio::test]
async fn a16_with_identity_exactly_what_the_contract_describes_is_accepted() {
    let simulator = simulator(&[]).await;
    let broker = broker(&simulator, &[]).await;
    let credential = format!("Authorization: Bearer {}", student("ana"));
    let seen = judged(&broker, &["--header", &credential]).await;
    assert_seen(&seen, &[200, 400, 401, 404, 405, 415, 422]);
}

#[tokio::test]
async fn a16_refusals_by_limits_and_failures_of_the_provider_are_answered_as_described() {
    let faults = ["2xhang", "2xgarbage", "3x503"];
    let simulator = simulator(&faults).await;
    let settings = [
        ("auth.mode", "optional"),
        ("limits.token", "100/60s"),
        ("limits.refresh", "10/60s"),
        ("upstream.connect_timeout", "100ms"),
        ("upstream.timeout", "100ms"),
    ];
    let broker = broker(&simulator, &settings).await;
    let seen = judged(&broker, &["--exclude-checks", "not_a_server_error"]).await;
    assert_seen(&seen, &[200, 400, 429, 502, 503, 504]);
}
