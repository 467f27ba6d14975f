//! How relays begin, or are refused.

use serde_json::json;

use super::super::ledger_file::Books;
use super::{Client, ask, left, pair, received, session};
use crate::kit::PAGE;
use crate::kit::answer::Answer;
use crate::kit::executable::{Launch, student};
use crate::kit::provider::simulator;
use crate::kit::waiting::{SOON, eventually, until};
use crate::kit::wire::{Left, Wire};

/// Connections whose requests for a WebSocket never end. One address may have 256 connections.
const HALF_UPGRADES: usize = 200;

#[tokio::test]
async fn re1_a_credential_among_the_subprotocols_is_never_echoed_nor_logged() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .env("RUST_LOG", "trace")
        .start()
        .await;
    let secret = "openai-insecure-api-key.canary-9d2f";
    let offered = format!("realtime, {secret}, openai-agents-sdk.0.17");
    let headers = [("sec-websocket-protocol", &*offered), ("origin", PAGE)];
    let (mut client, protocol) = Client::with(&broker, "/realtime", &headers).await;
    assert_eq!(protocol.as_deref(), Some("realtime"));
    let created = client.hear("session.created").await;
    let seen = session(&simulator);
    assert_eq!(created["session"], seen.session);
    assert!(
        created["session"]["instructions"]
            .as_str()
            .unwrap()
            .starts_with("You are a friendly")
    );
    let asked = simulator.calls().requests().pop().unwrap();
    assert_eq!(asked.path, "/v1/realtime?model=gpt-realtime-2.1");
    assert!(asked.headers.contains_key("authorization"));
    assert!(!asked.headers.contains_key("sec-websocket-protocol"));
    drop(client);
    let ended = broker.stop().await;
    assert!(!ended.out.contains("canary-9d2f") && !ended.err.contains("canary-9d2f"));
}

#[tokio::test]
async fn re1_the_credential_is_verified_as_a_bearer_is() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let broker = books.launch(&simulator).start().await;
    let offered = format!("realtime, openai-insecure-api-key.{}", student("ana"));
    let (mut client, _) = Client::with(
        &broker,
        "/v1/realtime",
        &[("sec-websocket-protocol", &offered)],
    )
    .await;
    client.hear("session.created").await;
    let (mut other, _) = Client::with(
        &broker,
        "/v1/realtime",
        &[("authorization", &format!("Bearer {}", student("ben")))],
    )
    .await;
    other.hear("session.created").await;
    let both = ask(&broker, "/v1/realtime")
        .bearer_auth(student("ana"))
        .header("sec-websocket-protocol", &offered);
    assert_eq!(Answer::to(both).await.status, 401);
    assert_eq!(Answer::to(ask(&broker, "/v1/realtime")).await.status, 401);
}

#[tokio::test]
async fn re3_re5_what_can_be_refused_is_refused_before_the_upgrade() {
    let (simulator, broker) = pair(&[
        ("call.max_live_anonymous", "1"),
        ("limits.token", "100/60s"),
    ])
    .await;
    for (path, status, param) in [
        (
            "/v1/realtime?model=gpt-4o-realtime-preview",
            400,
            "session.model",
        ),
        ("/v1/realtime?call_id=rtc_1", 400, "call_id"),
        ("/v1/realtime?intent=transcription", 400, "intent"),
        ("/v1/realtime?notices=yes", 400, "notices"),
        ("/v1/realtime?persona=nobody", 422, "persona"),
    ] {
        let answer = Answer::to(ask(&broker, path)).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert_eq!(answer.json["error"]["param"], param, "{path}");
    }
    let foreign = ask(&broker, "/v1/realtime").header("origin", "https://elsewhere.example");
    assert_eq!(Answer::to(foreign).await.status, 403);
    let plain = Answer::to(broker.get("/v1/realtime")).await;
    assert_eq!(
        (plain.status, &plain.json["error"]["param"]),
        (400, &json!("Upgrade"))
    );
    let only_key = ask(&broker, "/v1/realtime")
        .header("sec-websocket-protocol", "openai-insecure-api-key.ek_1");
    let only_key = Answer::to(only_key).await;
    assert_eq!(only_key.status, 400);
    assert!(
        only_key.json["error"]["param"]
            .as_str()
            .unwrap()
            .ends_with("realtime")
    );
    assert!(simulator.calls().all().is_empty());

    let mut first = Client::of(&broker).await;
    first.hear("session.created").await;
    let second = Answer::to(ask(&broker, "/v1/realtime")).await;
    assert_eq!(
        (second.status, &second.json["error"]["code"]),
        (429, &json!("call_limit"))
    );
}

