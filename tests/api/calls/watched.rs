//! What the broker makes of what it sees and hears on the way: odd sessions, errors, lost records, listening pages.

use serde_json::json;
use token_broker::upstream::UpstreamError;

use super::leash::{done, named};
use super::{Opened, channel, ended, offer, pass, says};
use crate::fragile::fragile;
use crate::kit::in_process::{START, TestApp};
use crate::kit::waiting::{SOON, eventually};
use crate::metrics;

#[tokio::test]
async fn ca05_a_call_that_is_not_known_yet_is_joined_before_its_answer() {
    let app = TestApp::new();
    for _ in 0..3 {
        app.calls.fail_join(UpstreamError::UnknownCall(404.into()));
    }
    let dialled = tokio::spawn(offer(&app).send());
    eventually("the answer", SOON, async || {
        pass(&app, 1).await;
        dialled.is_finished()
    })
    .await;
    assert_eq!(dialled.await.unwrap().status, 201);
    assert_eq!(channel(&app).sent()[0]["type"], "session.update");
}

#[tokio::test]
async fn ob08_the_answer_says_how_long_the_provider_and_the_side_channel_took() {
    let answer = offer(&TestApp::new()).send().await;
    let timing = answer.header("server-timing").unwrap();
    let names: Vec<_> = timing
        .split(", ")
        .map(|part| part.split(';').next())
        .collect();
    assert_eq!(names, [Some("upstream"), Some("join"), Some("total")]);
}

#[tokio::test]
async fn sd08_a_voice_that_cannot_be_changed_is_no_matter_of_ours() {
    let app = TestApp::new();
    let call = Opened::by(&app).await;
    let side = channel(&app);
    side.say(&says("input_audio_buffer.speech_started"));
    for _ in 0..8 {
        let error = json!({ "type": "invalid_request_error", "code": "cannot_update_voice" });
        side.say(&json!({ "type": "error", "event_id": "event_1", "error": error }));
    }
    pass(&app, 3).await;
    assert_eq!(side.sent().len(), 1);
    assert_eq!(call.look(&app).await["state"], "open");
}

#[tokio::test]
async fn sd19_calls_end_in_time_without_the_records_and_their_use_is_written_when_they_are_back() {
    let (app, records) = fragile("[call]\nmax_duration = '40s'\npersona = 'free'\n");
    let call = Opened::by(&app).await;
    let side = named(&app);
    records.fail(true, true);
    side.say(&done("resp_1"));
    pass(&app, 5).await;
    offer(&app).send().await.is(503, "ledger_unavailable");
    assert!(app.calls.hung_up().is_empty());
    pass(&app, 37).await;
    eventually("the hang-up", SOON, async || app.calls.hung_up().len() == 1).await;
    records.fail(false, false);
    eventually("the use", SOON, async || {
        pass(&app, 1).await;
        call.look(&app).await["turns"] == 1
    })
    .await;
    // Whoever tends calls finds that it is over.
    pass(&app, 20).await;
    app.app.state().broker.tend_calls().await;
    assert_eq!(call.reason(&app).await, "time_limit");
}

/// The audit log says what a call has cost only when the last answer is counted, which may end after the hang-up.
#[tokio::test]
async fn ob03_the_audit_log_has_the_use_of_the_last_answer() {
    let app = TestApp::with(&[("call.persona", "free"), ("connect.mode", "call")]);
    let call = Opened::by(&app).await;
    let side = named(&app);
    let hang_up = format!("{}/hangup", call.path);
    app.post(&hang_up).bearer(&call.ticket).send().await;
    assert_eq!(call.look(&app).await["state"], "ended");
    side.say(&done("resp_1"));
    assert!(app.events("call_ended").is_empty());
    let details = ended(&app).await;
    assert_eq!(app.events("call_ended").len(), 1);
    assert_eq!(
        (&details["turns"], &details["cost"]),
        (&json!(1), &json!("0.010296"))
    );
    assert_eq!(details["estimated_cost"], "0.00");
    assert_eq!(details["reason"], "hung_up");
}

