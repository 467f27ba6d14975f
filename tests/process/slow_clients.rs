//! Clients that take their time: each is let go at its deadline, and no later.

use std::time::Duration;

use tokio::time::Instant;

use crate::kit::executable::{Broker, Launch};
use crate::kit::provider::simulator;
use crate::kit::waiting::{amid_the_work, until};
use crate::kit::wire::{ALIVE, Heard, Left, Wire};

/// When a deadline of a second is met at the earliest, and at the latest on a busy machine.
const EARLIEST: Duration = Duration::from_millis(900);
const KEPT: Duration = Duration::from_secs(15);

/// A broker with little patience of one kind, and endless patience of all others.
async fn impatient(setting: &str) -> Broker {
    let simulator = simulator(&[]).await;
    let others = [
        "server.header_timeout",
        "server.keep_alive",
        "server.body_timeout",
        "server.write_timeout",
    ];
    let launch = others
        .iter()
        .fold(Launch::serve(&simulator), |launch, other| {
            launch.set(other, if *other == setting { "1s" } else { "2m" })
        });
    launch.start().await
}

#[track_caller]
fn let_go_in_time(heard: &Heard) {
    assert!((EARLIEST..KEPT).contains(&heard.after), "{heard:?}");
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_disconnected_at_header_timeout() {
    let broker = impatient("server.header_timeout").await;
    let heard = Wire::to(broker.address).await.hear().await;
    let_go_in_time(&heard);
}

#[tokio::test]
async fn a_client_that_sends_half_a_head_is_disconnected_at_header_timeout() {
    let broker = impatient("server.header_timeout").await;
    for half in [
        "P",
        "POST /token HTTP/1.1\r\nHost: localh",
        "POST /token HTTP/1.1\r\nHost: localhost\r\n",
    ] {
        let mut wire = Wire::to(broker.address).await;
        wire.send(half).await;
        let heard = wire.hear().await;
        let_go_in_time(&heard);
        assert!(!heard.text.contains(" 200 "), "{heard:?}");
    }
}

#[tokio::test]
async fn a_client_that_trickles_headers_is_disconnected_at_header_timeout() {
    let broker = impatient("server.header_timeout").await;
    let mut wire = Wire::to(broker.address).await;
    let began = Instant::now();
    wire.send("POST /token HTTP/1.1\r\nHost: localhost\r\n")
        .await;
    let trickling = async {
        let mut number = 0;
        loop {
            let heard = wire.hear_for(Duration::from_millis(300)).await;
            if heard.left == Left::Closed {
                break began.elapsed();
            }
            number += 1;
            wire.send(format!("X-Trickle-{number}: 1\r\n")).await;
            assert!(number < 60, "it goes on listening");
        }
    };
    let took = trickling.await;
    assert!((EARLIEST..KEPT).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_after_keep_alive() {
    let broker = impatient("server.keep_alive").await;
    let mut wire = Wire::to(broker.address).await;
    wire.send(ALIVE).await;
    assert_eq!(wire.answer().await.body, "alive");
    let heard = wire.hear().await;
    let_go_in_time(&heard);
}

#[tokio::test]
async fn f09_a_connection_is_kept_between_requests_for_longer_than_a_head_may_take() {
    let broker = impatient("server.header_timeout").await;
    for pause in [0, 1_800] {
        let mut wire = Wire::to(broker.address).await;
        for _ in 0..3 {
            wire.send(ALIVE).await;
            assert_eq!(wire.answer().await.body, "alive");
            // At once, or after the bound on heads and nearly as much again.
            amid_the_work(pause).await;
        }
        // The next head has its deadline all the same: at once, and after a pause.
        wire.send("POST /token HTTP/1.1\r\nHo").await;
        let_go_in_time(&wire.hear().await);
    }
}

#[tokio::test]
async fn the_rest_of_a_pipelined_head_may_come_after_a_pause() {
    let broker = impatient("server.keep_alive").await;
    let mut wire = Wire::to(broker.address).await;
    let (begin, rest) = ALIVE.split_at(10);
    wire.send(format!("{ALIVE}{begin}")).await;
    assert_eq!(wire.answer().await.body, "alive");
    // Longer than the broker keeps buffers for a connection that it takes for idle, and it says nothing to that.
    let heard = wire.hear_for(Duration::from_millis(400)).await;
    assert_eq!((&*heard.text, heard.left), ("", Left::Open));
    wire.send(rest).await;
    assert_eq!(wire.answer().await.body, "alive");
}

#[tokio::test]
async fn a_client_that_sends_part_of_a_body_is_answered_400_and_disconnected_at_body_timeout() {
    let broker = impatient("server.body_timeout").await;
    let begin = "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    for rest in [
        "Content-Length: 20\r\n\r\n{\"pers",
        "Transfer-Encoding: chunked\r\n\r\n6\r\n{\"pers\r\n",
    ] {
        let mut wire = Wire::to(broker.address).await;
        wire.send(format!("{begin}{rest}")).await;
        let heard = wire.hear().await;
        let_go_in_time(&heard);
        let parts = heard.parts();
        assert_eq!(heard.statuses(), [400], "{heard:?}");
        assert!(
            parts[0].body.contains(r#""code":"bad_request""#),
            "{heard:?}"
        );
    }
}

#[tokio::test]
async fn a_client_that_trickles_a_body_is_answered_400_at_body_timeout() {
    let broker = impatient("server.body_timeout").await;
    let mut wire = Wire::to(broker.address).await;
    let began = Instant::now();
    wire.send("POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{").await;
    let mut heard = String::new();
    while heard.is_empty() {
        assert!(began.elapsed() < KEPT, "it goes on listening");
        wire.send(" ").await;
        heard = wire.hear_for(Duration::from_millis(300)).await.text;
    }
    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
    assert!(began.elapsed() >= EARLIEST, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_is_disconnected_at_write_timeout() {
    let broker = impatient("server.write_timeout").await;
    let mut wire = Wire::narrow(broker.address).await;
    let asking = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    // It stops reading when nobody takes its answers, so perhaps not all of them can be sent.
    let _ = tokio::time::timeout(2 * EARLIEST, wire.send(&asking)).await;
    // 18 MB of answers fill every buffer between here and there; then the deadline begins.
    until("it is disconnected", || wire.is_let_go()).await;
    let heard = wire.hear().await;
    let answers = heard.text.matches("HTTP/1.1 200 OK").count();
    assert!(answers < 1000, "it waited until somebody read");
    // And it is well.
    let mut other = Wire::to(broker.address).await;
    other.send(ALIVE).await;
    assert_eq!(other.answer().await.status, 200);
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_every_answer() {
    let broker = impatient("server.write_timeout").await;
    let mut wire = Wire::narrow(broker.address).await;
    let asking = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(40);
    wire.send(&asking).await;
    wire.send("GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    let heard = wire.hear().await;
    assert_eq!(heard.statuses(), [200; 41], "{}", heard.text.len());
}

#[tokio::test]
async fn a_client_that_pauses_before_it_reads_gets_every_answer() {
    let broker = impatient("server.keep_alive").await;
    let mut wire = Wire::narrow(broker.address).await;
    let asking = "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    wire.send(asking.repeat(200)).await;
    // Longer than the broker keeps an idle connection. This one is not idle: its answers wait.
    for _ in 0..2 {
        let mut idle = Wire::to(broker.address).await;
        idle.send(ALIVE).await;
        assert_eq!(idle.answer().await.body, "alive");
        idle.hear().await;
    }
    let heard = wire.hear().await;
    assert_eq!(heard.statuses(), [200; 200], "{}", heard.text.len());
}
