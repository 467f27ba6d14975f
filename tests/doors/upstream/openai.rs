//! What leaves for the upstream, and what is believed of its answers.

use serde_json::{Value, json};

use super::Door;
use crate::kit::provider::KEY;

#[tokio::test]
async fn the_request_of_a_mint_is_the_golden_one_and_passes_the_published_schema() {
    let door = Door::open().await;
    door.mint().await.unwrap();
    let sent = door.simulator.requests().pop().unwrap();
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    let golden: Value =
        serde_json::from_str(include_str!("../../contract/upstream-request.json")).unwrap();
    assert_eq!(body, golden);
    let schema: Value =
        serde_json::from_str(include_str!("../../contract/client-secrets.schema.json")).unwrap();
    let request =
        json!({ "$ref": "#/$defs/RealtimeCreateClientSecretRequest", "$defs": schema["$defs"] });
    jsonschema::validate(&request, &body).unwrap();
}

#[tokio::test]
async fn the_headers_are_those_of_today_and_the_key_is_not_among_what_is_shown() {
    let door = Door::with(&[
        ("upstream.organization", "org-1"),
        ("upstream.project", "proj-1"),
    ])
    .await;
    door.mint().await.unwrap();
    let sent = door.simulator.requests().pop().unwrap();
    let header = |name: &str| {
        sent.headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(header("content-type").as_deref(), Some("application/json"));
    assert_eq!(header("openai-organization").as_deref(), Some("org-1"));
    assert_eq!(header("openai-project").as_deref(), Some("proj-1"));
    assert_eq!(header("openai-beta"), None);
    assert!(
        header("user-agent")
            .unwrap()
            .starts_with("realtime-token-broker/")
    );
    assert!(!format!("{sent:?}").contains(KEY));
}

#[tokio::test]
async fn the_safety_identifier_is_stable_hashed_and_short_enough() {
    let door = Door::open().await;
    door.mint().await.unwrap();
    door.mint().await.unwrap();
    let identifier = |place: usize| {
        let sent = &door.simulator.requests()[place];
        sent.headers
            .get("openai-safety-identifier")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(identifier(0), identifier(1));
    assert!(identifier(0).len() <= 64 && !identifier(0).contains("203.0.113"));
    let other_key = Door::with(&[("upstream.api_key", "sk-other")]).await;
    let _ = other_key.mint().await;
    let theirs = other_key.simulator.requests().pop().unwrap();
    assert_ne!(
        theirs.headers.get("openai-safety-identifier").unwrap(),
        identifier(0).as_str()
    );
}

#[tokio::test]
async fn the_secret_and_its_summary_come_back_and_expire_by_our_own_clock() {
    let door = Door::open().await;
    let secret = door.mint().await.unwrap();
    assert!(secret.expose().starts_with("ek_sim_"));
    assert!(
        (59..=60).contains(&secret.seconds_left(token_broker::clock::Clock::tick(&*door.clock)))
    );
    assert_eq!(
        secret.upstream_session.model.as_deref(),
        Some("gpt-realtime-2.1")
    );
    assert_eq!(secret.upstream_session.voice.as_deref(), Some("marin"));
    assert!(secret.upstream_session.id.unwrap().starts_with("sess_"));
}

#[tokio::test]
async fn one_connection_serves_many_mints() {
    let door = Door::open().await;
    for _ in 0..20 {
        door.mint().await.unwrap();
    }
    assert_eq!(
        (door.simulator.minted(), door.simulator.connections()),
        (20, 1)
    );
}

#[tokio::test]
async fn a_look_costs_nothing_and_tells_the_time() {
    let door = Door::open().await;
    let probe = door.look().await.unwrap();
    assert!(probe.upstream_time.is_some() && probe.refusal.is_none());
    assert_eq!(door.simulator.seen(), 0);
}
