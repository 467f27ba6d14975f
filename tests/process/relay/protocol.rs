//! The WebSocket protocol as the main cases of the Autobahn test suite try it (RFC 6455), at the end of the client.

use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{Client, left, pair, received};

/// A masked frame whose first byte is `head`. The mask is zero, so that the payload stands as it is.
fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let length = match payload.len() {
        short @ 0..126 => vec![0x80 | u8::try_from(short).unwrap()],
        long => [&[0xfe], &u16::try_from(long).unwrap().to_be_bytes()[..]].concat(),
    };
    [&[head], &*length, &[0; 4], payload].concat()
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason].concat())
}

async fn send(client: &mut Client, bytes: &[u8]) {
    client.0.get_mut().write_all(bytes).await.unwrap();
}

#[tokio::test]
async fn autobahn_what_is_no_websocket_ends_the_relay_with_the_right_code() {
    let (text, binary, ping, answer) = (0x81, 0x82, 0x89, 0x8a);
    for (case, bytes, code) in [
        ("2.5 a ping of 126 bytes", frame(ping, &[0; 126]), 1002),
        ("3.1 RSV3", frame(text | 0x10, b"{}"), 1002),
        ("3.2 RSV2", frame(text | 0x20, b"{}"), 1002),
        ("3.4 RSV2 and RSV3", frame(ping | 0x30, b""), 1002),
        ("4.1 a reserved opcode", frame(0x83, b""), 1002),
        ("4.2 a reserved opcode of control", frame(0x8b, b""), 1002),
        ("5.1 a ping in fragments", frame(0x09, b"a"), 1002),
        ("5.2 a pong in fragments", frame(0x0a, b"a"), 1002),
        ("5.9 a continuation of nothing", frame(0x80, b"a"), 1002),
        (
            "5.18 two texts at once",
            [frame(0x01, b"{"), frame(text, b"}")].concat(),
            1002,
        ),
        (
            "6.3 no UTF-8",
            frame(text, b"{\"type\":\"\xce\xff\"}"),
            1007,
        ),
        ("6.8 UTF-8 that is cut off", frame(text, b"\"\xce"), 1007),
        ("6.14 an overlong slash", frame(text, b"\"\xc0\xaf\""), 1007),
        ("6.21 a surrogate", frame(text, b"\"\xed\xa0\x80\""), 1007),
        ("7.3.2 a close frame of one byte", frame(0x88, b"a"), 1002),
        (
            "7.5.1 a reason that is no UTF-8",
            close(1000, b"\xce\xff"),
            1007,
        ),
        ("7.9 code 999", close(999, b""), 1002),
        ("7.9 code 1005", close(1005, b""), 1002),
        ("7.9 code 1016", close(1016, b""), 1002),
        ("7.9 code 2999", close(2999, b""), 1002),
        ("a frame without mask", vec![text, 2, b'{', b'}'], 1002),
        ("1.2 bytes instead of text", frame(binary, b"{}"), 1003),
        (
            "2.9 pongs that nobody asked for, and then the end",
            [frame(answer, b"a"), frame(answer, b""), close(1000, b"")].concat(),
            1000,
        ),
    ] {
        let (simulator, broker) = pair(&[]).await;
        let mut client = Client::of(&broker).await;
        client.hear("session.created").await;
        send(&mut client, &bytes).await;
        let closed = client.end().await.0;
        assert_eq!(closed.map(|(code, _)| code), Some(code), "{case}");
        left(&simulator).await;
        assert!(received(&simulator).is_empty(), "{case}");
    }
}

#[tokio::test]
async fn autobahn_fragments_with_control_frames_and_halves_of_letters_are_one_event() {
    let (simulator, broker) = pair(&[]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    let event = json!({"type": "input_audio_buffer.clear", "event_id": "Größe-\u{1F600}"});
    let text = event.to_string();
    let mut bytes = Vec::new();
    for (number, byte) in text.as_bytes().iter().enumerate() {
        let is_last = number + 1 == text.len();
        let head = u8::from(number == 0) | if is_last { 0x80 } else { 0 };
        bytes.extend(frame(head, &[*byte]));
        bytes.extend(frame(0x89, b"p"));
    }
    send(&mut client, &bytes).await;
    client.turn().await;
    assert_eq!(received(&simulator)[0], event);
}
