//! Requests that are too large, or lie about how large they are.

use std::time::Duration;

use serde_json::json;

use crate::kit::executable::{Broker, Launch};
use crate::kit::memory::peak;
use crate::kit::provider::simulator;
use crate::kit::wire::{ALIVE, Heard, Wire};
use token_broker::simulator::Simulator;

const HEAD: &str = "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

async fn broker() -> (Broker, Simulator) {
    let simulator = simulator(&[]).await;
    let launch = Launch::serve(&simulator)
        .set("limits.token", "1000/60s")
        .set("guard.never_block", "127.0.0.1")
        .set("server.body_timeout", "1s");
    (launch.start().await, simulator)
}

async fn exchange(broker: &Broker, request: &[u8]) -> Heard {
    let mut wire = Wire::to(broker.address).await;
    wire.send(request).await;
    wire.hear().await
}

/// A request with so many header fields in all.
fn with_fields(count: usize) -> String {
    let fields = "X-Field: 1\r\n".repeat(count - 2);
    format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n")
}

#[tokio::test]
async fn the_64th_header_field_is_read_and_the_65th_is_431() {
    let (broker, _simulator) = broker().await;
    assert_eq!(
        exchange(&broker, with_fields(64).as_bytes())
            .await
            .statuses(),
        [200]
    );
    assert_eq!(
        exchange(&broker, with_fields(65).as_bytes())
            .await
            .statuses(),
        [431]
    );
    assert_eq!(
        exchange(&broker, with_fields(2000).as_bytes())
            .await
            .statuses(),
        [431]
    );
}

#[tokio::test]
async fn a_header_of_20_kilobytes_is_431() {
    let (broker, _simulator) = broker().await;
    let with_header = |length: usize| {
        format!(
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Long: {}\r\n\r\n",
            "a".repeat(length)
        )
    };
    assert_eq!(
        exchange(&broker, with_header(15_000).as_bytes())
            .await
            .statuses(),
        [200]
    );
    for length in [20_000, 300_000] {
        assert_eq!(
            exchange(&broker, with_header(length).as_bytes())
                .await
                .statuses(),
            [431],
            "{length}"
        );
    }
}

#[tokio::test]
async fn an_address_of_70_kilobytes_is_refused() {
    let (broker, _simulator) = broker().await;
    let request = format!(
        "POST /token?{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "a".repeat(70_000)
    );
    let heard = exchange(&broker, request.as_bytes()).await;
    assert!(matches!(heard.statuses()[..], [414 | 431]), "{heard:?}");
}

#[tokio::test]
async fn a_body_of_16_kib_is_read_and_one_byte_more_is_413_and_closes() {
    let (broker, simulator) = broker().await;
    let empty = json!({ "language": "" }).to_string();
    for (length, status) in [(16 * 1024, 400), (16 * 1024 + 1, 413)] {
        let body = json!({ "nobody-knows-this": "a".repeat(length - empty.len() - 9) }).to_string();
        let body = format!("{body:<length$}");
        assert_eq!(body.len(), length);
        let mut wire = Wire::to(broker.address).await;
        wire.send(format!("{HEAD}Content-Length: {length}\r\n\r\n{body}"))
            .await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, status, "{length}: {answer:?}");
        if status == 413 {
            assert!(
                answer.body.contains(r#""code":"payload_too_large""#),
                "{answer:?}"
            );
            let heard = wire.hear().await;
            assert!(
                heard.after < Duration::from_secs(8),
                "it goes on listening: {heard:?}"
            );
        }
    }
    assert_eq!(simulator.seen(), 0);
}

