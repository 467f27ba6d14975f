//! One `Host`, and one that this broker answers for.

use super::harness::{Broker, Launch, simulator};
use super::wire::{Part, Wire};

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
