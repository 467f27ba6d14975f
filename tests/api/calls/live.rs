//! Calls of GPT-Live: how they begin, what their page may do, and how they end (rows LV of the acceptance matrix).

use serde_json::{Value, json};
use token_broker::upstream::UpstreamError;

use super::{OFFER, Opened, channel, ended, offer, pass, says};
use crate::kit::answer::Answer;
use crate::kit::calls::ANSWER;
use crate::kit::in_process::{START, TestApp};
use crate::kit::waiting::{SOON, eventually};

/// What every test of GPT-Live has.
pub const LIVE: [(&str, &str); 3] = [
    ("connect.mode", "call"),
    ("personas.file", "tests/api/calls/live.toml"),
    ("money.prices", "tests/api/calls/live-prices.toml"),
];

pub fn app(settings: &[(&str, &str)]) -> TestApp {
    TestApp::with(&[&LIVE, settings].concat())
}

/// The last report of a session.
pub fn closed(reason: &str, usage: &Value) -> Value {
    json!({ "type": "session.closed", "event_id": "e9", "reason": reason, "usage": usage })
}

/// Waits until the broker has closed the session itself.
pub async fn closes(app: &TestApp) {
    let side = channel(app);
    eventually("the broker closes the session", SOON, async || {
        side.sent()
            .last()
            .is_some_and(|event| event["type"] == "session.close")
    })
    .await;
}

/// The session that the provider was asked for last.
fn asked(app: &TestApp) -> Value {
    let order = app.calls.orders().pop().unwrap();
    serde_json::from_str(order.session.as_json().get()).unwrap()
}

async fn sample(app: &TestApp, persona: &str) -> Answer {
    let path = format!("/api/session?persona={persona}");
    app.post(&path).json(&json!({ "sdp": OFFER })).send().await
}

#[tokio::test]
async fn lv1_lv3_an_offer_alone_opens_the_personas_session_with_both_lists() {
    let app = app(&[("call.strip_candidates", "false")]);
    let request = json!({ "transport": { "type": "webrtc", "sdp": OFFER } });
    let of_sdk = app.post("/v1/live/sessions").json(&request).send().await;
    for answer in [sample(&app, "default").await, of_sdk] {
        assert_eq!(answer.status, 201, "{answer:?}");
        let id = answer.json["session"]["id"].as_str().unwrap();
        let body =
            json!({ "session": { "id": id }, "transport": { "type": "webrtc", "sdp": ANSWER } });
        assert_eq!(answer.json, body);
        assert_eq!(answer.header("location"), Some(&*format!("/calls/{id}")));
        assert!(answer.header("x-call-ends-at").is_some());
        let asked = asked(&app);
        assert_eq!(asked["model"], "gpt-live-1");
        assert_eq!(asked["instructions"], "canary-instructions");
        assert_eq!(asked.get("type"), None);
        let lists = &asked["client"]["data_channel"];
        let sent = json!([
            "session.close",
            "session.input_audio.mute",
            "session.input_audio.unmute"
        ]);
        assert_eq!(lists["allowed_client_events"], sent);
        let seen = lists["allowed_server_events"].to_string();
        assert!(
            !seen.contains("session.started") && !seen.contains("session.closed"),
            "{seen}"
        );
        assert!(seen.contains("session.output_transcript.delta"), "{seen}");
        let order = app.calls.orders().pop().unwrap();
        assert_eq!(order.offer, OFFER);
    }
    assert_eq!(sample(&app, "sample").await.status, 201);
    let seen = asked(&app)["client"]["data_channel"]["allowed_server_events"].to_string();
    assert!(
        seen.contains("session.started") && seen.contains("session.closed"),
        "{seen}"
    );
    assert!(!seen.contains("session.update"), "{seen}");
    // A page of ours posts the offer alone, and need not know which dialect the persona speaks.
    let answer = offer(&app).send().await;
    assert_eq!((answer.status, &*answer.text), (201, ANSWER));
}