#[tokio::test]
async fn re4_a_provider_that_refuses_is_told_before_the_upgrade() {
    for (fault, status) in [
        ("join+1x401", 503),
        ("join+1x429:7", 503),
        ("join+1xhang", 504),
    ] {
        let simulator = simulator(&[fault]).await;
        let broker = Launch::serve(&simulator)
            .set("upstream.connect_timeout", "2s")
            .set("upstream.timeout", "2s")
            .start()
            .await;
        let answer = Answer::to(ask(&broker, "/v1/realtime")).await;
        assert_eq!(answer.status, status, "{fault}: {answer:?}");
        assert!(answer.json["error"]["code"].is_string(), "{fault}");
        let is_ended = || broker.events("call_ended").len() == 1;
        until("its place is free again", is_ended).await;
    }
}

#[tokio::test]
async fn re6_who_speaks_at_once_is_heard_in_order_and_after_the_persona() {
    let (simulator, broker) = pair(&[]).await;
    let mut client = Client::of(&broker).await;
    for number in 0..20 {
        let id = format!("first_{number}");
        client
            .say(&json!({"type": "input_audio_buffer.clear", "event_id": id}))
            .await;
    }
    client.turn().await;
    let ids: Vec<_> = received(&simulator);
    let ids: Vec<_> = ids
        .iter()
        .map(|event| event["event_id"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(ids.len(), 21);
    for (number, id) in ids[..20].iter().enumerate() {
        assert_eq!(*id, format!("first_{number}"));
    }
    assert_eq!(session(&simulator).received[0]["event_id"], "tb_persona");
}

#[tokio::test]
async fn re33_who_wants_a_relay_over_http_2_is_refused_at_once_or_served_over_http_1() {
    let (_simulator, broker) = pair(&[]).await;
    // The preface, settings, and the head of a stream: CONNECT with :protocol = websocket (RFC 8441).
    let fields = [
        &b"\x02\x07CONNECT\x40\x09:protocol\x09websocket"[..],
        b"\x86\x44\x0c/v1/realtime\x41\x09localhost",
    ]
    .concat();
    let length = u8::try_from(fields.len()).unwrap();
    let frames = [
        &[0, 0, 0, 4, 0, 0, 0, 0, 0][..],
        &[0, 0, length, 1, 4, 0, 0, 0, 1],
        &fields,
    ]
    .concat();
    let mut wire = Wire::to(broker.address).await;
    wire.send([&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frames].concat())
        .await;
    let heard = wire.hear_for(SOON).await;
    assert_eq!(heard.left, Left::Closed, "{heard:?}");
    let upgrade = "GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n\
        Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let connect = "CONNECT /v1/realtime HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n";
    for request in [upgrade, connect] {
        let mut wire = Wire::to(broker.address).await;
        wire.send(request).await;
        let answer = wire.answer().await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
    }
    Client::of(&broker).await.turn().await;
}

#[tokio::test]
async fn re34_half_upgrades_are_let_go_and_keep_nobody_from_a_relay() {
    let (simulator, broker) = pair(&[("server.header_timeout", "5s")]).await;
    let half = "GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let mut slow = Vec::new();
    for number in 0..HALF_UPGRADES {
        let mut wire = Wire::to(broker.address).await;
        wire.send(&half[..half.len() - number % half.len()]).await;
        slow.push(wire);
    }
    Client::of(&broker).await.turn().await;
    for wire in &mut slow {
        let heard = wire.hear().await;
        assert!(!heard.text.contains(" 101 "), "{heard:?}");
    }
    assert_eq!(simulator.calls().all().len(), 1);
}

#[tokio::test]
async fn re29_a_session_whose_client_left_while_it_was_dialled_is_closed() {
    let (simulator, books) = (simulator(&["join+1xslow:2s"]).await, Books::new());
    let broker = books.with(Launch::serve(&simulator)).start().await;
    let asked = tokio::spawn(ask(&broker, "/v1/realtime").send());
    until("the dialling", || !simulator.calls().requests().is_empty()).await;
    asked.abort();
    until("the session", || !simulator.calls().all().is_empty()).await;
    left(&simulator).await;
    until("the end", || broker.events("call_ended").len() == 1).await;
    eventually("the settlement", SOON, async || {
        let entries = books.entries().await;
        entries.len() == 1 && entries[0].outcome == "undelivered"
    })
    .await;
}
