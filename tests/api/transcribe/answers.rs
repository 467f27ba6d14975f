//! Answers: how they reach the caller, and what they cost.

use std::time::Duration;

use http_body_util::BodyExt;
use token_broker::upstream::{Complaint, UpstreamError};

use super::{DONE, app, booked, form, post, send, used};
use crate::kit::in_process::TestApp;
use crate::kit::recordings::Pen;
use crate::kit::waiting::{SOON, eventually, until};

const EVENTS: &str = "text/event-stream";

fn delta(word: &str) -> String {
    format!("data: {{\"type\":\"transcript.text.delta\",\"delta\":\"{word}\"}}\n\n")
}

/// The next piece of an answer.
async fn next(body: &mut axum::body::Body) -> Option<String> {
    let frame = body.frame().await?.ok()?.into_data().unwrap();
    Some(String::from_utf8(frame.to_vec()).unwrap())
}

#[tokio::test]
async fn tr2_each_delta_reaches_the_caller_before_the_next_one_is_written() {
    let app = app(&[]);
    let pen = app.calls.recordings.answer(EVENTS);
    let response = post(&app, &[("stream", "true")]).stream().await;
    assert_eq!(response.headers()["content-type"], EVENTS);
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let mut body = response.into_body();
    for word in ["Hel", "lo ", "th", "ere"] {
        // Bytes pass as they come, even half an event.
        let event = delta(word);
        let (one, two) = event.split_at(9);
        for part in [one, two] {
            pen.write(part);
            assert_eq!(next(&mut body).await.as_deref(), Some(part));
        }
    }
    let done = format!(
        "data: {}\n\n",
        DONE.replacen('{', "{\"type\":\"transcript.text.done\",", 1)
    );
    pen.write(&done);
    assert_eq!(next(&mut body).await, Some(done));
    assert!(app.events("transcribed").is_empty(), "the stream is open");
    drop(pen);
    assert_eq!(next(&mut body).await, None);
    let details = booked(&app, 1).await;
    assert_eq!(
        (&details["mark"], &details["seconds"]),
        (&"measured".into(), &3.into())
    );
}

#[tokio::test]
async fn tr3_when_the_caller_leaves_the_provider_is_cut_off_in_a_second_and_an_estimate_is_settled()
{
    let app = app(&[]);
    let pen = app.calls.recordings.answer(EVENTS);
    let mut body = post(&app, &[("stream", "true")]).stream().await.into_body();
    pen.write(&delta(&"a".repeat(400)));
    next(&mut body).await.unwrap();
    drop(body);
    app.clock.awaited(Duration::from_secs(1)).await;
    app.clock.advance(Duration::from_secs(1));
    pen.is_left().await;
    // Two seconds at 32 kbit/s are 20 tokens of audio; 400 letters are 100 tokens of text.
    let details = booked(&app, 1).await;
    assert_eq!(
        (&details["mark"], &details["seconds"]),
        (&"estimated".into(), &2.into())
    );
    let rows = used(&app).await;
    let sums = [
        "fresh_audio",
        "output_text",
        "nanodollars",
        "estimated_nanodollars",
    ];
    assert_eq!(
        sums.map(|name| rows[0].sums.get(name)),
        [20, 100, 525_000, 525_000]
    );
}

#[tokio::test]
async fn figures_that_come_in_the_second_after_the_caller_has_left_count_as_measured() {
    let app = app(&[]);
    let pen = app.calls.recordings.answer(EVENTS);
    let mut body = post(&app, &[("stream", "true")]).stream().await.into_body();
    pen.write(&delta("Hello"));
    next(&mut body).await.unwrap();
    drop(body);
    pen.write(&format!("data: {DONE}\n\n"));
    drop(pen);
    assert_eq!(booked(&app, 1).await["mark"], "measured");
}

#[tokio::test]
async fn a_caller_who_leaves_before_the_answer_pays_what_it_cost() {
    let app = app(&[]);
    let pen = app.calls.recordings.answer("application/json");
    let asking = tokio::spawn(post(&app, &[]).send());
    let recordings = app.calls.recordings.clone();
    eventually("the recording is sent", SOON, async || {
        recordings
            .received()
            .first()
            .is_some_and(|received| received.is_complete)
    })
    .await;
    asking.abort();
    pen.write(DONE);
    drop(pen);
    assert_eq!(booked(&app, 1).await["mark"], "measured");
}

#[tokio::test]
async fn tr7_text_and_subtitles_have_no_figures_and_are_estimated_by_their_duration() {
    for (media_type, text, seconds) in [
        ("text/plain", "Hello there\n", 2),
        (
            "text/plain",
            "1\n00:00:00,000 --> 00:00:12,500\nHello\n\n",
            13,
        ),
        (
            "text/vtt",
            "WEBVTT\n\n00:00.000 --> 00:07.000\nHello\n\n",
            7,
        ),
        (
            "application/json",
            "{\"text\":\"Hello\",\"duration\":4.2}",
            5,
        ),
    ] {
        let app = app(&[]);
        app.calls.recordings.answer_with(media_type, text);
        let answer = post(&app, &[("model", "whisper-1")]).send().await;
        assert_eq!((answer.status, &*answer.text), (200, text));
        let details = booked(&app, 1).await;
        assert_eq!(
            (&details["mark"], &details["seconds"]),
            (&"estimated".into(), &seconds.into()),
            "{text}"
        );
        let rows = used(&app).await;
        assert!(rows[0].sums.get("transcribed_ms") > 0);
        let money = ["nanodollars", "estimated_nanodollars"].map(|name| rows[0].sums.get(name));
        assert!(money[0] > 0 && money[0] == money[1], "{money:?}");
    }
}