#[tokio::test]
async fn lv2_a_page_that_sends_settings_of_a_session_gets_400_and_nothing_is_created() {
    let app = app(&[("limits.token", "100/60s")]);
    for field in ["model", "instructions", "delegation", "client", "voice"] {
        let session = json!({ field: "gpt-live-1" });
        let request =
            json!({ "session": session, "transport": { "type": "webrtc", "sdp": OFFER } });
        let refused = app.post("/v1/live/sessions").json(&request).send().await;
        refused.is(400, "bad_request");
        assert_eq!(refused.json["error"]["param"], "session");
        let request = json!({ "sdp": OFFER, "session": session });
        let refused = app.post("/api/session").json(&request).send().await;
        refused.is(400, "bad_request");
        assert_eq!(refused.json["error"]["param"], "session");
        let form = format!(
            "--x\r\nContent-Disposition: form-data; name=\"sdp\"\r\n\r\n{OFFER}\r\n\
             --x\r\nContent-Disposition: form-data; name=\"session\"\r\n\r\n{session}\r\n--x--\r\n"
        );
        let form = app
            .post("/calls")
            .body("multipart/form-data; boundary=x", form);
        form.send().await.is(400, "bad_request");
    }
    let websocket = json!({ "transport": { "type": "websocket", "sdp": OFFER } });
    let refused = app.post("/v1/live/sessions").json(&websocket).send().await;
    refused.is(400, "bad_request");
    let empty = app.post("/v1/live/sessions").json(&json!({})).send().await;
    assert_eq!(empty.json["error"]["param"], "transport");
    assert!(app.calls.orders().is_empty());
}

#[tokio::test]
async fn each_path_takes_the_personas_that_speak_its_dialect_and_calls_takes_all() {
    let app = app(&[]);
    let realtime = |path: &str| app.post(path).body("application/sdp", OFFER);
    realtime("/v1/realtime/calls")
        .send()
        .await
        .is(422, "mode_not_allowed");
    sample(&app, "realtime").await.is(422, "mode_not_allowed");
    assert!(app.calls.orders().is_empty());
    assert_eq!(realtime("/calls?persona=realtime").send().await.status, 201);
    let id = channel(&app).call.id;
    assert!(id.as_str().starts_with("rtc_"), "{id:?}");
}

#[tokio::test]
async fn a_live_persona_has_no_client_secret_and_its_ticket_opens_a_call() {
    let app = app(&[("connect.mode", "direct"), ("session.max_live", "9")]);
    for mode in ["direct", "relay"] {
        let refused = app
            .post("/token")
            .json(&json!({ "connect": mode }))
            .send()
            .await;
        refused.is(422, "mode_not_allowed");
        let message = refused.json["error"]["message"].as_str().unwrap();
        assert!(message.contains("POST /calls"), "{message}");
    }
    let realtime = app.post("/v1/realtime/client_secrets").json(&json!({}));
    realtime.send().await.is(422, "mode_not_allowed");
    let minted = app.post("/token").send().await;
    assert_eq!(minted.json["connect"]["mode"], "call", "{minted:?}");
    assert_eq!(minted.json["session"]["type"], "live");
    let realtime = app.post("/token").json(&json!({ "persona": "realtime" }));
    let realtime = realtime.send().await;
    assert_eq!(realtime.json["session"]["type"], "realtime");
    let ticket = minted.json["token"].as_str().unwrap();
    assert_eq!(offer(&app).bearer(ticket).send().await.status, 201);
    assert!(channel(&app).call.id.is_live());
}

