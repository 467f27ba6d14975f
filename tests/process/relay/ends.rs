//! How relays end, and what each side is told.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::{Client, ask, left, pair, reason, session};
use crate::kit::answer::Answer;
use crate::kit::executable::Launch;
use crate::kit::provider::simulator;
use crate::kit::receiver::{Receiver, span};
use crate::kit::waiting::until;

/// The most money of a relay: enough for one answer as long as the persona allows.
const LITTLE: &str = "0.1";

#[tokio::test]
async fn re19_the_client_is_told_how_the_provider_closed() {
    let maximum = "Your session hit the maximum duration of 60 minutes.";
    for (code, why) in [
        (1000, ""),
        (1001, maximum),
        (1008, "no"),
        (1011, "oops"),
        (4000, "beta"),
        (1000, "sk-canary"),
    ] {
        let (simulator, broker) = pair(&[]).await;
        let mut client = Client::of(&broker).await;
        client.hear("session.created").await;
        simulator
            .calls()
            .close_for(&session(&simulator).id, Some((code, why)));
        let why = if why == "sk-canary" { "" } else { why };
        assert_eq!(client.end().await.0, Some((code, why.to_owned())));
        assert_eq!(reason(&broker).await, "provider");
    }
    let (simulator, broker) = pair(&[]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    simulator.calls().close_for(&session(&simulator).id, None);
    assert_eq!(client.end().await.0, None);

    let (simulator, broker) = pair(&[]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    simulator
        .calls()
        .close_side_channels(&session(&simulator).id, None);
    let (goodbye, last) = client.end().await;
    assert_eq!(
        (goodbye.unwrap().0, &last["error"]["type"]),
        (1011, &json!("server_error"))
    );
}

#[tokio::test]
async fn re22_a_reason_of_the_provider_is_passed_on_whole_and_not_at_all_when_it_may_hold_a_key() {
    let longest = format!("{}!", "é".repeat(61));
    let keys = [
        "Incorrect API key provided: sk-proj-canary",
        "The client secret ek_canary has expired",
        "Wrong header: Bearer canary",
    ];
    let keys = keys.map(|text| format!("{text:.<123}"));
    for (why, told) in [(&longest, &*longest)]
        .into_iter()
        .chain(keys.iter().map(|key| (key, "")))
    {
        assert_eq!(why.len(), 123);
        let (simulator, broker) = pair(&[]).await;
        let mut client = Client::of(&broker).await;
        client.hear("session.created").await;
        let id = session(&simulator).id;
        simulator.calls().close_for(&id, Some((4001, why.as_str())));
        assert_eq!(client.end().await.0, Some((4001, told.to_owned())));
        let ended = broker.stop().await;
        assert!(!ended.out.contains("canary") && !ended.err.contains("canary"));
    }
}

#[tokio::test]
async fn re20_the_provider_is_told_how_the_client_closed() {
    for code in [Some(1000), Some(3000), Some(4999), None] {
        let (simulator, broker) = pair(&[]).await;
        let mut client = Client::of(&broker).await;
        client.hear("session.created").await;
        let frame = code.map(|code: u16| CloseFrame {
            code: code.into(),
            reason: "bye".into(),
        });
        client.0.close(frame).await.unwrap();
        assert_eq!(left(&simulator).await, [code]);
        // Its own frame is answered.
        let answered = code.map(|code| (code, "bye".to_owned()));
        assert_eq!(client.end().await.0, answered);
        assert_eq!(reason(&broker).await, "hung_up");
    }
    let (simulator, broker) = pair(&[]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    drop(client);
    assert_eq!(left(&simulator).await, [Some(1001)]);
}

#[tokio::test]
async fn re21_a_provider_that_does_not_answer_a_close_frame_is_left() {
    let (simulator, broker) = pair(&[]).await;
    simulator
        .calls()
        .switch(|switches| switches.never_closes = true);
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    client.0.close(None).await.unwrap();
    assert_eq!(reason(&broker).await, "hung_up");
    // The process ends, so nothing waits for the provider any more.
    assert_eq!(broker.stop().await.code, Some(0));
}

#[tokio::test]
async fn an_answer_that_is_cut_off_by_its_client_is_stopped_and_paid_for() {
    let (simulator, broker) = pair(&[]).await;
    simulator
        .calls()
        .switch(|switches| switches.long_responses = true);
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    client.say(&json!({"type": "response.create"})).await;
    client.hear("response.output_audio.delta").await;
    client.0.close(None).await.unwrap();
    until("the usage", || !session(&simulator).used.is_empty()).await;
    assert_eq!(reason(&broker).await, "hung_up");
}

#[tokio::test]
async fn re25_money_ends_a_relay_in_words_that_sdks_stop_for() {
    let (simulator, broker) = pair(&[("call.max_money", LITTLE)]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    // Each answer costs about a fiftieth of the limit.
    for _ in 0..100 {
        client.say(&json!({"type": "response.create"})).await;
    }
    let (goodbye, last) = client.end().await;
    assert_eq!(
        (goodbye.unwrap().0, &last["error"]["code"]),
        (1008, &json!("insufficient_quota"))
    );
    assert_eq!(reason(&broker).await, "money_limit");
    assert_eq!(left(&simulator).await, [Some(1000)]);
}

#[tokio::test]
async fn turns_end_a_relay() {
    let (_simulator, broker) = pair(&[("call.max_turns", "2")]).await;
    let mut client = Client::of(&broker).await;
    client.turn().await;
    client.turn().await;
    let (goodbye, last) = client.end().await;
    assert_eq!(
        (goodbye.unwrap().0, &last["error"]["code"]),
        (1008, &json!("insufficient_quota"))
    );
    assert_eq!(reason(&broker).await, "turn_limit");
}

#[tokio::test]
async fn re26_time_ends_a_relay_as_the_providers_own_limit_does() {
    let (_simulator, broker) =
        pair(&[("call.max_duration", "15s"), ("call.warn_before", "5s")]).await;
    let mut client = Client::of(&broker).await;
    let (goodbye, last) = client.end().await;
    let (code, why) = goodbye.unwrap();
    assert_eq!(
        (code, &last["error"]["code"]),
        (1001, &json!("session_expired"))
    );
    assert!(why.contains("maximum duration"), "{why}");
    assert_eq!(reason(&broker).await, "time_limit");
}

#[tokio::test]
async fn silence_ends_a_relay() {
    let (_simulator, broker) = pair(&[("call.idle_timeout", "5s")]).await;
    let mut client = Client::of(&broker).await;
    let (goodbye, last) = client.end().await;
    assert_eq!(
        (goodbye.unwrap().0, &last["error"]["code"]),
        (1000, &json!("session_expired"))
    );
    assert_eq!(reason(&broker).await, "idle");
}

#[tokio::test]
async fn operators_see_relays_and_end_them() {
    const TOKEN: &str = "ops-token-of-the-relay-tests-0123456789";
    let simulator = simulator(&[]).await;
    let launch = Launch::serve(&simulator).env("BROKER_OPS__TOKEN", TOKEN);
    let broker = launch.set("ops.listen", "127.0.0.1:0").start().await;
    let ready = broker
        .running
        .logged(|line| line["message"] == "ready")
        .await;
    let ops = ready["operators"].as_str().unwrap().to_owned();
    let mut client = Client::of(&broker).await;
    client.turn().await;
    let client_of = crate::kit::http::client();
    let page = Answer::to(client_of.get(format!("{ops}/calls")).bearer_auth(TOKEN)).await;
    let listed: Vec<Value> = page.json["calls"].as_array().unwrap().clone();
    let id = session(&simulator).id;
    assert_eq!(
        (&listed[0]["id"], &listed[0]["state"]),
        (&json!(id), &json!("open")),
        "{page:?}"
    );
    let hang_up = client_of
        .post(format!("{ops}/calls/hangup"))
        .bearer_auth(TOKEN);
    let hang_up = Answer::to(
        hang_up
            .header("content-type", "application/json")
            .body(json!({"id": id}).to_string()),
    )
    .await;
    assert_eq!(hang_up.status, 200, "{hang_up:?}");
    let (goodbye, last) = client.end().await;
    assert_eq!(
        (goodbye.unwrap().0, &last["error"]["code"]),
        (1008, &json!("invalid_api_key"))
    );
    assert_eq!(reason(&broker).await, "operator");
    assert!(simulator.calls().hang_ups().is_empty());
}

#[tokio::test]
async fn re27_a_replica_that_stops_ends_its_relays_between_answers() {
    let (simulator, mut broker) = pair(&[("server.drain_delay", "1s")]).await;
    simulator
        .calls()
        .switch(|switches| switches.long_responses = true);
    let mut busy = Client::of(&broker).await;
    busy.say(&json!({"type": "response.create"})).await;
    busy.hear("response.output_audio.delta").await;
    let busy_id = session(&simulator).id;
    let mut idle = Client::of(&broker).await;
    idle.hear("session.created").await;
    broker.running.signal("TERM");
    assert_eq!(idle.end().await.0.unwrap().0, 1012);
    let refused = ask(&broker, "/v1/realtime").send().await;
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status() == 503));
    simulator.calls().finish(&busy_id);
    busy.hear("response.done").await;
    assert_eq!(busy.end().await.0.unwrap().0, 1012);
    assert_eq!(broker.running.end(super::LONG).await.code, Some(0));
    let reasons = broker.events("call_ended");
    assert!(
        reasons
            .iter()
            .all(|event| event["details"]["reason"] == "shutdown"),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn the_span_of_a_relay_ends_with_its_answer_and_one_of_its_end_links_to_it() {
    let receiver = Receiver::start().await;
    let (_simulator, broker) = pair(&[("otel.endpoint", &receiver.collector)]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    let name = "GET /v1/realtime";
    until("the spans of the opening", || {
        receiver
            .spans()
            .iter()
            .any(|span| span.text("name") == name)
    })
    .await;
    client.turn().await;
    client.0.close(None).await.unwrap();
    assert_eq!(reason(&broker).await, "hung_up");
    broker.stop().await;
    let spans = receiver.spans();
    let (request, end) = (span(&spans, name), span(&spans, "end"));
    assert_eq!(request.attribute("http.response.status_code"), Some("101"));
    let opened = span(&spans, "relay");
    assert_eq!(opened.text("parentSpanId"), request.text("spanId"));
    // What was used later is in no trace of the request.
    let uses = spans
        .iter()
        .filter(|span| span.text("name") == "ledger use call");
    assert!(
        uses.clone()
            .all(|span| span.text("parentSpanId") == end.text("spanId"))
    );
    assert_eq!(end.0["links"][0]["traceId"], request.text("traceId"));
    assert_eq!(end.0["links"][0]["spanId"], request.text("spanId"));
    assert_eq!(end.attribute("broker.end_reason"), Some("hung_up"));
    assert_eq!(end.attribute("broker.turns"), Some("1"));
}
