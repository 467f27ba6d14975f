//! Minutes of calls: what a school writes for its students, and what it does.

use super::{channel, hang_up, offer, pass, says};
use crate::kit::answer::Answer;
use crate::kit::in_process::{TestApp, student, teacher};
use crate::kit::issuer::REQUIRED;

const THREE_MINUTES: &str = "[quota.student]\nminutes_per_week = 3\n";

async fn seconds_left(app: &TestApp, call: &Answer) -> u64 {
    let path = call.header("location").unwrap();
    let seen = app.get(path).bearer(&student("ana")).send().await;
    seen.json["seconds_left"].as_u64().unwrap()
}

#[tokio::test]
async fn mo14_a_call_lasts_no_longer_than_the_minutes_that_are_left_in_the_week() {
    let settings = [
        ("call.max_duration", "120s"),
        ("call.max_live", "9"),
        ("connect.mode", "call"),
    ];
    let app = TestApp::of(&format!("{REQUIRED}{THREE_MINUTES}"), &settings);
    let call = async || offer(&app).bearer(&student("ana")).send().await;
    let first = call().await;
    assert_eq!(seconds_left(&app, &first).await, 120);
    let second = call().await;
    assert_eq!(seconds_left(&app, &second).await, 60, "the rest");
    let refused = call().await;
    refused.is(429, "quota_exceeded");
    assert_eq!(refused.json["error"]["limit"], "minutes_per_week");
    assert!(refused.retry_after() >= 1);
    let other = offer(&app).bearer(&student("ben")).send().await;
    assert_eq!(other.status, 201);
    let unlimited = offer(&app).bearer(&teacher("eva")).send().await;
    assert_eq!(unlimited.status, 201);

    hang_up(&app, &second, &student("ana")).await;
    let third = call().await;
    assert_eq!(seconds_left(&app, &third).await, 60, "nothing was used");
    channel(&app).say(&says("input_audio_buffer.speech_started"));
    pass(&app, 30).await;
    hang_up(&app, &third, &student("ana")).await;
    hang_up(&app, &first, &student("ana")).await;
    let fourth = call().await;
    let left = seconds_left(&app, &fourth).await;
    assert_eq!(left, 120);
    let fifth = call().await;
    let left = seconds_left(&app, &fifth).await;
    assert!((28..=31).contains(&left), "half a minute was used: {left}");
}

#[tokio::test]
async fn a_role_may_have_calls_at_once_of_its_own() {
    let file = format!("{REQUIRED}[quota.student]\nlive_calls = 1\n");
    let app = TestApp::of(&file, &[]);
    let call = async || offer(&app).bearer(&student("ana")).send().await;
    assert_eq!(call().await.status, 201);
    let refused = call().await;
    refused.is(429, "call_limit");
    assert_eq!(refused.json["error"]["limit"], "live_calls");
    for _ in 0..2 {
        let eva = offer(&app).bearer(&teacher("eva")).send().await;
        assert_eq!(eva.status, 201);
    }
}