#[tokio::test]
async fn lv8_lv9_a_session_that_nobody_can_use_is_hung_up_and_its_creation_is_booked() {
    for fails in ["answer", "join", "another session"] {
        let app = app(&[]);
        match fails {
            "answer" => app.calls.fail_answer(UpstreamError::Invalid("no SDP")),
            "join" => app.calls.fail_join(UpstreamError::Refused(400.into())),
            _ => app.calls.show(json!({ "id": "live_u1_other" })),
        }
        let refused = offer(&app).send().await;
        refused.is(502, "upstream_invalid");
        assert_eq!(app.calls.hung_up().len(), 1, "{fails}");
        let event = ended(&app).await;
        assert_eq!(event["cost"], "0.0125", "{fails}");
    }
}

#[tokio::test]
async fn lv11_the_provider_says_when_a_session_expires_and_its_call_ends_before() {
    let end = START.as_seconds() + 400;
    for (shown, lasts) in [
        (json!(end), 395),
        (json!(format!("{end}.75").parse::<f64>().unwrap()), 395),
        (json!("in two hours"), 600),
        (Value::Null, 600),
    ] {
        let app = app(&[]);
        app.calls.show(json!({ "expires_at": shown }));
        let answer = offer(&app).send().await;
        let ends_at: u64 = answer.header("x-call-ends-at").unwrap().parse().unwrap();
        assert_eq!(ends_at, START.as_millis() + lasts * 1000, "{shown}");
        assert!(
            channel(&app).sent().is_empty(),
            "the session shows itself unasked"
        );
    }
}

#[tokio::test]
async fn lv18_a_call_that_reaches_its_limit_is_closed_and_its_place_is_free() {
    let limits = [
        ("call.max_duration", "60s"),
        ("call.warn_before", "20s"),
        ("call.farewell", "warn"),
        ("call.max_live_network", "1"),
    ];
    let app = app(&limits);
    let call = Opened::by(&app).await;
    let side = channel(&app);
    pass(&app, 41).await;
    eventually("the warning", SOON, async || !side.sent().is_empty()).await;
    let warning = side.sent().remove(0);
    assert_eq!(warning["type"], "session.instructions.append");
    assert_eq!(warning["delegation_id"], Value::Null);
    assert_eq!(call.look(&app).await["warning"], true);
    pass(&app, 20).await;
    closes(&app).await;
    assert_eq!(call.look(&app).await["state"], "ending");
    offer(&app).send().await.is(429, "call_limit");
    side.say(&closed("close_requested", &json!({ "seconds": 61.2 })));
    assert_eq!(call.reason(&app).await, "time_limit");
    assert!(
        app.calls.hung_up().is_empty(),
        "the session has closed itself"
    );
    pass(&app, 2).await;
    assert_eq!(offer(&app).send().await.status, 201);
}

#[tokio::test]
async fn lv19_a_session_that_does_not_close_is_hung_up_after_15_s_and_its_time_is_an_estimate() {
    let app = app(&[]);
    let call = Opened::by(&app).await;
    let side = channel(&app);
    pass(&app, 30).await;
    let path = format!("/v1/live/sessions/{}/hangup", side.call.id.as_str());
    let hung_up = app.post(&path).bearer(&call.ticket).send().await;
    assert_eq!(
        (hung_up.status, &hung_up.json["state"]),
        (200, &json!("ending"))
    );
    closes(&app).await;
    pass(&app, 14).await;
    assert!(app.calls.hung_up().is_empty());
    pass(&app, 2).await;
    assert_eq!(call.reason(&app).await, "hung_up");
    assert_eq!(app.calls.hung_up().len(), 1);
    drop(side);
    let ended = ended(&app).await;
    let nanos = |text: &Value| text.as_str().unwrap().parse::<f64>().unwrap();
    let (cost, estimate) = (nanos(&ended["cost"]), nanos(&ended["estimated_cost"]));
    assert!((0.0375..0.042).contains(&cost), "{ended}");
    assert!((cost - estimate - 0.0125).abs() < 1e-9, "{ended}");
}

