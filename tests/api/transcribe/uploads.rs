//! Uploads: what is passed on, what is refused, and when.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::{DONE, PATH, app, booked, form, post, send, used};
use crate::kit::in_process::TestApp;
use crate::kit::waiting::{SOON, eventually, until};

/// Most bytes of a recording.
const LARGEST: usize = 25 * 1024 * 1024;

/// A body that is sent in pieces without its length, and never ends.
fn endless(begin: &[u8]) -> Body {
    let pieces = stream::iter(
        begin
            .chunks(16 * 1024)
            .map(Bytes::copy_from_slice)
            .collect::<Vec<_>>(),
    );
    let pieces = pieces.map(Ok::<_, std::io::Error>).chain(stream::pending());
    Body::from_stream(pieces)
}

#[tokio::test]
async fn tr4_twenty_five_mebibytes_pass_and_a_byte_more_is_refused_before_the_upload_ends() {
    let app = app(&[]);
    app.calls.recordings.answer_with("application/json", DONE);
    let whole = form(&[], ("a.wav", &vec![0; LARGEST]));
    assert_eq!(send(&app, whole).send().await.status, 200);
    booked(&app, 1).await;

    let larger = form(&[], ("a.wav", &vec![0; LARGEST + 1]));
    let refused = send(&app, endless(&larger)).send().await;
    refused.is(413, "recording_too_large");
    assert_eq!(refused.header("connection"), Some("close"));
    // A length that is announced is refused before anything is read, and before anything is held.
    let announced = form(&[], ("a.wav", &vec![0; LARGEST + 256 * 1024]));
    send(&app, announced)
        .send()
        .await
        .is(413, "recording_too_large");
    let raw = app
        .post("/transcribe")
        .body("audio/wav", vec![0; LARGEST + 1]);
    raw.send().await.is(413, "recording_too_large");
    let received = app.calls.recordings.received();
    assert_eq!(received.len(), 2);
    assert!(!received[1].is_complete, "the provider got no whole form");
    assert_eq!(used(&app).await.len(), 1, "only the first one is paid");
}

/// Sends a form, which is refused at this field.
async fn refused(app: &TestApp, body: Vec<u8>, (status, code, param): (u16, &str, &str)) {
    let refused = send(app, body).send().await;
    refused.is(status, code);
    assert_eq!(refused.json["error"]["param"], param, "{refused:?}");
}

#[tokio::test]
async fn tr4_what_is_missing_not_allowed_or_unknown_is_refused_with_its_name() {
    let app = app(&[]);
    let long = "a".repeat(65 * 1024);
    for (fields, (name, audio), refusal) in [
        (
            &[("model", "o3")][..],
            ("a.wav", &b"x"[..]),
            (403, "model_not_allowed", "model"),
        ),
        (
            &[("user", "ana")],
            ("a.wav", b"x"),
            (400, "bad_request", "user"),
        ),
        (
            &[("temperature", "hot")],
            ("a.wav", b"x"),
            (400, "bad_request", "temperature"),
        ),
        (
            &[("language", "es"), ("language", "de")],
            ("a.wav", b"x"),
            (400, "bad_request", "language"),
        ),
        (
            &[("prompt", &long)],
            ("a.wav", b"x"),
            (400, "bad_request", "prompt"),
        ),
        (&[], ("a.wav", b""), (400, "bad_request", "file")),
        (&[], ("a.txt", b"x"), (415, "unsupported_recording", "file")),
    ] {
        refused(&app, form(fields, (name, audio)), refusal).await;
    }
    let part = "--XX\r\nContent-Disposition: form-data; name=";
    for (body, param) in [
        (
            format!("{part}\"model\"\r\n\r\nwhisper-1\r\n--XX--\r\n"),
            "file",
        ),
        (format!("{part}\"a\\\"b\"\r\n\r\nx\r\n--XX--\r\n"), "body"),
        (
            format!("{part}\"file\"; filename=\"a.wav\"\r\n\r\nx"),
            "body",
        ),
        ("--XX\r\n\r\n".to_owned(), "body"),
    ] {
        refused(&app, body.into(), (400, "bad_request", param)).await;
    }
    let received = app.calls.recordings.received();
    assert!(received.iter().all(|received| !received.is_complete));
    assert!(used(&app).await.is_empty() && app.events("transcribed").is_empty());
}