/// The records take nothing for two minutes: the call ends. What it used is not lost.
#[tokio::test]
async fn mo18_sd20_use_that_cannot_be_written_ends_the_call_and_is_written_later() {
    let (app, records) = fragile("[call]\npersona = 'free'\nidle_timeout = '600s'\n");
    let call = Opened::by(&app).await;
    let side = named(&app);
    pass(&app, 1).await;
    records.fail(true, true);
    side.say(&done("resp_1"));
    drop(side);
    pass(&app, 110).await;
    assert!(app.calls.hung_up().is_empty());
    pass(&app, 15).await;
    eventually("the hang-up", SOON, async || app.calls.hung_up().len() == 1).await;
    records.fail(false, false);
    eventually("the use", SOON, async || {
        pass(&app, 1).await;
        call.look(&app).await["cost"] == "0.010296"
    })
    .await;
}

#[tokio::test]
async fn sd24_a_side_channel_of_another_call_is_not_believed() {
    let app = TestApp::new();
    app.calls.show(json!({ "id": "sess_u0_another" }));
    offer(&app).send().await.is(502, "upstream_invalid");
    assert_eq!(app.calls.hung_up().len(), 1);
}

#[tokio::test]
async fn sd26_a_call_ends_before_the_provider_would_end_it() {
    let app = TestApp::with(&[("call.max_duration", "30m")]);
    for (ends_in, seconds) in [(600, 595), (7_200, 1_800), (10, 1_800)] {
        app.calls
            .show(json!({ "expires_at": START.as_seconds() + ends_in }));
        let call = Opened::by(&app).await;
        assert_eq!(call.look(&app).await["seconds_left"], seconds, "{ends_in}");
    }
}

#[tokio::test]
async fn sd28_an_account_without_credit_ends_the_call_and_starts_nothing_new_and_other_errors_do_not()
 {
    let app = TestApp::new();
    let call = Opened::by(&app).await;
    let error = |code| json!({ "type": "error", "event_id": "event_1", "error": { "code": code } });
    channel(&app).say(&error("conversation_already_has_active_response"));
    pass(&app, 1).await;
    assert_eq!(call.look(&app).await["state"], "open");
    channel(&app).say(&error("insufficient_quota"));
    assert_eq!(call.reason(&app).await, "provider");
    let refused = offer(&app).send().await;
    refused.is(503, "upstream_unavailable");
    assert!(refused.retry_after() >= 10, "{refused:?}");
    assert_eq!(app.calls.orders().len(), 1, "the provider is not asked");
}

#[tokio::test]
async fn four_pages_can_listen_to_a_call_and_a_fifth_when_one_of_them_leaves() {
    let app = TestApp::new();
    let call = Opened::by(&app).await;
    let listen = || {
        app.get(&format!("{}/events", call.path))
            .bearer(&call.ticket)
    };
    let mut pages = Vec::new();
    for _ in 0..4 {
        pages.push(listen().stream().await);
    }
    let refused = listen().send().await;
    refused.is(429, "call_limit");
    assert_eq!(refused.json["error"]["limit"], "events");
    pages.pop();
    assert_eq!(listen().stream().await.status(), 200);
}

#[tokio::test]
async fn callers_without_identity_share_the_calls_of_their_neighbourhood() {
    let app = TestApp::with(&[("call.max_live_network", "1")]);
    let from = async |address| offer(&app).from(address).send().await;
    assert_eq!(from("2001:db8:1:1::1").await.status, 201);
    let refused = from("2001:db8:1:2::1").await;
    refused.is(429, "call_limit");
    assert_eq!(refused.json["error"]["limit"], "max_live_network");
    assert_eq!(from("2001:db8:2:1::1").await.status, 201);
}

#[tokio::test]
async fn sd23_sd28_odd_events_and_errors_are_counted_and_end_nothing() {
    let app = metrics::app(&[]);
    let call = Opened::by(&app).await;
    let side = channel(&app);
    for _ in 0..3 {
        side.say(&says("response.of_tomorrow"));
    }
    side.say(&json!(["response.done"]));
    side.say(&json!({ "type": "response.done", "response": null }));
    let error = json!({ "code": "conversation_already_has_active_response" });
    side.say(&json!({ "type": "error", "event_id": "event_1", "error": error }));
    pass(&app, 1).await;
    let page = metrics::scrape(&app, "text/plain").await.text;
    for (kind, number) in [
        ("unknown", 3),
        ("no_event", 1),
        ("incomplete", 1),
        ("error", 1),
    ] {
        let line = format!("broker_side_channel_odd_events_total{{kind=\"{kind}\"}} {number}\n");
        assert!(page.contains(&line), "{line}");
    }
    assert_eq!(call.look(&app).await["state"], "open");
}
