//! Relays that only transcribe: `?intent=transcription`, as the persona says.

use serde_json::{Value, json};
use token_broker::simulator::{Simulator, Turn};

use super::sdks::has_a_turn;
use super::{Client, ask, received, session};
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch};
use crate::kit::provider::simulator;
use crate::kit::waiting::until;

/// Transcribes Spanish. Nobody else than the persona chooses the model.
const PERSONAS: &str = r#"
[default]
public = true
connect = ["direct", "relay"]
[default.session]
type = "transcription"
audio.input.transcription = { model = "gpt-4o-transcribe", language = "es" }

[talk]
public = true
[talk.session]
model = "gpt-realtime-2.1"
max_output_tokens = 100
"#;
const CAPTIONS: &str = "/v1/realtime?intent=transcription";

async fn pair(settings: &[(&str, &str)]) -> (Simulator, Broker) {
    let simulator = simulator(&[]).await;
    let launch = Launch::serve(&simulator).file("personas.toml", PERSONAS);
    let launch = settings
        .iter()
        .fold(launch, |launch, (name, value)| launch.set(name, value));
    let broker = launch.set("personas.file", "personas.toml").start().await;
    (simulator, broker)
}

/// What the provider is told of the transcription.
fn asked(transcription: &Value) -> Value {
    json!({"type": "session.update", "session": {"type": "transcription",
        "audio": {"input": {"transcription": transcription, "turn_detection": null}}}})
}

#[tokio::test]
async fn re32_a_session_that_only_transcribes_runs_as_its_persona_says_and_is_paid_for() {
    // The hold is the price of a minute.
    let (simulator, broker) = pair(&[("money.per_day", "0.05")]).await;
    for path in [CAPTIONS, "/v1/realtime"] {
        let (mut client, _) = Client::with(&broker, path, &[]).await;
        let created = client.hear("session.created").await;
        assert_eq!(created["session"]["type"], "transcription", "{path}");
        client.0.close(None).await.unwrap();
    }
    let joined = simulator.calls().requests();
    let paths: Vec<_> = joined.iter().map(|request| &*request.path).collect();
    assert_eq!(paths, [CAPTIONS; 2]);
    until("both ends", || broker.events("call_ended").len() == 2).await;
    let (mut client, _) = Client::with(&broker, CAPTIONS, &[]).await;
    let created = client.hear("session.created").await;
    let input = &created["session"]["audio"]["input"];
    assert_eq!(input["transcription"]["language"], "es");
    let id = created["session"]["id"].as_str().unwrap();
    simulator.calls().play(id, &Turn::Say("Hola.".to_owned()));
    client
        .hear("conversation.item.input_audio_transcription.completed")
        .await;
    client.0.close(None).await.unwrap();
    until("the end", || broker.events("call_ended").len() == 3).await;
    let ended = &broker.events("call_ended")[2]["details"];
    // 28 tokens of audio and 4 of text.
    assert_eq!(
        (&ended["cost"], &ended["turns"]),
        (&json!("0.00011"), &json!(0)),
        "{ended}"
    );
}

#[tokio::test]
async fn re32_a_client_chooses_no_other_transcription_than_its_persona() {
    let (simulator, broker) = pair(&[]).await;
    let (mut client, _) = Client::with(&broker, CAPTIONS, &[]).await;
    client.hear("session.created").await;
    let own = json!({"model": "gpt-4o-transcribe", "language": "de"});
    client.say(&asked(&own)).await;
    client.hear("session.updated").await;
    client.say(&asked(&json!({"model": "whisper-1"}))).await;
    client.hear("session.updated").await;
    client.say(&json!({"type": "response.create"})).await;
    client.hear("error").await;
    let mut left_out = asked(&Value::Null);
    let input = &mut left_out["session"]["audio"]["input"];
    input.as_object_mut().unwrap().remove("transcription");
    assert_eq!(received(&simulator)[..2], [asked(&own), left_out]);
    let shown = session(&simulator).session;
    let shown = &shown["audio"]["input"]["transcription"];
    assert_eq!(
        (&shown["model"], &shown["language"]),
        (&json!("gpt-4o-transcribe"), &json!("de"))
    );
}

#[tokio::test]
async fn re32_what_a_client_intends_has_to_be_what_the_persona_does() {
    let (simulator, broker) = pair(&[]).await;
    for (query, param) in [
        ("intent=transcription&persona=talk", "intent"),
        ("intent=conversation", "intent"),
        ("model=gpt-realtime-2.1", "session.model"),
    ] {
        let answer = Answer::to(ask(&broker, &format!("/v1/realtime?{query}"))).await;
        answer.is(400, "bad_request");
        assert_eq!(answer.json["error"]["param"], param, "{query}");
    }
    assert!(simulator.calls().all().is_empty());
}

#[tokio::test]
async fn re32_openais_python_sdk_reads_captions() {
    let (_simulator, broker) = pair(&[]).await;
    let heard = has_a_turn(&broker, ("python", "relay_captions.py"), "none").await;
    let last = json!({"transcript": "Simulated words."});
    assert_eq!(heard.last(), Some(&last), "{heard:?}");
}
