//! Limits of single personas and roles.

use std::sync::Arc;

use super::{OFFER, Opened, channel, pass, says};
use crate::kit::answer::Answer;
use crate::kit::in_process::{Call, START, TestApp, student, teacher};
use crate::kit::issuer::REQUIRED;

/// What a school writes for its students.
const STUDENTS: &str = "[connect]\nmode = 'call'\n[quota.student.call]\nmax_duration = '45s'\nidle_timeout = '20s'\nmax_turns = 9\n";

fn offer_to(app: &TestApp, persona: &str, offer: &str) -> Call {
    app.post(&format!("/calls?persona={persona}"))
        .body("application/sdp", offer.to_owned())
}

/// The seconds that a new call may last.
fn lasts(answer: &Answer) -> u64 {
    let ends_at: u64 = answer.header("x-call-ends-at").unwrap().parse().unwrap();
    (ends_at - START.as_millis()) / 1000
}

#[tokio::test]
async fn the_smallest_limit_of_persona_role_and_everybody_holds() {
    let settings = [("call.max_live", "9"), ("call.max_duration", "90s")];
    let app = TestApp::of(&format!("{REQUIRED}{STUDENTS}"), &settings);
    for (persona, credential, seconds) in [
        ("default", teacher("eva"), 90),
        ("brief", teacher("eva"), 60),
        ("default", student("ana"), 45),
        ("brief", student("ana"), 45),
    ] {
        let answer = offer_to(&app, persona, OFFER)
            .bearer(&credential)
            .send()
            .await;
        assert_eq!(lasts(&answer), seconds, "{persona}");
    }
}

#[tokio::test]
async fn the_turns_of_a_persona_end_its_calls() {
    let app = TestApp::new();
    let call = Opened::of(&offer_to(&app, "brief", OFFER).send().await);
    for response in ["resp_1", "resp_2"] {
        assert_eq!(call.look(&app).await["state"], "open");
        channel(&app).say(&super::leash::done(response));
        pass(&app, 1).await;
    }
    assert_eq!(call.reason(&app).await, "turn_limit");
}

#[tokio::test]
async fn ca25_a_persona_that_greets_nobody_or_is_locked_has_no_join_timeout() {
    let app = TestApp::new();
    let call = Opened::of(&offer_to(&app, "brief", OFFER).send().await);
    pass(&app, 29).await;
    assert_eq!(call.look(&app).await["state"], "open");
    pass(&app, 3).await;
    assert_eq!(call.reason(&app).await, "idle");
}

#[tokio::test]
async fn ca15_video_passes_where_the_persona_takes_it() {
    let app = TestApp::new();
    let video = format!("{OFFER}m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\n");
    let refused = offer_to(&app, "default", &video).send().await;
    refused.is(400, "video_not_allowed");
    assert!(app.calls.orders().is_empty());
    assert_eq!(offer_to(&app, "brief", &video).send().await.status, 201);
    let order = app.calls.orders().pop().unwrap();
    assert!(str::from_utf8(&order.offer).unwrap().contains("m=video"));
}

#[tokio::test]
async fn ca16_one_persona_can_be_locked() {
    let app = TestApp::new();
    for (persona, has_channel) in [("default", true), ("locked", false)] {
        // The scripted provider's answer refuses no channel.
        offer_to(&app, persona, OFFER).send().await;
        let order = app.calls.orders().pop().unwrap();
        let sent = str::from_utf8(&order.offer).unwrap();
        assert_eq!(sent.contains("m=application"), has_channel, "{persona}");
    }
}

#[tokio::test]
async fn sd17_the_limits_of_a_role_hold_after_a_takeover() {
    let file = format!("{REQUIRED}{STUDENTS}");
    let first = TestApp::of(&file, &[]);
    let ana = student("ana");
    let opened = offer_to(&first, "default", OFFER).bearer(&ana).send().await;
    channel(&first).say(&says("input_audio_buffer.speech_started"));
    pass(&first, 1).await;
    let (ledger, clock) = (Arc::clone(&first.ledger), Arc::clone(&first.clock));
    let second = TestApp::over(ledger, clock, (&file, &[]));
    second.app.state().broker.tend_calls().await;
    pass(&second, 19).await;
    let path = opened.header("location").unwrap();
    let state = async || second.get(path).bearer(&ana).send().await.json;
    assert_eq!(state().await["state"], "open");
    pass(&second, 3).await;
    assert_eq!(state().await["reason"], "idle");
    assert_eq!(second.calls.hung_up().len(), 1);
}
