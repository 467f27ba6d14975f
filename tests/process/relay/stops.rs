//! Relays whose replica stops, or whose database is away.

use serde_json::json;
use sqlx::Connection;
use token_broker::simulator::Turn;

use super::super::ledger_file::Books;
use super::{Client, LONG, session};
use crate::kit::executable::Launch;
use crate::kit::provider::simulator;

#[tokio::test]
async fn the_use_of_an_answer_that_a_stop_cuts_off_is_written_before_the_end() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let launch = books.with(Launch::serve(&simulator));
    let launch = launch.set("server.drain_delay", "0s");
    // The answer is cut off a second after the signal.
    let mut broker = launch.set("server.drain_timeout", "6s").start().await;
    simulator
        .calls()
        .switch(|switches| switches.long_responses = true);
    let mut client = Client::of(&broker).await;
    client.say(&json!({"type": "response.create"})).await;
    client.hear("response.output_audio.delta").await;
    broker.running.signal("TERM");
    assert_eq!(client.end().await.0.unwrap().0, 1012);
    assert_eq!(broker.running.end(LONG).await.code, Some(0));
    assert_eq!(session(&simulator).used.len(), 1);
    let measured = "SELECT COUNT(*) FROM call_uses WHERE mark = 'measured'";
    assert_eq!(books.number(measured).await, 1);
}

#[tokio::test]
async fn limits_end_a_relay_while_the_database_is_away() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let launch = books.with(Launch::serve(&simulator));
    let launch = launch.set("call.max_duration", "15s");
    let broker = launch.set("call.warn_before", "5s").start().await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    let mut other = books.open().await;
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    // More than the watch of the relay keeps while it waits for the database.
    let id = session(&simulator).id;
    for _ in 0..60 {
        simulator
            .calls()
            .play(&id, &Turn::Say("Good day.".to_owned()));
        simulator.calls().finish(&id);
    }
    let (closed, last) = client.end().await;
    assert_eq!(
        (closed.unwrap().0, &last["error"]["code"]),
        (1001, &json!("session_expired"))
    );
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
}