#[tokio::test]
async fn a_body_announced_as_too_large_is_413_however_little_of_it_comes() {
    let (broker, simulator) = broker().await;
    for length in ["16385", "3000000", "99999999999", "18446744073709551613"] {
        let request = format!("{HEAD}Content-Length: {length}\r\n\r\n{{}}");
        let heard = exchange(&broker, request.as_bytes()).await;
        assert_eq!(heard.statuses(), [413], "{length}: {heard:?}");
        assert!(
            heard.after < Duration::from_secs(8),
            "it waited for the rest: {heard:?}"
        );
    }
    // More than can be counted.
    for length in ["18446744073709551615", "99999999999999999999999"] {
        let heard = exchange(
            &broker,
            format!("{HEAD}Content-Length: {length}\r\n\r\n{{}}").as_bytes(),
        )
        .await;
        assert!(
            matches!(heard.statuses()[..], [400 | 431]),
            "{length}: {heard:?}"
        );
    }
    assert_eq!(simulator.seen(), 0);
}

#[tokio::test]
async fn chunks_without_end_are_413_and_close() {
    let (broker, simulator) = broker().await;
    let mut wire = Wire::to(broker.address).await;
    wire.send(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n"))
        .await;
    let chunk = format!("1000\r\n{}\r\n", "a".repeat(0x1000));
    let mut sent = 0;
    while sent < 10_000 && wire.send(&chunk).await {
        sent += 1;
    }
    assert!(sent < 10_000, "it took 40 MB");
    let heard = wire.hear().await;
    assert_eq!(heard.statuses(), [413], "{heard:?}");
    assert_eq!(simulator.seen(), 0);
}

#[tokio::test]
async fn a_body_shorter_than_announced_is_no_request() {
    let (broker, simulator) = broker().await;
    let heard = exchange(
        &broker,
        format!("{HEAD}Content-Length: 50\r\n\r\n{{}}").as_bytes(),
    )
    .await;
    assert_eq!(heard.statuses(), [400], "{heard:?}");
    assert_eq!(simulator.seen(), 0);
}

#[tokio::test]
async fn a_body_longer_than_announced_is_not_taken_for_a_body() {
    let (broker, simulator) = broker().await;
    let request = format!("{HEAD}Content-Length: 2\r\n\r\n{{}}{{\"persona\":\"x\"}}");
    let heard = exchange(&broker, request.as_bytes()).await;
    assert_eq!(heard.statuses(), [200, 400], "{heard:?}");
    assert_eq!(simulator.minted(), 1);
}

#[tokio::test]
async fn large_requests_leave_no_memory_behind() {
    let (broker, _simulator) = broker().await;
    let pid = broker.running.pid();
    let before = peak(pid);
    for _ in 0..50 {
        let mut wire = Wire::to(broker.address).await;
        wire.send(format!(
            "{HEAD}Content-Length: 3000000\r\n\r\n{}",
            "a".repeat(3_000_000)
        ))
        .await;
        wire.hear().await;
    }
    let grown = peak(pid).saturating_sub(before) / 1024;
    assert!(grown < 8 * 1024, "150 MB of bodies left {grown} KiB behind");
    let mut wire = Wire::to(broker.address).await;
    wire.send(ALIVE).await;
    assert_eq!(wire.answer().await.status, 200);
}

#[tokio::test]
async fn f35_a_head_that_is_too_large_is_told_in_json_that_cookies_are_the_usual_cause() {
    let (broker, simulator) = broker().await;
    let cookies = |length: usize| {
        let cookie = "a".repeat(length);
        format!(
            "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nCookie: a={cookie}\r\n\r\n"
        )
    };
    for request in [
        cookies(16_500),
        cookies(300_000),
        with_fields(65),
        with_fields(2000),
    ] {
        let answer = exchange(&broker, request.as_bytes())
            .await
            .parts()
            .remove(0);
        assert_eq!(answer.status, 431, "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let error = &body["error"];
        assert_eq!(error["code"], "headers_too_large", "{body}");
        assert!(
            error["message"].as_str().unwrap().contains("cookies"),
            "{body}"
        );
        assert_eq!(error["request_id"].as_str(), answer.header("x-request-id"));
    }
    // Behind an answer on the same connection, too.
    let both = format!("{ALIVE}{}", cookies(20_000));
    let heard = exchange(&broker, both.as_bytes()).await;
    assert_eq!(heard.statuses(), [200, 431], "{heard:?}");
    assert_eq!(simulator.seen(), 0);
}