/// Posts a recording that the provider refuses so.
async fn refused(app: &TestApp, error: UpstreamError) -> crate::kit::answer::Answer {
    app.calls.recordings.refuse(error);
    post(app, &[]).send().await
}

#[tokio::test]
async fn tr8_the_wait_that_the_provider_asks_for_is_kept_and_what_it_refuses_is_a_422() {
    let app = app(&[]);
    let limited = UpstreamError::RateLimited(Complaint {
        retry_after: Some(Duration::from_secs(17)),
        ..429.into()
    });
    let answer = refused(&app, limited).await;
    answer.is(503, "upstream_unavailable");
    assert_eq!(answer.retry_after(), 17);
    let too_long = UpstreamError::Refused(Complaint {
        code: "invalid_value file".into(),
        ..400.into()
    });
    refused(&app, too_long).await.is(422, "recording_refused");
    refused(&app, UpstreamError::Refused(404.into()))
        .await
        .is(503, "upstream_unavailable");
    refused(&app, UpstreamError::KeyRejected(401.into()))
        .await
        .is(503, "upstream_unavailable");
    refused(&app, UpstreamError::Broken(500.into()))
        .await
        .is(503, "upstream_unavailable");
    assert!(used(&app).await.is_empty(), "none of these is paid");
}

#[tokio::test]
async fn a_refused_recording_does_not_make_the_provider_look_ill() {
    let app = app(&[]);
    let health = async || {
        let health = app.get("/health").from("127.0.0.1").send().await;
        health.json["services"]["openaiApi"]["status"].clone()
    };
    app.post("/token").send().await;
    refused(&app, UpstreamError::Refused(400.into())).await;
    assert_eq!(health().await, "operational");
    refused(&app, UpstreamError::Broken(503.into())).await;
    assert_eq!(health().await, "degraded");
    app.calls.recordings.answer_with("application/json", DONE);
    assert_eq!(post(&app, &[]).send().await.status, 200);
    assert_eq!(health().await, "operational");
}

#[tokio::test]
async fn what_the_provider_may_have_done_is_booked_as_an_estimate_when_its_answer_is_lost() {
    let app = app(&[]);
    let cut = UpstreamError::Cut("reset".into());
    refused(&app, cut).await.is(503, "upstream_unavailable");
    let details = booked(&app, 1).await;
    assert_eq!(details["mark"], "estimated");
    // 20 tokens of audio, and 20 of text in two seconds at most.
    assert_eq!(details["cost"], "0.000125");
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_complete_at_the_end_of_its_time() {
    let app = app(&[]);
    let pen = app.calls.recordings.answer("application/json");
    let mut body = post(&app, &[]).stream().await.into_body();
    pen.write("{\"text\":");
    next(&mut body).await.unwrap();
    app.clock.advance(Duration::from_mins(5));
    let cut = body.frame().await.unwrap();
    assert!(cut.is_err(), "the connection is cut");
    assert_eq!(booked(&app, 1).await["mark"], "estimated");
}

/// An answer whose caller has read nothing of it, with more pieces than wait for a caller.
async fn unread(app: &TestApp) -> (Pen, axum::body::Body) {
    let pen = app.calls.recordings.answer("text/plain");
    let response = post(app, &[("response_format", "text")]).stream().await;
    for _ in 0..40 {
        pen.write("word ");
    }
    until("no more pieces can wait", || pen.read() > 16).await;
    (pen, response.into_body())
}

#[tokio::test]
async fn an_answer_that_is_cut_while_its_caller_reads_slowly_does_not_look_complete() {
    let late = app(&[]);
    let (pen, body) = unread(&late).await;
    late.clock.advance(Duration::from_mins(5));
    assert_eq!(booked(&late, 1).await["mark"], "estimated");
    assert!(body.collect().await.is_err(), "out of time");
    drop(pen);

    let broken = app(&[]);
    let (pen, body) = unread(&broken).await;
    pen.cut();
    assert!(body.collect().await.is_err(), "the provider broke off");
    assert_eq!(booked(&broken, 1).await["mark"], "estimated");

    let whole = app(&[]);
    let (pen, body) = unread(&whole).await;
    drop(pen);
    let text = body.collect().await.unwrap().to_bytes();
    assert_eq!(text.len(), 40 * "word ".len());
}

#[tokio::test]
async fn subtitles_that_end_before_the_recording_do_not_shorten_it() {
    let app = app(&[]);
    let subtitles = "1\n00:00:00,000 --> 00:00:01,000\nHello\n\n";
    app.calls.recordings.answer_with("text/plain", subtitles);
    let mut wav = b"RIFF....WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    // 8 kHz, 8 bit: 8,000 bytes a second.
    wav.extend([0x40, 0x1F, 0, 0, 0x40, 0x1F, 0, 0, 1, 0, 8, 0]);
    wav.resize(20 * 8_000, 0);
    let fields = [("model", "whisper-1"), ("response_format", "srt")];
    let answer = send(&app, form(&fields, ("a.wav", &wav))).send().await;
    assert_eq!((answer.status, &*answer.text), (200, subtitles));
    assert_eq!(booked(&app, 1).await["seconds"], 20);
}
