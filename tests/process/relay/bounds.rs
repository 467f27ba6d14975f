//! What a relay holds, and who waits for whom.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::protocol::frame;
use super::{Client, left, pair, reason, received, session};
use crate::kit::executable::Broker;
use crate::kit::waiting::{amid_the_work, eventually, until};
use crate::kit::wire::Wire;

const MIB: usize = 1024 * 1024;

/// The memory of the broker in MiB.
fn memory(broker: &Broker) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.running.pid())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        / 1024
}

#[tokio::test]
async fn re15_fifteen_mebibytes_of_audio_pass_and_more_than_21_mebibytes_end_the_relay() {
    let (simulator, broker) = pair(&[]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    let audio = "A".repeat(20 * MIB);
    client
        .say(&json!({"type": "input_audio_buffer.append", "audio": audio}))
        .await;
    until("the audio", || !received(&simulator).is_empty()).await;
    assert_eq!(
        received(&simulator)[0]["audio"].as_str().unwrap().len(),
        20 * MIB
    );
    let _ = client
        .0
        .send(Message::Text("A".repeat(21 * MIB + 1).into()))
        .await;
    let closed = client.end().await.0;
    assert_eq!(closed.map(|(code, _)| code), Some(1009));
    left(&simulator).await;
}

#[tokio::test]
async fn re16_a_client_that_reads_nothing_costs_little_and_is_left() {
    let (simulator, broker) = pair(&[]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    let id = session(&simulator).id;
    let before = memory(&broker);
    let event =
        json!({"type": "response.output_audio.delta", "delta": "A".repeat(64 * 1024)}).to_string();
    for _ in 0..800 {
        simulator.calls().tell_side_channels(&id, &event);
    }
    // Others are served meanwhile.
    Client::of(&broker).await.turn().await;
    let is_over = || !simulator.calls().get(&id).unwrap().is_open;
    let mut most = 0;
    eventually("the end", super::LONG, async || {
        most = most.max(memory(&broker));
        is_over()
    })
    .await;
    assert!(most < before + 24, "from {before} to {most} MiB");
    // Whoever reads again finds the reason at the end.
    let closed = loop {
        match client.0.next().await {
            Some(Ok(Message::Close(frame))) => break frame,
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break None,
        }
    };
    assert!(closed.is_none_or(|frame| u16::from(frame.code) == 1013));
}

#[tokio::test]
async fn re17_the_pings_of_a_client_that_reads_nothing_are_answered() {
    let (simulator, broker) = pair(&[("relay.slow", "1m")]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    let id = session(&simulator).id;
    let event =
        json!({"type": "response.output_audio.delta", "delta": "A".repeat(64 * 1024)}).to_string();
    for _ in 0..200 {
        simulator.calls().tell_side_channels(&id, &event);
    }
    // Others are served meanwhile.
    Client::of(&broker).await.turn().await;
    let ping = Message::Ping(b"alive".to_vec().into());
    client.0.send(ping).await.unwrap();
    let (mut deltas, mut pongs) = (0, 0);
    while deltas < 200 || pongs < 1 {
        match client.0.next().await.unwrap().unwrap() {
            Message::Text(_) => deltas += 1,
            Message::Pong(payload) => pongs += usize::from(payload.as_ref() == b"alive"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn re16_pings_of_a_client_that_reads_nothing_cost_little_and_the_client_is_left() {
    let (simulator, broker) = pair(&[]).await;
    let narrow = Wire::narrow(broker.address).await.0;
    let (mut client, _) = Client::over(narrow, &broker, ("/v1/realtime", &[])).await;
    client.hear("session.created").await;
    let id = session(&simulator).id;
    let before = memory(&broker);
    let pings = frame(0x89, &[0; 125]).repeat(1_000);
    let flood = async {
        // The broker cuts it off in the end.
        while client.0.get_mut().write_all(&pings).await.is_ok() {}
        std::future::pending::<()>().await;
    };
    let mut most = 0;
    let end = eventually("the end", super::LONG, async || {
        most = most.max(memory(&broker));
        !simulator.calls().get(&id).unwrap().is_open
    });
    tokio::select! {
        () = flood => {}
        _ = end => {}
    }
    assert!(most < before + 24, "from {before} to {most} MiB");
}

#[tokio::test]
async fn re24_a_client_that_gives_no_sign_of_life_is_left() {
    let (simulator, broker) = pair(&[("relay.ping", "1s"), ("relay.dead", "3s")]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    // Whoever reads nothing answers no ping.
    assert_eq!(left(&simulator).await, [Some(1001)]);
    assert_eq!(reason(&broker).await, "hung_up");
}

#[tokio::test]
async fn re24_a_client_whose_event_takes_longer_than_a_silence_may_is_alive() {
    let (simulator, broker) = pair(&[("relay.ping", "1s"), ("relay.dead", "12s")]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    let event = json!({"type": "input_audio_buffer.append", "audio": "A".repeat(1_000)});
    let bytes = frame(0x81, event.to_string().as_bytes());
    let (last, most) = bytes.split_last().unwrap();
    for part in most.chunks(most.len() / 13) {
        client.0.get_mut().write_all(part).await.unwrap();
        amid_the_work(1_000).await;
    }
    client.0.get_mut().write_all(&[*last]).await.unwrap();
    until("the event", || received(&simulator) == [event.clone()]).await;
}

#[tokio::test]
async fn re31_a_flood_of_audio_is_held_back() {
    let (simulator, broker) = pair(&[]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    let event =
        json!({"type": "input_audio_buffer.append", "audio": "A".repeat(256 * 1024)}).to_string();
    let flood = async {
        loop {
            client
                .0
                .send(Message::Text(event.clone().into()))
                .await
                .unwrap();
        }
    };
    let seconds = 6;
    let _ = tokio::time::timeout(Duration::from_secs(seconds), flood).await;
    let passed = received(&simulator).len() * 256 * 1024;
    // 16 MiB at once, and then 96 kB in a second; in base64.
    let most = (16 * MIB + 2 * MIB) * 4 / 3;
    assert!((MIB..most).contains(&passed), "{passed}");
}

#[tokio::test]
async fn re18_a_client_waits_for_a_provider_that_reads_nothing() {
    let (simulator, broker) = pair(&[]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    simulator.calls().switch(|switches| switches.deaf = true);
    let before = memory(&broker);
    let event =
        json!({"type": "input_audio_buffer.append", "audio": "A".repeat(64 * 1024)}).to_string();
    let flood = async {
        loop {
            client
                .0
                .send(Message::Text(event.clone().into()))
                .await
                .unwrap();
        }
    };
    // The flood stands still soon, because nobody takes it.
    let _ = tokio::time::timeout(Duration::from_secs(4), flood).await;
    let most = memory(&broker);
    assert!(most < before + 24, "from {before} to {most} MiB");
}

#[tokio::test]
async fn re23_compression_is_not_negotiated_and_a_compressed_frame_ends_the_relay() {
    let (_simulator, broker) = pair(&[]).await;
    let tcp = TcpStream::connect(broker.address).await.unwrap();
    let headers = [("sec-websocket-extensions", "permessage-deflate")];
    let (mut client, _) = Client::over(tcp, &broker, ("/v1/realtime", &headers)).await;
    client.hear("session.created").await;
    // A masked text frame with RSV1 set.
    let frame = [0xc1, 0x81, 0, 0, 0, 0, b'x'];
    client.0.get_mut().write_all(&frame).await.unwrap();
    let closed = client.end().await.0;
    assert_eq!(closed.map(|(code, _)| code), Some(1002));
}
