//! Refusals that are ready before the body has come: the connection stays usable, or the answer says that it does not.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};

use crate::kit::executable::{Broker, Launch};
use crate::kit::provider::simulator;
use crate::kit::waiting::PATIENCE;
use crate::kit::wire::{ALIVE, MINT, Part, Wire};

const HEAD: &str = "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

/// A broker that has nothing left to give to this address.
async fn spent() -> Broker {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("limits.token", "1/60s")
        .set("guard.never_block", "127.0.0.1")
        .start()
        .await;
    let mut wire = Wire::to(broker.address).await;
    wire.send(MINT).await;
    assert_eq!(wire.answer().await.status, 200);
    broker
}

/// Asks once more after an answer, as its `Connection` header allows.
async fn ask_again(wire: &mut Wire, first: &Part) -> Option<Part> {
    if first.header("connection") == Some("close") {
        assert_eq!(wire.hear().await.text, "");
        return None;
    }
    wire.send(ALIVE).await;
    Some(wire.answer().await)
}

/// Sends a head, and its body at once or a moment `later`, as many clients do. Returns the refusal, what was answered to the next
/// request, and how long the body was away.
async fn refused(
    broker: &Broker,
    (head, body): (&str, &str),
    later: bool,
) -> (Part, Option<Part>, Duration) {
    let mut wire = Wire::to(broker.address).await;
    wire.0.set_nodelay(true).unwrap();
    let began = Instant::now();
    if later {
        wire.send_alone(head).await;
    } else {
        wire.send(head).await;
    }
    wire.send(body).await;
    let away = began.elapsed();
    let refusal = wire.answer().await;
    assert_eq!(refusal.status, 429, "{refusal:?}");
    let next = ask_again(&mut wire, &refusal).await;
    (refusal, next, away)
}

#[tokio::test]
async fn a_body_that_comes_a_little_later_costs_nobody_the_connection() {
    let broker = spent().await;
    for later in [false, true] {
        for (length, body) in [
            ("Content-Length: 2\r\n\r\n", "{}"),
            ("Transfer-Encoding: chunked\r\n\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        ] {
            let head = format!("{HEAD}{length}");
            // On a busy machine the moment may be longer than the broker waits.
            let (refusal, next) = loop {
                let (refusal, next, away) = refused(&broker, (&head, body), later).await;
                if away < Duration::from_millis(25) {
                    break (refusal, next);
                }
            };
            let status = next.map(|next| next.status);
            assert_eq!(status, Some(200), "{later}: {refusal:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_never_comes_costs_the_connection_and_the_answer_says_so() {
    let broker = spent().await;
    for length in [
        "Content-Length: 2\r\n\r\n",
        "Content-Length: 900000\r\n\r\n{",
        "Transfer-Encoding: chunked\r\n\r\n",
    ] {
        let mut wire = Wire::to(broker.address).await;
        wire.send(format!("{HEAD}{length}")).await;
        let refusal = wire.answer().await;
        assert_eq!(
            (refusal.status, refusal.header("connection")),
            (429, Some("close")),
            "{refusal:?}"
        );
        assert_eq!(wire.hear().await.text, "");
    }
}

#[tokio::test]
async fn a_caller_who_waits_to_be_asked_for_the_body_is_refused_unasked() {
    let broker = spent().await;
    let mut wire = Wire::to(broker.address).await;
    wire.send(format!(
        "{HEAD}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    ))
    .await;
    let refusal = wire.answer().await;
    assert_eq!(
        (refusal.status, refusal.header("connection")),
        (429, Some("close")),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn a_client_that_uploads_on_still_gets_its_refusal_and_no_reset() {
    let broker = spent().await;
    let chunk = vec![b'a'; 64 * 1024];
    // What announces more than any upload has is not waited for.
    for (length, chunks) in [(1_000_000, 15), (26_000_000, 396), (90_000_000, 0)] {
        let mut wire = Wire::to(broker.address).await;
        wire.send(format!("{HEAD}Content-Length: {length}\r\n\r\n"))
            .await;
        let refusal = wire.answer().await;
        assert_eq!(
            (refusal.status, refusal.header("connection")),
            (429, Some("close"))
        );
        for _ in 0..chunks {
            assert!(wire.send(&chunk).await, "{length}: it does not listen");
        }
        if chunks > 0 {
            let sent = chunks * chunk.len();
            assert!(wire.send(&chunk[..length - sent]).await, "{length}");
        }
        let rest = timeout(PATIENCE, wire.0.read(&mut [0; 1])).await.unwrap();
        assert_eq!(rest.ok(), Some(0), "{length}: it was reset");
    }
}
