//! Transcriptions as callers meet them: rows of the acceptance matrix by their names (TR).

mod answers;
mod limits;
mod uploads;

use serde_json::{Value, json};
use token_broker::records::{By, UsageQuery, UsageRow};

use crate::kit::in_process::{Call, START, TestApp};
use crate::kit::waiting::{SOON, eventually};

/// OpenAI's path.
const PATH: &str = "/v1/audio/transcriptions";
/// An answer with figures.
const DONE: &str = r#"{"text":"Hello there","usage":{"type":"tokens","input_tokens":30,"output_tokens":4,"total_tokens":34,"input_token_details":{"text_tokens":0,"audio_tokens":30}}}"#;

/// With two models, of which the first is the usual one, and these settings.
fn app(settings: &[(&str, &str)]) -> TestApp {
    of("", settings)
}

fn of(file: &str, settings: &[(&str, &str)]) -> TestApp {
    let models = [(
        "transcription.models",
        "gpt-4o-mini-transcribe,gpt-4o-transcribe,whisper-1,unpriced",
    )];
    TestApp::of(file, &[&models, settings].concat())
}

/// A form with these fields before the file.
fn form(fields: &[(&str, &str)], (name, audio): (&str, &[u8])) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, value) in fields {
        let part =
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        form.extend_from_slice(part.as_bytes());
    }
    let head = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
    );
    form.extend_from_slice(head.as_bytes());
    form.extend_from_slice(audio);
    form.extend_from_slice(b"\r\n--XX--\r\n");
    form
}

/// Posts a recording of two seconds with these fields.
fn post(app: &TestApp, fields: &[(&str, &str)]) -> Call {
    send(app, form(fields, ("a.webm", &[7; 8_000])))
}

fn send(app: &TestApp, body: impl Into<axum::body::Body>) -> Call {
    app.post(PATH)
        .body("multipart/form-data; boundary=XX", body)
}

/// The report by model.
async fn used(app: &TestApp) -> Vec<UsageRow> {
    let query = UsageQuery {
        by: By::Model,
        since: START,
        most: 100,
    };
    app.ledger.usage(query).await.unwrap()
}

/// Waits until so many transcriptions are booked, and returns what the audit log says of the last one.
async fn booked(app: &TestApp, number: usize) -> Value {
    eventually("the use is booked", SOON, async || {
        app.events("transcribed").len() >= number
    })
    .await;
    app.events("transcribed")[number - 1]["details"].clone()
}

#[tokio::test]
async fn tr1_a_recording_reaches_the_provider_as_it_is_and_its_use_is_settled_by_type() {
    let app = app(&[]);
    let audio: Vec<u8> = (0..=255).cycle().take(1024 * 1024).collect();
    app.calls.recordings.answer_with("application/json", DONE);
    let fields = [
        ("model", "gpt-4o-transcribe"),
        ("language", "es"),
        ("prompt", "canary 7f3a"),
    ];
    let answer = send(&app, form(&fields, ("talk.mp3", &audio))).send().await;
    assert_eq!((answer.status, &*answer.text), (200, DONE), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(
        answer
            .header("server-timing")
            .unwrap()
            .contains("upstream;dur=")
    );

    let received = &app.calls.recordings.received()[0];
    let passed: Vec<_> = received
        .fields
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    assert_eq!(passed, fields);
    assert_eq!(received.format.unwrap().ending, "mp3");
    assert!(received.audio == audio && received.is_complete);

    // 30 tokens of audio at 2.50 dollars a million, and 4 of text at 10.
    let details = booked(&app, 1).await;
    let expected = json!({
        "model": "gpt-4o-transcribe", "seconds": 3, "cost": "0.000115", "mark": "measured",
        "upstream_ms": details["upstream_ms"],
    });
    assert_eq!(details, expected);
    let rows = used(&app).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].model.as_deref(), Some("gpt-4o-transcribe"));
    let sums = [
        "fresh_audio",
        "output_text",
        "nanodollars",
        "estimated_nanodollars",
    ];
    assert_eq!(sums.map(|name| rows[0].sums.get(name)), [30, 4, 115_000, 0]);
    assert!(!format!("{:?}", app.all_events()).contains("canary"));
}

#[tokio::test]
async fn the_body_alone_is_a_recording_at_our_own_path_and_the_first_model_is_the_usual_one() {
    let app = app(&[]);
    app.calls.recordings.answer_with("text/plain", "Hello");
    let asked = app.post("/transcribe?language=de&response_format=text&stream=false");
    let answer = asked
        .body("audio/ogg;codecs=opus", vec![1_u8; 5_000])
        .send()
        .await;
    assert_eq!((answer.status, &*answer.text), (200, "Hello"), "{answer:?}");
    let received = &app.calls.recordings.received()[0];
    let expected = [
        ("language", "de".to_owned()),
        ("response_format", "text".to_owned()),
        ("stream", "false".to_owned()),
        ("model", "gpt-4o-mini-transcribe".to_owned()),
    ];
    assert_eq!(received.fields, expected);
    assert_eq!(
        (received.audio.len(), received.format.unwrap().ending),
        (5_000, "ogg")
    );
}

#[tokio::test]
async fn without_models_there_are_no_such_paths_and_the_contract_names_none() {
    let app = TestApp::new();
    for path in ["/transcribe", PATH] {
        app.post(path).send().await.is(404, "not_found");
    }
    let contract = app.get("/openapi.json").send().await;
    assert!(!contract.text.contains("/transcribe"));
}
