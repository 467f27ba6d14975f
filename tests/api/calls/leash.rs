//! What ends a call, and what is put back while it runs.

use std::time::Duration;

use serde_json::{Value, json};
use token_broker::domain::{Account, EndReason, Naming};
use token_broker::upstream::UpstreamError;

use super::{Opened, PERSONAS, channel, ended, offer, pass, says};
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
        // A page can commit silence, and clear what is not played.
        for housekeeping in [
            "rate_limits.updated",
            "input_audio_buffer.committed",
            "output_audio_buffer.cleared",
        ] {
            side.say(&says(housekeeping));
        }
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

/// The provider says that the page has rewritten the persona.
fn changed() -> Value {
    json!({
        "type": "session.updated", "event_id": "event_9",
        "session": { "type": "realtime", "id": "sess_u0_test1", "instructions": "Curse.", "tools": [],
            "max_output_tokens": "inf", "prompt": null },
    })
}

#[tokio::test]
async fn sd06_a_changed_persona_is_put_back_and_the_fourth_change_ends_the_call() {
    let app = TestApp::new();
    let call = Opened::by(&app).await;
    let side = channel(&app);
    side.say(&changed());
    eventually("the correction", SOON, async || side.sent().len() == 2).await;
    let correction = &side.sent()[1];
    assert_eq!(correction["session"]["instructions"], "canary-instructions");
    assert_eq!(
        correction["session"].as_object().unwrap().len(),
        2,
        "only the pinned field and the type"
    );
    for _ in 0..3 {
        side.say(&changed());
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

/// Cuts the side channel, and waits until the broker has learned from the provider that the call is over.
pub(super) async fn is_over_at_the_next_join(app: &TestApp, call: &Opened) {
    app.calls.drop_channels();
    eventually("the end", SOON, async || {
        pass(app, 1).await;
        call.look(app).await["state"] == "ended"
    })
    .await;
    assert_eq!(call.look(app).await["reason"], "provider");
}

#[tokio::test]
async fn sd11_sd21_a_call_that_the_provider_does_not_know_any_more_is_over() {
    let app = TestApp::new();
    let call = Opened::by(&app).await;
    app.calls.fail_join(UpstreamError::UnknownCall(404.into()));
    is_over_at_the_next_join(&app, &call).await;
}

#[tokio::test]
async fn sd12_a_call_without_a_side_channel_is_hung_up() {
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
        .calls(None, (0, 10))
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
async fn ca26_a_draining_broker_opens_no_calls_and_lets_those_that_run_live() {
    let app = TestApp::new();
    Opened::by(&app).await;
    app.app.state().broker.finish().await;
    offer(&app).send().await.is(503, "shutting_down");
    assert!(app.calls.hung_up().is_empty());
}

/// An answer of the model with the figures of MO1: 10,296,000 nano-dollars on gpt-realtime-2.1.
pub fn done(id: &str) -> serde_json::Value {
    json!({
        "type": "response.done",
        "event_id": "event_3",
        "response": { "id": id, "status": "completed", "usage": {
            "total_tokens": 205, "input_tokens": 41, "output_tokens": 164,
            "input_token_details": { "text_tokens": 14, "audio_tokens": 27, "image_tokens": 0, "cached_tokens": 0,
                "cached_tokens_details": { "text_tokens": 0, "audio_tokens": 0, "image_tokens": 0 } },
            "output_token_details": { "text_tokens": 28, "audio_tokens": 136 },
        } },
    })
}

/// The figures of an answer that was cancelled before it began.
fn nothing() -> Value {
    json!({ "total_tokens": 0, "input_tokens": 0, "output_tokens": 0 })
}

/// A side channel that names its model, as the provider's does.
pub fn named(app: &TestApp) -> crate::kit::calls::Channel {
    let side = channel(app);
    let mut session = side.sent()[0]["session"].clone();
    session["model"] = "gpt-realtime-2.1".into();
    session["id"] = "sess_u0_test1".into();
    side.say(&json!({ "type": "session.updated", "session": session }));
    side
}

#[tokio::test]
async fn sd01_mo01_mo07_each_answer_is_priced_once_and_shown() {
    let app = TestApp::with(&[("call.persona", "free")]);
    let call = Opened::by(&app).await;
    let side = named(&app);
    for id in ["resp_1", "resp_1", "resp_2"] {
        side.say(&done(id));
    }
    eventually("two answers", SOON, async || {
        call.look(&app).await["turns"] == 2
    })
    .await;
    let seen = call.look(&app).await;
    assert_eq!(
        (&seen["tokens"], &seen["cost"]),
        (&json!(410), &json!("0.020592"))
    );
}

#[tokio::test]
async fn sd04_the_answer_that_reaches_the_money_ends_the_call() {
    let app = TestApp::with(&[
        ("call.persona", "free"),
        ("call.max_money", "0.02"),
        ("personas.file", PERSONAS),
    ]);
    let call = Opened::by(&app).await;
    let side = named(&app);
    side.say(&done("resp_1"));
    eventually("an answer", SOON, async || {
        call.look(&app).await["turns"] == 1
    })
    .await;
    assert_eq!(call.look(&app).await["state"], "open");
    side.say(&json!({ "type": "response.created", "response": { "id": "resp_3" } }));
    side.say(&done("resp_2"));
    assert_eq!(call.reason(&app).await, "money_limit");
    let cancelled = side
        .sent()
        .into_iter()
        .filter(|event| event["type"] == "response.cancel");
    assert_eq!(cancelled.count(), 1);
    // The last word of the cancelled answer comes after the hang-up.
    let mut last = done("resp_3");
    last["response"]["usage"] = nothing();
    side.say(&last);
    drop(side);
    assert_eq!(ended(&app).await["cost"], "0.020592");
}

#[tokio::test]
async fn mo08_a_persona_without_a_price_is_not_admitted_where_money_is_limited() {
    let file = "[personas]\nstrict = false\n";
    let app = TestApp::of(
        file,
        &[("call.max_money", "0.02"), ("personas.file", PERSONAS)],
    );
    let unpriced = app
        .post("/calls?persona=unpriced")
        .body("application/sdp", super::OFFER);
    unpriced.send().await.is(503, "no_price");
    assert!(app.calls.orders().is_empty());
}

/// The records refuse the end, and the provider the hang-up: the watch tries both again.
#[tokio::test]
async fn sd13_an_end_that_was_neither_recorded_nor_confirmed_is_tried_again() {
    let app = TestApp::with(&[("call.max_turns", "1"), ("call.persona", "free")]);
    let call = Opened::by(&app).await;
    for _ in 0..2 {
        app.calls.fail_hang_up(UpstreamError::TimedOut);
    }
    channel(&app).say(&done("resp_1"));
    eventually("the end", SOON, async || {
        pass(&app, 1).await;
        app.app.state().broker.tend_calls().await;
        call.look(&app).await["state"] == "ended"
    })
    .await;
    assert_eq!(call.look(&app).await["reason"], "turn_limit");
}

#[tokio::test]
async fn sd18_a_watch_whose_call_another_replica_has_taken_over_leaves_it_alone() {
    let app = TestApp::with(&[("call.idle_timeout", "20s")]);
    let call = Opened::by(&app).await;
    channel(&app).say(&says("input_audio_buffer.speech_started"));
    pass(&app, 1).await;
    // Another replica takes the call over and watches it.
    let claimed = app.ledger.claim_calls("another").await.unwrap();
    assert_eq!(claimed.len(), 1);
    pass(&app, 30).await;
    assert_eq!(call.look(&app).await["state"], "open");
    assert!(app.calls.hung_up().is_empty());
}

/// A replica that slept finds a side channel full of events that somebody else has judged meanwhile.
#[tokio::test]
async fn sd18_a_replica_whose_lease_lapsed_reads_the_row_before_it_ends_a_call() {
    let app = TestApp::new();
    app.app.state().broker.tend_calls().await;
    let call = Opened::by(&app).await;
    let side = channel(&app);
    side.say(&says("input_audio_buffer.speech_started"));
    pass(&app, 1).await;
    let claimed = app.ledger.claim_calls("another").await.unwrap();
    assert_eq!(claimed.len(), 1);
    for _ in 0..4 {
        side.say(&changed());
    }
    app.clock.advance(Duration::from_secs(40));
    pass(&app, 3).await;
    assert_eq!(call.look(&app).await["state"], "open");
    assert_eq!(
        side.sent().len(),
        1,
        "nothing but the persona at the beginning"
    );
}

#[tokio::test]
async fn ca25_a_page_that_listens_to_its_events_has_joined() {
    let app = TestApp::new();
    let call = Opened::by(&app).await;
    let events = app
        .get(&format!("{}/events", call.path))
        .bearer(&call.ticket)
        .stream()
        .await;
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    pass(&app, 20).await;
    assert_eq!(call.look(&app).await["state"], "open");
}
