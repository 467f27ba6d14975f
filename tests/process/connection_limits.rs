//! Many connections at once: a bound, and good callers served beside bad ones.

use std::time::Duration;

use tokio::time::Instant;

use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch};
use crate::kit::memory::peak;
use crate::kit::provider::simulator;
use crate::kit::waiting::{PATIENCE, SOON, eventually, until};
use crate::kit::wire::{ALIVE, MINT, Wire};

/// A connection that has been answered, so it certainly has a place.
async fn seated(broker: &Broker) -> Wire {
    let mut wire = Wire::to(broker.address).await;
    wire.send(ALIVE).await;
    assert_eq!(wire.answer().await.status, 200);
    wire
}

/// True when a new connection gets no mint.
async fn is_full(broker: &Broker) -> bool {
    let mut wire = Wire::to(broker.address).await;
    wire.send(MINT).await;
    wire.answer().await.status != 200
}

#[tokio::test]
async fn beyond_max_connections_nothing_is_minted_and_slots_come_back() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("server.max_connections", "5")
        .set("limits.token", "1000/60s")
        .start()
        .await;
    let mut seats = Vec::new();
    for _ in 0..5 {
        seats.push(seated(&broker).await);
    }
    let mut sixth = Wire::to(broker.address).await;
    sixth.send(MINT).await;
    let refused = sixth.answer().await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.body.contains("\"overloaded\""), "{refused:?}");
    assert_eq!(simulator.minted(), 0);
    assert!(is_full(&broker).await);

    // Those who have a place keep it.
    seats[0].send(ALIVE).await;
    assert_eq!(seats[0].answer().await.status, 200);

    drop(seats.pop());
    let has_room = async || !is_full(&broker).await;
    eventually("the place comes back", PATIENCE, has_room).await;
}

#[tokio::test]
async fn silent_connections_give_their_places_back() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("server.max_connections", "5")
        .set("limits.token", "1000/60s")
        .set("server.header_timeout", "1s")
        .start()
        .await;
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(Wire::to(broker.address).await);
    }
    let has_room = async || !is_full(&broker).await;
    eventually("silent connections lose their places", PATIENCE, has_room).await;
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
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
    assert_eq!(simulator.minted(), 20);
}

#[tokio::test]
async fn a08_a_full_broker_answers_probes_and_healthcheck() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("server.max_connections", "5")
        .set("server.header_timeout", "60s")
        .start()
        .await;
    let mut seats = Vec::new();
    for _ in 0..5 {
        seats.push(seated(&broker).await);
    }
    for path in ["/livez", "/readyz", "/health"] {
        let answer = Answer::to(broker.get(path)).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    let port = broker.address.port().to_string();
    let check = Launch::of(&["healthcheck"]).env("PORT", &port).finish();
    assert_eq!(check.await.code, Some(0));
    // A connection for probes is not one to settle down on.
    let heard = Wire::to(broker.address).await.hear().await;
    assert!(heard.after < SOON, "{heard:?}");
    let log = broker
        .running
        .log(|line| line["limit"] == "server.max_connections");
    assert_eq!(log.len(), 1, "one line a minute: {log:#?}");
}

#[tokio::test]
async fn a06_one_address_has_a_bounded_number_of_connections() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("server.max_connections_per_address", "5")
        .start()
        .await;
    let mut seats = Vec::new();
    for _ in 0..5 {
        seats.push(seated(&broker).await);
    }
    let mut sixth = Wire::to(broker.address).await;
    sixth.send(ALIVE).await;
    let heard = sixth.hear().await;
    assert!(heard.text.is_empty() && heard.after < SOON, "{heard:?}");
    // Another address is served, and a closed connection gives its slot back.
    let mut neighbour = Wire::from("127.0.0.2", broker.address).await;
    neighbour.send(ALIVE).await;
    assert_eq!(neighbour.answer().await.status, 200);
    drop(seats.pop());
    let is_served = async || {
        let mut again = Wire::to(broker.address).await;
        again.send(ALIVE).await;
        let heard = again.hear_for(Duration::from_millis(200)).await;
        heard.text.contains(" 200 ")
    };
    eventually("the slot comes back", PATIENCE, is_served).await;
}

/// The heads of a flood, which would take 24 KiB each if they were read, wait in the kernel.
#[tokio::test]
async fn a06_unfinished_heads_take_no_memory_and_their_rest_is_heard_at_once() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("server.max_connections_per_address", "1000")
        .set("server.header_timeout", "60s")
        .start()
        .await;
    let mut seats = Vec::new();
    for _ in 0..400 {
        seats.push(seated(&broker).await);
    }
    let before = peak(broker.running.pid());
    let filler = "a".repeat(15_000);
    for seat in &mut seats {
        let begin = format!("GET /livez HTTP/1.1\r\nX-Filler: {filler}");
        assert!(seat.send(begin).await);
    }
    for seat in &mut seats {
        assert!(seat.send("\r\nHost: localhost\r\n\r\n").await);
        assert_eq!(seat.answer().await.status, 200);
    }
    let taken = peak(broker.running.pid()) - before;
    assert!(taken < 5 << 20, "{taken} bytes");
}

/// Each of these bodies is read at once and waited for. What is too much is told so, and others are served.
#[tokio::test]
async fn a06_incomplete_bodies_of_one_address_have_a_share_of_the_memory() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("server.max_connections_per_address", "1000")
        .set("server.body_timeout", "60s")
        .set("limits.token", "1000/60s")
        .start()
        .await;
    let begin = "POST /calls HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\nContent-Length: 60000\r\n\r\nv=0";
    let mut bodies = Vec::new();
    for _ in 0..60 {
        let mut wire = Wire::from("127.0.0.2", broker.address).await;
        wire.send(begin).await;
        bodies.push(wire);
    }
    // 2.5 MiB, for 24 KiB and the body each.
    let share = 2560 * 1024 / (24 * 1024 + 60_000);
    let open = || bodies.iter().filter(|body| !body.is_let_go()).count();
    until("what is too much is let go", || open() <= share).await;
    let mut other = Wire::to(broker.address).await;
    other.send(MINT).await;
    assert_eq!(other.answer().await.status, 200);
    assert_eq!(open(), share);
    for refused in bodies.iter_mut().filter(|body| body.is_let_go()) {
        let heard = refused.hear().await;
        let [answer] = &heard.parts()[..] else {
            panic!("{heard:?}");
        };
        assert_eq!(answer.status, 503, "{heard:?}");
        assert!(answer.body.contains("\"overloaded\""), "{heard:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}

#[tokio::test]
async fn a06_trusted_proxies_have_as_many_connections_as_they_want() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("server.max_connections_per_address", "2")
        .set("server.trusted_proxies", "127.0.0.1")
        .start()
        .await;
    let mut seats = Vec::new();
    for _ in 0..5 {
        seats.push(seated(&broker).await);
    }
}
