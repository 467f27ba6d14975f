//! Many connections at once: a bound, and good callers served beside bad ones.

use std::time::Duration;

use tokio::time::Instant;

use super::harness::{Broker, Launch, PATIENCE, simulator};
use super::wire::{ALIVE, MINT, Wire};

/// A connection that has been answered, so it certainly has a place.
async fn seated(broker: &Broker) -> Wire {
    let mut wire = Wire::to(broker.address).await;
    wire.send(ALIVE).await;
    assert_eq!(wire.answer().await.status, 200);
    wire
}

/// True when a new connection is closed without a word.
async fn is_full(broker: &Broker) -> bool {
    let mut wire = Wire::to(broker.address).await;
    wire.send(ALIVE).await;
    let heard = wire.hear_for(Duration::from_millis(500)).await;
    heard.text.is_empty()
}

#[tokio::test]
async fn beyond_the_cap_connections_are_closed_at_once_and_places_come_back() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("server.max_connections", "5")
        .start()
        .await;
    let mut seats = Vec::new();
    for _ in 0..5 {
        seats.push(seated(&broker).await);
    }
    let mut sixth = Wire::to(broker.address).await;
    let heard = sixth.hear().await;
    assert!(
        heard.text.is_empty() && heard.after < Duration::from_secs(2),
        "{heard:?}"
    );
    assert!(is_full(&broker).await);

    // Those who have a place keep it.
    seats[0].send(ALIVE).await;
    assert_eq!(seats[0].answer().await.status, 200);

    drop(seats.pop());
    let began = Instant::now();
    while is_full(&broker).await {
        assert!(began.elapsed() < PATIENCE, "the place never came back");
    }
}

#[tokio::test]
async fn silent_connections_give_their_places_back() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("server.max_connections", "5")
        .set("server.header_timeout", "1s")
        .start()
        .await;
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(Wire::to(broker.address).await);
    }
    let began = Instant::now();
    while is_full(&broker).await {
        assert!(
            began.elapsed() < PATIENCE,
            "silent connections hold their places"
        );
    }
}

#[tokio::test]
async fn beside_200_idle_and_slow_connections_good_requests_are_served() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("limits.token", "100/60s")
        .set("server.header_timeout", "60s")
        .start()
        .await;
    let mut bad = Vec::new();
    for number in 0..200 {
        let mut wire = Wire::to(broker.address).await;
        match number % 4 {
            0 => true,
            1 => wire.send("POST /tok").await,
            2 => wire.send("POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{").await,
            _ => wire.send(ALIVE).await,
        };
        bad.push(wire);
    }
    for _ in 0..20 {
        let began = Instant::now();
        let mut wire = Wire::to(broker.address).await;
        wire.send(MINT).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, 200, "{}", answer.head);
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
    }
    assert_eq!(simulator.minted(), 20);
}
