//! What is said through a relay stays out of every log line, at every level, and out of the ledger's files.

use serde_json::json;
use token_broker::simulator::Turn;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::super::ledger_file::Books;
use super::{Client, ask, session};
use crate::kit::executable::Launch;
use crate::kit::provider::{KEY, simulator};
use crate::kit::waiting::until;
use crate::secrecy::{INSTRUCTIONS, PERSONAS, assert_kept, whole_log};

/// What the client and the model say, how both close, and what each of them breaks.
const SAID: [&str; 9] = [
    "canary-transcript-11aa",
    "canary-tool-22bb",
    "canary-typed-33cc",
    "canary-refused-44dd",
    "canary-id-55ee",
    "canary-audio-66ff",
    "canary-junk-7700",
    "canary-goodbye-8811",
    "canary-query-9922",
];

#[tokio::test]
async fn ob01_nothing_that_is_said_through_a_relay_stands_in_a_log_or_in_a_file() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let broker = books
        .with(Launch::serve(&simulator))
        .file("personas.toml", PERSONAS)
        .env("RUST_LOG", "trace")
        .set("personas.file", "personas.toml")
        .start()
        .await;
    let mut client = Client::of(&broker).await;
    let created = client.hear("session.created").await;
    let id = session(&simulator).id;
    assert_eq!(created["session"]["id"], json!(id));
    let item = |text: &str| json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]});
    for event in [
        json!({"type": "conversation.item.create", "event_id": SAID[4], "item": item(SAID[2])}),
        json!({"type": SAID[3], "event_id": SAID[4], "x": SAID[3]}),
        json!({"type": "session.update", "session": {"type": "realtime", "instructions": SAID[3]}}),
        json!({"type": "input_audio_buffer.append", "audio": SAID[5]}),
    ] {
        client.say(&event).await;
    }
    for turn in [
        Turn::Say(SAID[0].to_owned()),
        Turn::Tool(SAID[1].to_owned()),
        Turn::Fail,
    ] {
        simulator.calls().play(&id, &turn);
    }
    simulator
        .calls()
        .tell_side_channels(&id, &format!("{{ {} }}", SAID[6]));
    client.turn().await;
    let frame = CloseFrame {
        code: 4000.into(),
        reason: SAID[7].into(),
    };
    client.0.close(Some(frame)).await.unwrap();
    until("the end", || broker.events("call_ended").len() == 1).await;
    // One ends by its junk, one by the provider, and one does not begin.
    let mut other = Client::of(&broker).await;
    other.send(SAID[6]).await;
    other.end().await;
    let mut third = Client::of(&broker).await;
    let created = third.hear("session.created").await;
    let id = created["session"]["id"].as_str().unwrap();
    simulator.calls().close_for(id, Some((1011, SAID[7])));
    third.end().await;
    let path = format!("/v1/realtime?model={}", SAID[8]);
    assert_eq!(ask(&broker, &path).send().await.unwrap().status(), 400);
    until("all ends", || broker.events("call_ended").len() == 3).await;

    let log = whole_log(broker).await;
    let files = books.files();
    assert!(files.iter().any(|(_, text)| text.contains(id)) && log.contains(id));
    let secrets = [&SAID[..], &[INSTRUCTIONS, KEY]].concat();
    assert_kept(&secrets, &[("the log", log)]);
    assert_kept(&secrets, &files);
}
