//! Limits of transcriptions: windows, minutes, money, places.

use token_broker::upstream::UpstreamError;

use super::{DONE, app, booked, form, of, post, send, used};
use crate::kit::in_process::{TestApp, student, teacher};
use crate::kit::issuer::REQUIRED;

/// What it takes to limit money: a mode that keeps such limits, and personas whose answers are bounded.
const MONEY: [(&str, &str); 2] = [
    ("connect.mode", "call"),
    ("personas.file", "tests/api/calls/personas.toml"),
];

/// Posts a recording as somebody, and returns the answer.
async fn ask(app: &TestApp, bearer: &str) -> crate::kit::answer::Answer {
    app.calls.recordings.answer_with("application/json", DONE);
    post(app, &[]).bearer(bearer).send().await
}

#[tokio::test]
async fn callers_sign_in_and_each_has_a_window_of_its_own() {
    let app = of(REQUIRED, &[("limits.transcribe", "2/60s")]);
    post(&app, &[]).send().await.is(401, "unauthorized");
    let (ana, ben) = (student("ana"), student("ben"));
    for _ in 0..2 {
        assert_eq!(ask(&app, &ana).await.status, 200);
    }
    let refused = ask(&app, &ana).await;
    refused.is(429, "rate_limited");
    assert_eq!(refused.json["error"]["limit"], "transcribe");
    assert_eq!(ask(&app, &ben).await.status, 200);
    assert_eq!(
        app.post("/token").bearer(&ana).send().await.status,
        200,
        "other windows are free"
    );
    assert_eq!(app.calls.recordings.received().len(), 3);
}

#[tokio::test]
async fn money_is_held_before_the_recording_is_read_and_what_was_not_used_is_given_back() {
    // Nine seconds at 8 kbit/s need 90 tokens of audio and 90 of text at the dearest model: 0.001125 dollars.
    let file = format!("{REQUIRED}[quota.student]\nmoney_per_day = \"0.002\"\n");
    let models = (
        "transcription.models",
        "gpt-4o-mini-transcribe,gpt-4o-transcribe",
    );
    let app = of(&file, &[&MONEY[..], &[models]].concat());
    let (ana, teacher) = (student("ana"), teacher("eva"));
    let pen = app.calls.recordings.answer("application/json");
    let first = post(&app, &[]).bearer(&ana).stream().await;
    assert_eq!(first.status(), 200);
    let second = post(&app, &[]).bearer(&ana).send().await;
    second.is(402, "money_exhausted");
    assert_eq!(second.json["error"]["limit"], "money_per_day");
    assert_eq!(
        app.calls.recordings.received().len(),
        1,
        "the provider is not asked"
    );
    assert_eq!(ask(&app, &teacher).await.status, 200);
    pen.write(DONE);
    drop(pen);
    booked(&app, 2).await;
    assert_eq!(ask(&app, &ana).await.status, 200, "given back");
}

#[tokio::test]
async fn a_refused_recording_gives_its_money_back() {
    let file = format!("{REQUIRED}[quota.student]\nmoney_per_day = \"0.002\"\n");
    let models = ("transcription.models", "gpt-4o-transcribe");
    let app = of(&file, &[&MONEY[..], &[models]].concat());
    let ana = student("ana");
    for _ in 0..5 {
        app.calls
            .recordings
            .refuse(UpstreamError::Refused(400.into()));
        let refused = post(&app, &[]).bearer(&ana).send().await;
        refused.is(422, "recording_refused");
    }
    assert_eq!(ask(&app, &ana).await.status, 200);
}

#[tokio::test]
async fn a_model_without_a_price_is_refused_while_money_is_limited() {
    let limited = app(&[&MONEY[..], &[("money.per_day", "5.00")]].concat());
    post(&limited, &[]).send().await.is(503, "no_price");
    assert!(limited.calls.recordings.received().is_empty());
    let free = app(&[]);
    free.calls.recordings.answer_with("application/json", DONE);
    assert_eq!(
        post(&free, &[("model", "unpriced")]).send().await.status,
        200
    );
    booked(&free, 1).await;
    assert_eq!(free.events("zero_price").len(), 1);
}

