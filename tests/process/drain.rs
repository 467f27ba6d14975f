//! How it ends when it is asked to: not ready at once, work under way to its end, then exit code 0.

use std::time::Duration;

use tokio::time::Instant;

use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch};
use crate::kit::http::client;
use crate::kit::provider::simulator;
use crate::kit::waiting::{PATIENCE, SOON, until};
use crate::kit::wire::{ALIVE, Wire};

async fn draining(launch: Launch) -> Broker {
    let broker = launch.start().await;
    broker.running.signal("TERM");
    broker.running.said(|line| line.contains("draining")).await;
    broker
}

/// Tells the broker to end, and waits until its listener closes.
async fn close(broker: &Broker) {
    broker.running.signal("TERM");
    let is_closing = |line: &str| line.contains("new connections are refused");
    broker.running.said(is_closing).await;
}

#[tokio::test]
async fn sigterm_ends_an_idle_broker_after_its_drain_delay_with_code_0() {
    let simulator = simulator(&[]).await;
    let launch = Launch::serve(&simulator).set("server.drain_delay", "1s");
    let mut broker = launch.start().await;
    let began = Instant::now();
    broker.running.signal("TERM");
    let ended = broker.running.end(SOON).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        began.elapsed() >= Duration::from_millis(950),
        "{:?}",
        began.elapsed()
    );
    assert!(ended.out.contains("\"stopped\""), "{ended:?}");
}

#[tokio::test]
async fn a_mint_under_way_is_answered_before_the_end() {
    let simulator = simulator(&["slow:1s"]).await;
    let mut broker = Launch::serve(&simulator)
        .set("server.drain_delay", "0s")
        .start()
        .await;
    let asking = client().post(broker.url("/token"));
    let ending = async {
        until("a mint under way", || simulator.seen() == 1).await;
        close(&broker).await;
    };
    let (answer, ()) = tokio::join!(Answer::to(asking), ending);
    answer.secret();
    let ended = broker.running.end(SOON).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("token_minted"), "{ended:?}");
}

