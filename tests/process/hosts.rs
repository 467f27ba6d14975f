//! One `Host`, and one that this broker answers for.

use crate::kit::executable::{Broker, Launch};
use crate::kit::provider::simulator;
use crate::kit::wire::{Part, Wire};

async fn post(broker: &Broker, hosts: &str) -> Part {
    let mut wire = Wire::to(broker.address).await;
    wire.send(format!(
        "POST /token HTTP/1.1\r\n{hosts}Content-Length: 0\r\n\r\n"
    ))
    .await;
    wire.answer().await
}

#[track_caller]
fn is(answer: &Part, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(
        answer.body.contains(&format!("\"code\":\"{code}\"")),
        "{answer:?}"
    );
}

#[tokio::test]
async fn no_host_and_two_hosts_are_400_and_mint_nothing() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator).start().await;
    for hosts in [
        "",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: a.example\r\nHost: localhost\r\n",
    ] {
        is(&post(&broker, hosts).await, 400, "bad_request");
    }
    assert_eq!(simulator.seen(), 0);
}

#[tokio::test]
async fn a_foreign_host_is_421_when_ours_are_known() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("server.hosts", "broker.example.com")
        .start()
        .await;
    for foreign in [
        "evil.example",
        "broker.example.com.evil.example",
        "127.0.0.1",
        "localhost",
        "xbroker.example.com",
    ] {
        is(
            &post(&broker, &format!("Host: {foreign}\r\n")).await,
            421,
            "misdirected",
        );
    }
    assert_eq!(simulator.seen(), 0);
    for ours in ["broker.example.com", "BROKER.example.com:8443"] {
        assert_eq!(
            post(&broker, &format!("Host: {ours}\r\n")).await.status,
            200,
            "{ours}"
        );
    }
}

#[tokio::test]
async fn in_dev_mode_a_rebound_name_is_421() {
    let running = Launch::of(&["dev", "--listen", "127.0.0.1:0"]).spawn();
    let line = running
        .said(|line| line.contains("listens on http://"))
        .await;
    let address = line.split("http://").nth(1).unwrap().parse().unwrap();
    let broker = Broker { running, address };
    is(
        &post(&broker, "Host: evil.example\r\n").await,
        421,
        "misdirected",
    );
    assert_eq!(
        post(&broker, &format!("Host: {address}\r\n")).await.status,
        200
    );
}

#[tokio::test]
async fn a_host_in_the_request_line_must_agree_with_the_header() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("server.hosts", "broker.example.com")
        .start()
        .await;
    for (target, status) in [
        ("http://evil.example/token", 400),
        ("http://evil.example@broker.example.com/token", 400),
        ("http://broker.example.com:81/token", 400),
        ("http://broker.example.com/token", 200),
    ] {
        let mut wire = Wire::to(broker.address).await;
        wire.send(format!(
            "POST {target} HTTP/1.1\r\nHost: broker.example.com\r\nContent-Length: 0\r\n\r\n"
        ))
        .await;
        assert_eq!(wire.answer().await.status, status, "{target}");
    }
    assert_eq!(simulator.minted(), 1);
}

async fn status(broker: &Broker, request: &str) -> u16 {
    let mut wire = Wire::to(broker.address).await;
    wire.send(request).await;
    wire.answer().await.status
}

#[tokio::test]
async fn f10_probes_are_answered_in_http_1_0_without_a_host_and_under_any_name() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("server.hosts", "broker.example.com")
        .start()
        .await;
    for path in ["/livez", "/readyz", "/health"] {
        let old = format!("GET {path} HTTP/1.0\r\n\r\n");
        assert_eq!(status(&broker, &old).await, 200, "{old}");
        for host in ["10.0.0.7:8080", "pod-7.cluster.local", "[fd00::1]:8080"] {
            let probe = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(status(&broker, &probe).await, 200, "{probe}");
        }
    }
    // Nothing else is served under a foreign name, or without any.
    assert_eq!(status(&broker, "POST /token HTTP/1.0\r\n\r\n").await, 421);
    assert_eq!(
        status(&broker, "GET /openapi.json HTTP/1.0\r\n\r\n").await,
        421
    );
    assert_eq!(simulator.seen(), 0);
}

#[tokio::test]
async fn f10_http_1_0_needs_no_host() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator).start().await;
    assert_eq!(status(&broker, "POST /token HTTP/1.0\r\n\r\n").await, 200);
}

#[tokio::test]
async fn a17_a_malformed_host_is_400_and_mints_nothing() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator).start().await;
    for host in [
        "",
        "a/b?c#d@e",
        "a b",
        "a,b",
        "[::1",
        "user@a.example",
        "a:b",
        "a:99999",
        ":8080",
    ] {
        let answer = post(&broker, &format!("Host: {host}\r\n")).await;
        is(&answer, 400, "bad_request");
    }
    assert_eq!(simulator.seen(), 0);
    for host in [
        "a.example",
        "a_b.example:8080",
        "[::1]:8080",
        "127.0.0.1",
        "a.example.",
    ] {
        let answer = post(&broker, &format!("Host: {host}\r\n")).await;
        assert_eq!(answer.status, 200, "{host}");
    }
}
