//! What ends a call, and what is put back while it runs.

use serde_json::json;
use token_broker::domain::{Account, EndReason, Naming};
use token_broker::upstream::UpstreamError;

use super::{Opened, channel, offer, pass, says};
use crate::kit::in_process::{TestApp, student};
use crate::kit::issuer::{ISSUER, REQUIRED};
use crate::kit::waiting::{SOON, eventually};

#[tokio::test]
async fn sd02_a_call_ends_at_its_limit_with_one_hang_up_and_the_page_was_warned() {
    let app = TestApp::with(&[("call.max_duration", "60s"), ("call.warn_before", "20s")]);
    let call = Opened::by(&app).await;
    assert_eq!(call.look(&app).await["seconds_left"], 60);
    channel(&app).say(&says("input_audio_buffer.speech_started"));
    pass(&app, 39).await;
    assert_eq!(call.look(&app).await["warning"], false);
    pass(&app, 2).await;
    eventually("the warning", SOON, async || {
        call.look(&app).await["warning"] == true
    })
    .await;
    assert!(app.calls.hung_up().is_empty());
    pass(&app, 20).await;
    assert_eq!(call.reason(&app).await, "time_limit");
    assert_eq!(app.calls.hung_up().len(), 1);
}

#[tokio::test]
async fn sd05_silence_ends_a_call_and_housekeeping_is_no_speech() {
    let app = TestApp::with(&[("call.idle_timeout", "20s")]);
    let call = Opened::by(&app).await;
    let side = channel(&app);
    side.say(&says("input_audio_buffer.speech_started"));
    for _ in 0..18 {
        pass(&app, 1).await;
        side.say(&says("rate_limits.updated"));
    }
    assert_eq!(call.look(&app).await["state"], "open");
    pass(&app, 4).await;
    assert_eq!(call.reason(&app).await, "idle");
}

#[tokio::test]
async fn ca25_a_page_that_never_joins_loses_its_call() {
    let app = TestApp::new();
    let call = Opened::by(&app).await;
    pass(&app, 17).await;
    assert_eq!(call.reason(&app).await, "not_joined");
}

#[tokio::test]
async fn sd06_a_changed_persona_is_put_back_and_the_fourth_change_ends_the_call() {
    let app = TestApp::new();
    let call = Opened::by(&app).await;
    let side = channel(&app);
    let changed = json!({
        "type": "session.updated", "event_id": "event_9",
        "session": { "type": "realtime", "id": "sess_u0_test1", "instructions": "Curse.", "tools": [],
            "max_output_tokens": "inf", "prompt": null },
    });
    side.say(&changed);
    eventually("the correction", SOON, async || side.sent().len() == 2).await;
    let correction = &side.sent()[1];
    assert_eq!(correction["session"]["instructions"], "canary-instructions");
    assert_eq!(
        correction["session"].as_object().unwrap().len(),
        2,
        "only the pinned field and the type"
    );
    for _ in 0..3 {
        side.say(&changed);
    }
    assert_eq!(call.reason(&app).await, "persona_violation");
}

#[tokio::test]
async fn sd07_other_settings_are_the_pages_own() {
    let app = TestApp::new();
    Opened::by(&app).await;
    let side = channel(&app);
    let mut session = side.sent()[0]["session"].clone();
    session["audio"] = json!({ "input": { "turn_detection": null }, "output": { "speed": 1.5 } });
    for _ in 0..8 {
        side.say(&json!({ "type": "session.updated", "session": session }));
    }
    pass(&app, 3).await;
    assert_eq!(side.sent().len(), 1);
}

#[tokio::test]
async fn sd10_a_lost_side_channel_is_joined_again_and_the_call_goes_on() {
    let app = TestApp::new();
    let call = Opened::by(&app).await;
    channel(&app).say(&says("input_audio_buffer.speech_started"));
    pass(&app, 1).await;
    app.calls.drop_channels();
    eventually("another side channel", SOON, async || {
        pass(&app, 1).await;
        app.calls.channels().len() == 1
    })
    .await;
    assert_eq!(call.look(&app).await["state"], "open");
    assert!(app.calls.hung_up().is_empty());
}

#[tokio::test]
async fn sd11_a_call_that_the_provider_does_not_know_any_more_is_over() {
    let app = TestApp::new();
    let call = Opened::by(&app).await;
    app.calls.fail_join(UpstreamError::UnknownCall(404.into()));
    app.calls.drop_channels();
    eventually("the end", SOON, async || {
        pass(&app, 1).await;
        call.look(&app).await["state"] == "ended"
    })
    .await;
    assert_eq!(call.look(&app).await["reason"], "provider");
}

#[tokio::test]
async fn sd12_a_call_that_nobody_sees_is_hung_up() {
    let app = TestApp::new();
    let call = Opened::by(&app).await;
    channel(&app).say(&says("input_audio_buffer.speech_started"));
    pass(&app, 1).await;
    for _ in 0..100 {
        app.calls.fail_join(UpstreamError::Broken(503.into()));
    }
    app.calls.drop_channels();
    pass(&app, 35).await;
    assert_eq!(call.reason(&app).await, "blind");
}

#[tokio::test]
async fn sd13_a_hang_up_is_owed_until_it_is_confirmed_and_keeps_its_place() {
    let app = TestApp::with(&[("call.max_live_network", "1")]);
    let call = Opened::by(&app).await;
    for _ in 0..3 {
        app.calls.fail_hang_up(UpstreamError::Broken(500.into()));
    }
    let hang_up = format!("{}/hangup", call.path);
    let answer = app.post(&hang_up).bearer(&call.ticket).send().await;
    assert_eq!(
        (answer.status, &answer.json["state"]),
        (200, &json!("ending"))
    );
    offer(&app).send().await.is(429, "call_limit");
    // Hang-ups are due again after 1, 5 and 10 seconds.
    for seconds in [2, 6, 11] {
        app.advance(seconds);
        app.app.state().broker.tend_calls().await;
        eventually("the attempt", SOON, async || {
            tokio::task::yield_now().await;
            true
        })
        .await;
    }
    assert_eq!(call.reason(&app).await, "hung_up");
    assert_eq!(app.calls.hung_up().len(), 1);
    Opened::by(&app).await;
}

#[tokio::test]
async fn logging_out_ends_the_calls_of_an_identity_and_of_nobody_else() {
    let app = TestApp::of(REQUIRED, &[]);
    for subject in ["ana", "ben"] {
        assert_eq!(
            offer(&app).bearer(&student(subject)).send().await.status,
            201
        );
    }
    let account: Account = Naming::Plain.account(&ISSUER.into(), "ana");
    let broker = &app.app.state().broker;
    broker.end_sessions(&account).await.unwrap();
    let reasons: Vec<_> = broker
        .calls()
        .await
        .unwrap()
        .into_iter()
        .map(|call| call.end_reason)
        .collect();
    assert_eq!(
        reasons.iter().flatten().collect::<Vec<_>>(),
        [&EndReason::LoggedOut]
    );
    assert_eq!(app.calls.hung_up().len(), 1);
}

#[tokio::test]
async fn a_draining_broker_opens_no_calls_and_lets_those_that_run_live() {
    let app = TestApp::new();
    Opened::by(&app).await;
    app.app.state().broker.finish().await;
    offer(&app).send().await.is(503, "shutting_down");
    assert!(app.calls.hung_up().is_empty());
}