#[tokio::test]
async fn the_minutes_of_recordings_and_of_calls_are_one_quota() {
    let file = format!("{REQUIRED}[quota.student]\nminutes_per_day = 1\n");
    let app = of(&file, &[("connect.mode", "call")]);
    let ana = student("ana");
    let minute = DONE
        .replace(":30,", ":550,")
        .replace("34", "554")
        .replace(":30}", ":550}");
    app.calls
        .recordings
        .answer_with("application/json", &minute);
    assert_eq!(post(&app, &[]).bearer(&ana).send().await.status, 200);
    assert_eq!(booked(&app, 1).await["seconds"], 55);
    // Eight seconds are wanted for eight kilobytes, and five are left.
    let refused = ask(&app, &ana).await;
    refused.is(429, "quota_exceeded");
    assert_eq!(refused.json["error"]["limit"], "minutes_per_day");
    let call = app
        .post("/calls")
        .body("application/sdp", crate::calls::OFFER);
    call.bearer(&ana).send().await.is(429, "quota_exceeded");
    app.advance(86_400);
    assert_eq!(ask(&app, &ana).await.status, 200, "another day");
}

#[tokio::test]
async fn a_transcription_takes_a_place_among_the_calls_at_once_until_it_is_booked() {
    let app = app(&[("call.max_live_network", "1")]);
    let pen = app.calls.recordings.answer("application/json");
    let first = post(&app, &[]).stream().await;
    assert_eq!(first.status(), 200);
    let refused = post(&app, &[]).send().await;
    refused.is(429, "call_limit");
    assert_eq!(refused.json["error"]["limit"], "max_live_network");
    pen.write(DONE);
    drop(pen);
    booked(&app, 1).await;
    app.calls.recordings.answer_with("application/json", DONE);
    assert_eq!(post(&app, &[]).send().await.status, 200);
}

#[tokio::test]
async fn more_transcriptions_at_a_time_than_the_setting_says_are_refused_with_503() {
    let app = app(&[("transcription.max_in_flight", "1")]);
    let pen = app.calls.recordings.answer("application/json");
    let first = post(&app, &[]).from("192.0.2.1").stream().await;
    assert_eq!(first.status(), 200);
    post(&app, &[]).send().await.is(503, "overloaded");
    drop(pen);
    booked(&app, 1).await;
    app.calls.recordings.answer_with("application/json", DONE);
    assert_eq!(post(&app, &[]).send().await.status, 200);
    assert_eq!(used(&app).await.len(), 2, "one estimate, one measured");
}

#[tokio::test]
async fn a_model_that_is_billed_by_the_minute_is_held_for_whatever_its_size_may_hold() {
    // Two mebibytes at 8 kbit/s are 35 minutes: 0.21 dollars of whisper-1, of which 1400 seconds would be 0.14.
    let file = format!("{REQUIRED}[quota.student]\nmoney_per_day = \"0.20\"\n");
    let models = ("transcription.models", "whisper-1");
    let app = of(&file, &[&MONEY[..], &[models]].concat());
    let ana = student("ana");
    let large = || form(&[], ("a.webm", &vec![7; 2 * 1024 * 1024]));
    let refused = send(&app, large()).bearer(&ana).send().await;
    refused.is(402, "money_exhausted");
    assert_eq!(ask(&app, &ana).await.status, 200);
    let bounded = of(
        &file,
        &[&MONEY[..], &[("transcription.models", "gpt-4o-transcribe")]].concat(),
    );
    bounded
        .calls
        .recordings
        .answer_with("application/json", DONE);
    let answer = send(&bounded, large()).bearer(&ana).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
}
