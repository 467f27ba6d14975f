//! What clients are told before their relay ends, if they ask for it: row OB7.

use serde_json::json;

use super::{Client, pair, session};

/// A client that asks to be told.
const ASKING: &str = "/v1/realtime?notices=1";

#[tokio::test]
async fn ob7_who_asks_for_it_is_told_before_the_time_is_over_and_nobody_else_is() {
    let limits = [("call.max_duration", "15s"), ("call.warn_before", "13s")];
    let (_simulator, broker) = pair(&limits).await;
    let mut other = Client::of(&broker).await;
    let (mut client, _) = Client::with(&broker, ASKING, &[]).await;
    let told = client.hear("broker.call.ending").await;
    assert_eq!(told["reason"], "time_limit", "{told}");
    let left = told["seconds_left"].as_u64().unwrap();
    assert!((1..=13).contains(&left), "{told}");
    assert!(told["event_id"].is_string(), "{told}");
    // The other client was warned before, and its next event is the answer to its own.
    other.hear("session.created").await;
    other.say(&json!({"type": "no.such.event"})).await;
    assert_eq!(other.next().await.unwrap()["type"], "error");
}

#[tokio::test]
async fn ob7_who_asks_for_it_is_told_that_its_replica_stops_at_the_end_of_an_answer() {
    let (simulator, mut broker) = pair(&[]).await;
    simulator
        .calls()
        .switch(|switches| switches.long_responses = true);
    let (mut client, _) = Client::with(&broker, ASKING, &[]).await;
    client.say(&json!({"type": "response.create"})).await;
    client.hear("response.output_audio.delta").await;
    broker.running.signal("TERM");
    let told = client.hear("broker.call.ending").await;
    assert_eq!(told["reason"], "shutdown", "{told}");
    simulator.calls().finish(&session(&simulator).id);
    assert_eq!(client.end().await.0.unwrap().0, 1012);
    broker.running.end(super::LONG).await;
}
