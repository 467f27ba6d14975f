//! Transcriptions by the real executable and the simulated provider: rows of the acceptance matrix (TR), and OpenAI's SDKs.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use token_broker::simulator::Simulator;
use tokio::process::Command;

use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch};
use crate::kit::programs::{installed, program, run};
use crate::kit::provider::simulator;
use crate::nginx_front::Front;

const PATH: &str = "/v1/audio/transcriptions";

/// A broker that transcribes, before a provider that fails as planned.
async fn pair(faults: &[&str]) -> (Simulator, Broker) {
    let simulator = simulator(faults).await;
    let models = "gpt-4o-mini-transcribe,gpt-4o-transcribe,whisper-1";
    let launch = Launch::serve(&simulator).set("transcription.models", models);
    let broker = launch.set("call.max_live_network", "100").start().await;
    (simulator, broker)
}

fn form(fields: &[(&str, &str)], audio: &[u8]) -> Vec<u8> {
    let mut form =
        b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n"
            .to_vec();
    form.extend_from_slice(audio);
    for (name, value) in fields {
        let part =
            format!("\r\n--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}");
        form.extend_from_slice(part.as_bytes());
    }
    form.extend_from_slice(b"\r\n--XX--\r\n");
    form
}

fn post(broker: &Broker, fields: &[(&str, &str)], audio: &[u8]) -> reqwest::RequestBuilder {
    let post = broker.post(PATH).body(form(fields, audio));
    post.header(CONTENT_TYPE, "multipart/form-data; boundary=XX")
}

/// What the provider has received: fields and file of each request.
fn received(simulator: &Simulator) -> Vec<Value> {
    let requests = simulator.calls().requests();
    requests
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect()
}

/// Waits for so many booked transcriptions, and returns their details.
async fn booked(broker: &Broker, number: usize) -> Vec<Value> {
    crate::kit::waiting::until("the use is booked", || {
        broker.events("transcribed").len() >= number
    })
    .await;
    let events = broker.events("transcribed");
    events
        .iter()
        .map(|event| event["details"].clone())
        .collect()
}

#[tokio::test]
async fn tr1_the_provider_gets_every_byte_of_a_mebibyte_and_the_figures_are_its_own() {
    let (simulator, broker) = pair(&[]).await;
    let audio: Vec<u8> = (0..=255).rev().cycle().take(1024 * 1024).collect();
    let answer = Answer::to(post(&broker, &[("model", "gpt-4o-transcribe")], &audio)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.json["text"],
        "Simulated transcript of 1048576 bytes."
    );
    let hash = STANDARD.encode(digest(&SHA256, &audio));
    let expected = json!({
        "fields": { "model": "gpt-4o-transcribe" },
        "file": { "name": "recording.wav", "type": "audio/wav", "bytes": audio.len(), "sha256": hash },
    });
    assert_eq!(received(&simulator), [expected]);
    // 33 seconds at 32 kB/s are 330 tokens; five words are five.
    let details = &booked(&broker, 1).await[0];
    assert_eq!(
        (&details["mark"], &details["seconds"]),
        (&"measured".into(), &33.into())
    );
    assert_eq!(details["cost"], "0.000875");
}

#[tokio::test]
async fn tr2_a_stream_begins_long_before_it_ends_and_passes_byte_for_byte() {
    let (_simulator, broker) = pair(&[]).await;
    let fields = [("stream", "true"), ("model", "gpt-4o-transcribe")];
    let mut response = post(&broker, &fields, &vec![0; 64_000])
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
    let mut pieces = Vec::new();
    while let Some(piece) = response.chunk().await.unwrap() {
        pieces.push(String::from_utf8(piece.to_vec()).unwrap());
    }
    assert!(!pieces[0].contains("transcript.text.done"), "{pieces:?}");
    let text = pieces.concat();
    let events = text
        .split_terminator("\n\n")
        .map(|event| event.strip_prefix("data: ").unwrap());
    let events: Vec<Value> = events
        .map(|event| serde_json::from_str(event).unwrap())
        .collect();
    let words = events.iter().filter_map(|event| event["delta"].as_str());
    assert_eq!(
        words.collect::<String>(),
        "Simulated transcript of 64000 bytes."
    );
    assert_eq!(events.last().unwrap()["usage"]["input_tokens"], 20);
    assert_eq!(booked(&broker, 1).await[0]["mark"], "measured");
}