#[tokio::test]
async fn lv21_no_error_ends_a_call_and_session_closed_does() {
    let app = app(&[("call.idle_timeout", "300s")]);
    let call = Opened::by(&app).await;
    let side = channel(&app);
    for error in [
        json!({ "type": "invalid_request_error", "code": null, "message": "canary-1", "client_event_id": "x" }),
        json!({ "type": "moderation", "code": "insufficient_quota", "message": "canary-2", "param": null }),
        json!({ "type": "server_error", "message": "Responses handoff incomplete" }),
    ] {
        side.say(&json!({ "type": "error", "event_id": "e1", "error": error }));
    }
    side.say(&says("session.delegation.created"));
    pass(&app, 5).await;
    assert_eq!(call.look(&app).await["state"], "open");
    side.say(&closed("content", &json!({ "seconds": 15 })));
    assert_eq!(call.reason(&app).await, "provider");
    assert!(app.calls.hung_up().is_empty());
    assert!(
        !side
            .sent()
            .iter()
            .any(|event| event["type"] == "session.close")
    );
}

#[tokio::test]
async fn a_page_that_closes_its_session_has_hung_up() {
    let app = app(&[]);
    let call = Opened::by(&app).await;
    channel(&app).say(&closed("close_requested", &json!({ "seconds": 15 })));
    assert_eq!(call.reason(&app).await, "hung_up");
}

#[tokio::test]
async fn silence_ends_a_call_and_transcripts_of_either_side_are_speech() {
    let app = app(&[("call.idle_timeout", "20s"), ("call.join_timeout", "5s")]);
    let call = Opened::by(&app).await;
    let side = channel(&app);
    for kind in [
        "session.input_transcript.delta",
        "session.output_transcript.delta",
    ] {
        pass(&app, 15).await;
        side.say(&json!({ "type": kind, "event_id": "e1", "delta": "canary", "start_ms": 1, "end_ms": 2 }));
    }
    pass(&app, 15).await;
    assert_eq!(call.look(&app).await["state"], "open");
    pass(&app, 6).await;
    closes(&app).await;
    side.say(&closed("close_requested", &json!({ "seconds": 51 })));
    assert_eq!(call.reason(&app).await, "idle");
}

#[tokio::test]
async fn lv10_a_page_that_leaves_before_its_answer_leaves_no_session_and_its_creation_is_booked() {
    let app = app(&[]);
    // The provider does not know the session at once, so that the page can leave meanwhile.
    app.calls.fail_join(UpstreamError::UnknownCall(404.into()));
    let page = tokio::spawn(offer(&app).send());
    eventually("the session", SOON, async || !app.calls.orders().is_empty()).await;
    page.abort();
    assert!(page.await.is_err(), "the page has gone");
    pass(&app, 1).await;
    eventually("the side channel", SOON, async || {
        !app.calls.channels().is_empty()
    })
    .await;
    closes(&app).await;
    channel(&app).say(&closed("close_requested", &json!({ "seconds": 3 })));
    let ended = ended(&app).await;
    assert_eq!(
        (&ended["reason"], &ended["cost"]),
        (&json!("hung_up"), &json!("0.0125"))
    );
}

#[tokio::test]
async fn lv5_calls_of_one_model_are_bounded_together_before_anything_is_spent() {
    let app = app(&[("live.max_sessions", "1"), ("call.max_live_network", "9")]);
    let (one, two) = tokio::join!(sample(&app, "default"), sample(&app, "sample"));
    let mut answers = [one, two];
    answers.sort_by_key(|answer| answer.status);
    assert_eq!(answers[0].status, 201);
    answers[1].is(429, "call_limit");
    assert_eq!(answers[1].json["error"]["limit"], "max_sessions");
    assert!(answers[1].retry_after() >= 1);
    assert_eq!(app.calls.orders().len(), 1);
    // Another model, and another dialect, are counted apart.
    assert_eq!(sample(&app, "backed").await.status, 201);
    let realtime = app
        .post("/calls?persona=realtime")
        .body("application/sdp", OFFER);
    assert_eq!(realtime.send().await.status, 201);
}