#[tokio::test]
async fn while_draining_probes_say_so_and_requests_are_still_served() {
    let simulator = simulator(&[]).await;
    let launch = Launch::serve(&simulator)
        .set("server.drain_delay", "20s")
        .set("server.drain_timeout", "1s");
    let broker = launch.start().await;
    let ready = Answer::to(broker.get("/readyz")).await;
    assert_eq!((ready.status, ready.text.as_str()), (200, "ready"));
    let mut old = Wire::to(broker.address).await;
    old.send(ALIVE).await;
    assert_eq!(old.answer().await.header("connection"), None);
    broker.running.signal("TERM");
    broker.running.said(|line| line.contains("draining")).await;

    old.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let on_the_old_connection = old.hear().await.parts().remove(0);
    assert_eq!(on_the_old_connection.status, 503);
    assert_eq!(on_the_old_connection.header("connection"), Some("close"));
    for (path, status) in [("/readyz", 503), ("/health", 503), ("/livez", 200)] {
        let answer = Answer::to(broker.get(path)).await;
        assert_eq!(
            (answer.status, answer.header("connection")),
            (status, Some("close")),
            "{path}"
        );
    }
    let health = Answer::to(broker.get("/health")).await;
    assert_eq!(
        (&health.json["ok"], &health.json["status"]),
        (&false.into(), &"unhealthy".into())
    );
    let minted = broker.token().await;
    minted.secret();
    assert_eq!(minted.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_request_that_was_on_its_way_when_the_listener_closed_is_answered() {
    let simulator = simulator(&[]).await;
    let mut broker = Launch::serve(&simulator)
        .set("server.drain_delay", "0s")
        .start()
        .await;
    let (mut new, mut old) = (
        Wire::to(broker.address).await,
        Wire::to(broker.address).await,
    );
    old.send(ALIVE).await;
    old.answer().await;
    close(&broker).await;
    for caller in [&mut new, &mut old] {
        caller.send(crate::kit::wire::MINT).await;
        let answer = caller.hear().await.parts().remove(0);
        let is_last = answer.header("connection") == Some("close");
        assert!(answer.status == 200 && is_last, "{answer:?}");
    }
    assert_eq!(broker.running.end(SOON).await.code, Some(0));
}

#[tokio::test]
async fn after_the_drain_delay_new_connections_are_refused() {
    let simulator = simulator(&["slow:6s"]).await;
    let broker = Launch::serve(&simulator)
        .set("server.drain_delay", "0s")
        .start()
        .await;
    let mut caller = Wire::to(broker.address).await;
    caller.send(crate::kit::wire::MINT).await;
    until("a mint under way", || simulator.seen() == 1).await;
    close(&broker).await;
    let refused = async || client().get(broker.url("/livez")).send().await.is_err();
    let began = Instant::now();
    while !refused().await {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "it still takes connections"
        );
    }
    assert_eq!(caller.hear().await.statuses(), [200]);
}

#[tokio::test]
async fn slow_clients_hold_up_the_end_no_longer_than_its_deadline() {
    let simulator = simulator(&[]).await;
    let mut broker = Launch::serve(&simulator)
        .set("server.drain_delay", "0s")
        .set("server.drain_timeout", "2s")
        .set("server.header_timeout", "60s")
        .set("server.body_timeout", "60s")
        .start()
        .await;
    let (mut half, mut body) = (
        Wire::to(broker.address).await,
        Wire::to(broker.address).await,
    );
    half.send("POST /token HTTP/1.1\r\nHost: loc").await;
    body.send("POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{").await;
    // The last of three connections is answered, so the other two have been taken.
    let mut last = Wire::to(broker.address).await;
    last.send(ALIVE).await;
    last.answer().await;
    let began = Instant::now();
    broker.running.signal("TERM");
    let ended = broker.running.end(PATIENCE).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let took = began.elapsed();
    assert!((1900..15_000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(simulator.seen(), 0);
}

/// How long after the signal it says so.
async fn not_ready_after(launch: Launch) -> Duration {
    let broker = launch.start().await;
    let mut probe = Wire::to(broker.address).await;
    broker.running.signal("TERM");
    let sent = Instant::now();
    loop {
        probe
            .send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        if probe.answer().await.status == 503 {
            return sent.elapsed();
        }
        assert!(sent.elapsed() < PATIENCE, "it never said so");
    }
}

#[tokio::test]
async fn readyz_says_not_ready_at_once_after_sigterm_whatever_the_drain_takes() {
    let simulator = simulator(&[]).await;
    let launch = Launch::serve(&simulator)
        .set("server.drain_delay", "20s")
        .set("server.drain_timeout", "10s");
    let took = not_ready_after(launch).await;
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
#[ignore = "a figure: cargo test --release --test process not_ready -- --ignored --nocapture"]
async fn readyz_says_not_ready_within_50_ms_of_sigterm() {
    let simulator = simulator(&[]).await;
    let took = not_ready_after(Launch::serve(&simulator)).await;
    println!("not ready after {took:?}");
    assert!(took <= Duration::from_millis(50), "{took:?}");
}

#[tokio::test]
async fn idle_and_silent_connections_do_not_hold_up_the_end() {
    let simulator = simulator(&[]).await;
    let mut broker = Launch::serve(&simulator)
        .set("server.drain_delay", "0s")
        .set("server.header_timeout", "60s")
        .start()
        .await;
    let _silent = Wire::to(broker.address).await;
    let mut idle = Wire::to(broker.address).await;
    idle.send(ALIVE).await;
    idle.answer().await;
    broker.running.signal("TERM");
    let ended = broker.running.end(SOON).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test]
async fn a_second_sigterm_ends_the_broker_at_once_with_code_0() {
    let simulator = simulator(&["hang"]).await;
    let mut broker = draining(
        Launch::serve(&simulator)
            .set("server.drain_delay", "20s")
            .set("server.drain_timeout", "10s"),
    )
    .await;
    let mut caller = Wire::to(broker.address).await;
    caller.send(crate::kit::wire::MINT).await;
    until("a mint under way", || simulator.seen() == 1).await;
    broker.running.signal("TERM");
    let ended = broker.running.end(SOON).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
