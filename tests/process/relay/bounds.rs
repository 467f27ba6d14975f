//! What a relay holds, and who waits for whom.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::interval;
use tokio_tungstenite::tungstenite::Message;

use super::protocol::frame;
use super::{Client, left, pair, reason, received, session};
use crate::kit::executable::Broker;
use crate::kit::waiting::{eventually, until};
use crate::kit::wire::{Wire, all_is_read};

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

/// An event of the provider with so many bytes of audio.
fn delta(length: usize) -> String {
    json!({"type": "response.output_audio.delta", "delta": "A".repeat(length)}).to_string()
}

#[tokio::test]
async fn re15_the_memory_of_large_events_is_given_back_while_their_relay_goes_on() {
    let (simulator, broker) = pair(&[]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    let id = session(&simulator).id;
    let before = memory(&broker);
    for (size, times) in [(12 * MIB, 1), (10 * 1024, 20)] {
        for _ in 0..times {
            let audio = "A".repeat(size);
            client
                .say(&json!({"type": "input_audio_buffer.append", "audio": audio}))
                .await;
            simulator.calls().tell_side_channels(&id, &delta(size));
            client.hear("response.output_audio.delta").await;
        }
    }
    let sent = |length: usize| received(&simulator).len() == length;
    until("all events", || sent(21)).await;
    let after = memory(&broker);
    assert!(after < before + 16, "from {before} to {after} MiB");
}

#[tokio::test]
async fn re16_a_client_that_reads_a_large_event_slowly_takes_it_all_the_same() {
    let (simulator, broker) = pair(&[("relay.slow", "2s"), ("relay.ping", "1s")]).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(128 * 1024).unwrap();
    let tcp = socket.connect(broker.address).await.unwrap();
    let (mut client, _) = Client::over(tcp, &broker, ("/v1/realtime", &[])).await;
    client.hear("session.created").await;
    let id = session(&simulator).id;
    simulator.calls().tell_side_channels(&id, &delta(12 * MIB));
    let (mut some, mut beats) = (vec![0; MIB], interval(Duration::from_millis(500)));
    for _ in 0..12 {
        beats.tick().await;
        client.0.get_mut().read_exact(&mut some).await.unwrap();
    }
    // Whoever was left would have read as much, and its session would be over.
    assert!(session(&simulator).is_open);
}

#[tokio::test]
async fn re16_a_client_that_reads_nothing_costs_little_and_is_left() {
    let (simulator, broker) = pair(&[]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    let id = session(&simulator).id;
    let before = memory(&broker);
    let event = delta(64 * 1024);
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
    let event = delta(64 * 1024);
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
async fn re17_a_ping_is_answered_in_the_middle_of_a_large_event() {
    let (simulator, broker) = pair(&[]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    let id = session(&simulator).id;
    simulator.calls().tell_side_channels(&id, &delta(12 * MIB));
    // The event has begun.
    client.0.get_mut().readable().await.unwrap();
    let ping = Message::Ping(b"alive".to_vec().into());
    client.0.send(ping).await.unwrap();
    // The rest of the event waits for this client, so that the broker has time for the ping.
    all_is_read(client.0.get_ref()).await;
    let first = client.0.next().await.unwrap().unwrap();
    assert!(first.is_pong(), "the event came first");
    client.hear("response.output_audio.delta").await;
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
    let mut seconds = interval(Duration::from_secs(1));
    for part in most.chunks(most.len() / 13) {
        client.0.get_mut().write_all(part).await.unwrap();
        seconds.tick().await;
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
async fn re31_a_flood_of_pings_is_held_back() {
    let (_simulator, broker) = pair(&[]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    let pings = frame(0x89, b"").repeat(1_000);
    let (mut reader, mut writer) = client.0.get_mut().split();
    let mut answers = 0;
    let flood = async { while writer.write_all(&pings).await.is_ok() {} };
    let answered = async {
        let mut some = vec![0; 64 * 1024];
        // An answer has two bytes.
        while let Ok(length @ 1..) = reader.read(&mut some).await {
            answers += length / 2;
        }
    };
    let both = async { tokio::join!(flood, answered) };
    let _ = tokio::time::timeout(Duration::from_secs(6), both).await;
    // 16 MiB at once, and then 96 kB in a second; each counts as 384 bytes.
    let most = (16 * MIB + MIB) / 384;
    assert!((1_000..most).contains(&answers), "{answers}");
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