#[tokio::test]
async fn tr4_other_bodies_and_options_are_refused_before_the_provider_is_asked() {
    let app = app(&[]);
    for content_type in [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/mixed; boundary=XX",
    ] {
        let refused = app.post(PATH).body(content_type, "--XX--").send().await;
        refused.is(415, "unsupported_recording");
    }
    let coded = post(&app, &[])
        .header("content-encoding", "gzip")
        .send()
        .await;
    coded.is(415, "unsupported_recording");
    let raw = app.post("/transcribe").body("text/html", "x").send().await;
    raw.is(415, "unsupported_recording");
    for (query, param) in [
        ("prompt=a", "prompt"),
        ("stream=perhaps", "stream"),
        ("response_format=html", "response_format"),
        ("language=", "language"),
        ("language=es&language=de", "language"),
    ] {
        let asked = app.post(&format!("/transcribe?{query}"));
        let refused = asked.body("audio/wav", "x").send().await;
        refused.is(400, "bad_request");
        assert_eq!(refused.json["error"]["param"], param, "{refused:?}");
    }
    assert!(
        app.calls
            .recordings
            .received()
            .iter()
            .all(|received| !received.is_complete)
    );
}

#[tokio::test]
async fn a_model_behind_the_file_is_judged_before_the_provider_has_a_whole_form() {
    let app = app(&[]);
    let file_first = |model: &str| {
        let form = String::from_utf8(form(&[("model", model)], ("a.wav", b"x"))).unwrap();
        let (model, file) = form.split_at(form[4..].find("--XX").unwrap() + 4);
        let file = file.trim_end_matches("--XX--\r\n");
        format!("{file}{model}--XX--\r\n")
    };
    send(&app, file_first("o3"))
        .send()
        .await
        .is(403, "model_not_allowed");
    assert!(!app.calls.recordings.received()[0].is_complete);
    app.calls.recordings.answer_with("application/json", DONE);
    assert_eq!(send(&app, file_first("whisper-1")).send().await.status, 200);
    let received = &app.calls.recordings.received()[1];
    assert_eq!(received.fields, [("model", "whisper-1".to_owned())]);
}

#[tokio::test]
async fn tr5_a_recording_that_does_not_arrive_in_time_is_refused_with_408_and_costs_nothing() {
    let app = app(&ONE);
    let begin = form(&[], ("a.wav", &vec![0; 50_000]));
    let upload = send(&app, endless(&begin[..40_000]));
    let refused = tokio::spawn(upload.send());
    let recordings = app.calls.recordings.clone();
    until("the provider gets the beginning", || {
        recordings
            .received()
            .first()
            .is_some_and(|received| received.audio.len() > 30_000)
    })
    .await;
    app.clock.advance(Duration::from_mins(1));
    refused.await.unwrap().is(408, "upload_timeout");
    assert!(!app.calls.recordings.received()[0].is_complete);
    free(&app).await;
}

#[tokio::test]
async fn a_provider_that_stops_reading_is_at_fault_and_not_the_caller() {
    let app = app(&ONE);
    app.calls.recordings.stall();
    let upload = send(&app, endless(&form(&[], ("a.wav", &vec![0; 500_000]))));
    let refused = tokio::spawn(upload.send());
    let recordings = app.calls.recordings.clone();
    until("the recording waits", || recordings.is_stalled()).await;
    app.clock.advance(Duration::from_mins(1));
    refused.await.unwrap().is(504, "upstream_timeout");
    let health = app.get("/health").from("127.0.0.1").send().await;
    assert_eq!(health.json["services"]["openaiApi"]["status"], "degraded");
    free(&app).await;
}

/// One transcription at a time from one neighbourhood.
const ONE: [(&str, &str); 1] = [("call.max_live_network", "1")];

/// Asserts that nothing is held any more: the only place is free.
async fn free(app: &TestApp) {
    app.calls.recordings.answer_with("application/json", DONE);
    eventually("the hold is given back", SOON, async || {
        // That a place was taken is remembered for a second.
        app.advance(1);
        post(app, &[]).send().await.status == 200
    })
    .await;
    booked(app, 1).await;
    assert_eq!(used(app).await.len(), 1, "only this one is paid");
}

#[tokio::test]
async fn a_caller_who_leaves_during_the_upload_pays_nothing_and_the_provider_does_nothing() {
    let app = app(&ONE);
    let begin = form(&[], ("a.wav", &vec![0; 50_000]));
    let (feed, body) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(4);
    let body = stream::unfold(body, async |mut body| Some((body.recv().await?, body)));
    let asking = tokio::spawn(send(&app, Body::from_stream(body)).send());
    feed.send(Ok(begin[..20_000].to_vec().into()))
        .await
        .unwrap();
    let recordings = app.calls.recordings.clone();
    until("the provider gets the beginning", || {
        !recordings.received().is_empty()
    })
    .await;
    asking.abort();
    feed.send(Err(std::io::ErrorKind::ConnectionReset.into()))
        .await
        .unwrap();
    free(&app).await;
    assert!(!app.calls.recordings.received()[0].is_complete);
    assert_eq!(app.events("transcribed").len(), 1);
}