#[tokio::test]
async fn tr6_a_stream_without_its_last_event_and_a_document_without_figures_are_estimated() {
    let (_simulator, broker) = pair(&["transcribe+no-usage"]).await;
    for fields in [&[("stream", "true")][..], &[]] {
        let answer = Answer::to(post(&broker, fields, &vec![0; 64_000])).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    for details in booked(&broker, 2).await {
        assert_eq!(details["mark"], "estimated", "{details}");
    }
}

#[tokio::test]
async fn tr8_a_busy_provider_keeps_its_wait_and_one_that_cuts_its_answer_cuts_ours() {
    let faults = [
        "transcribe+1x429:7",
        "transcribe+1x400",
        "transcribe+1xtruncated",
    ];
    let (_simulator, broker) = pair(&faults).await;
    let ask = || post(&broker, &[], &vec![0; 64_000]);
    let busy = Answer::to(ask()).await;
    busy.is(503, "upstream_unavailable");
    assert_eq!(busy.retry_after(), 7);
    Answer::to(ask()).await.is(422, "recording_refused");
    assert!(
        Answer::to_any(ask()).await.is_none(),
        "it must not look complete"
    );
    assert_eq!(booked(&broker, 1).await[0]["mark"], "estimated");
}

#[tokio::test]
async fn what_is_text_says_that_it_is_utf_8() {
    let (_simulator, broker) = pair(&[]).await;
    let fields = [("response_format", "text"), ("model", "whisper-1")];
    let answer = Answer::to(post(&broker, &fields, &vec![0; 64_000])).await;
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
}

#[tokio::test]
async fn the_lines_about_refused_recordings_are_folded() {
    let (_simulator, broker) = pair(&["transcribe+400"]).await;
    for _ in 0..40 {
        let refused = Answer::to(post(&broker, &[], &[0; 100])).await;
        refused.is(422, "recording_refused");
    }
    let ended = broker.stop().await;
    let lines = (ended.out + &ended.err)
        .matches("provider refused a recording,")
        .count();
    assert!((1..40).contains(&lines), "{lines} lines");
}

#[tokio::test]
async fn ob1_neither_the_recording_nor_what_was_said_is_ever_logged() {
    let simulator = simulator(&["transcribe+1x400", "transcribe+1x503"]).await;
    let launch = Launch::serve(&simulator).set("transcription.models", "whisper-1");
    let broker = launch.env("RUST_LOG", "trace").start().await;
    let prompt = "canary-prompt-5e2d";
    for status in [422, 503, 200] {
        let fields = [("prompt", prompt), ("response_format", "verbose_json")];
        let answer = Answer::to(post(&broker, &fields, b"canary-audio-77ab")).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let details = booked(&broker, 1).await;
    let ended = broker.stop().await;
    let said = ended.out + &ended.err;
    assert!(
        said.contains("transcribed") && !said.contains("canary"),
        "{details:?}"
    );
    assert!(!said.contains("Simulated transcript"));
}

/// The client secret of a persona that only transcribes opens such a session at the provider.
#[tokio::test]
async fn a_persona_that_only_transcribes_gives_client_secrets_of_its_kind() {
    let simulator = simulator(&[]).await;
    let persona = "[default]\npublic = true\nconnect = [\"direct\"]\n[default.session]\ntype = \"transcription\"\n\
         audio.input.transcription = { model = \"gpt-4o-transcribe\", language = \"es\" }\n";
    let launch = Launch::serve(&simulator).set("personas.file", "dictation.toml");
    let broker = launch.file("dictation.toml", persona).start().await;
    let answer = Answer::to(broker.post("/v1/realtime/client_secrets")).await;
    answer.secret();
    assert_eq!(answer.json["session"]["type"], "transcription");
    let sent: Value = serde_json::from_slice(&simulator.requests()[0].body).unwrap();
    assert_eq!(sent["session"]["type"], "transcription");
    assert_eq!(
        sent["session"]["audio"]["input"]["transcription"]["language"],
        "es"
    );
}

/// Runs a script of an SDK, which transcribes once whole and once as a stream, and is refused a model.
async fn transcribes(mut command: Command, broker: &Broker) {
    let (succeeded, out, err) = run(&mut command).await;
    assert!(succeeded, "{out}{err}");
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 4, "{out}{err}");
    let text = "Simulated transcript of 64000 bytes.";
    assert_eq!(
        (&lines[0]["text"], &lines[0]["seconds"]),
        (&text.into(), &Value::Null)
    );
    assert_eq!(
        lines[1],
        json!({ "deltas": 5, "text": text, "input_tokens": 20 })
    );
    assert_eq!(lines[2]["text"], format!("{text}\n"));
    assert_eq!(
        (&lines[3]["status"], &lines[3]["code"]),
        (&403.into(), &"model_not_allowed".into())
    );
    assert_eq!(booked(broker, 3).await.len(), 3);
}

fn script(name: &str) -> String {
    let place = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/sdk");
    place.join(name).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_python_sdk_transcribes_with_nothing_changed_but_its_base_url() {
    let (_simulator, broker) = pair(&[]).await;
    let mut command = program(installed("python/bin/python"));
    command.args([&script("transcribe.py"), &broker.url("/v1"), "not-a-key"]);
    transcribes(command, &broker).await;
}

#[tokio::test]
async fn the_node_sdk_transcribes_with_nothing_changed_but_its_base_url() {
    let (_simulator, broker) = pair(&[]).await;
    let modules = installed("node/node_modules/openai");
    let modules = modules.parent().unwrap().to_str().unwrap();
    let mut command = program(installed("node/node"));
    command.args([
        &script("transcribe.mjs"),
        modules,
        &broker.url("/v1"),
        "not-a-key",
    ]);
    transcribes(command, &broker).await;
}

#[tokio::test]
async fn behind_nginx_a_recording_beyond_other_bodies_passes_and_its_stream_begins_before_it_ends()
{
    let front = Front::with(&[("transcription.models", "gpt-4o-transcribe")], &[]).await;
    let audio = vec![0; 3 * 1024 * 1024];
    let ask = |path: &str| front.post(path).body(form(&[("stream", "true")], &audio));
    let ask = |path: &str| ask(path).header(CONTENT_TYPE, "multipart/form-data; boundary=XX");
    let mut response = ask(PATH).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let first = response.chunk().await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&first).contains("transcript.text.done"));
    while response.chunk().await.unwrap().is_some() {}
    assert_eq!(received(&front.simulator)[0]["file"]["bytes"], audio.len());
    // Other paths take no such bodies.
    assert_eq!(Answer::to(ask("/token")).await.status, 413);
}

#[tokio::test]
async fn behind_nginx_and_a_base_path_a_recording_passes_too() {
    let settings = [
        ("transcription.models", "gpt-4o-transcribe"),
        ("server.base_path", "/api/voice-agent"),
    ];
    let front = Front::with(&settings, &[]).await;
    let ask = front
        .post("/api/voice-agent/v1/audio/transcriptions")
        .body(form(&[], &vec![0; 1024 * 1024]))
        .header(CONTENT_TYPE, "multipart/form-data; boundary=XX");
    let answer = Answer::to(ask).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}
