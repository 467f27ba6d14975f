//! The WebSocket protocol as the main cases of the Autobahn test suite try it (RFC 6455), at the end of the client. The suite
//! itself needs Python 2 and a server that sends back whatever it gets; relays pass nothing but events.

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use super::{Client, left, pair, received};
use crate::kit::waiting::until;

/// A masked frame whose first byte is `head`. The mask is zero, so that the payload stands as it is.
pub fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let length = match payload.len() {
        short @ 0..126 => vec![0x80 | u8::try_from(short).unwrap()],
        long => match u16::try_from(long) {
            Ok(long) => [&[0xfe], &long.to_be_bytes()[..]].concat(),
            Err(_) => [&[0xff], &u64::try_from(long).unwrap().to_be_bytes()[..]].concat(),
        },
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

/// An append whose text has so many bytes.
fn append(length: usize) -> Value {
    let of = |audio: String| json!({"type": "input_audio_buffer.append", "audio": audio});
    let envelope = of(String::new()).to_string().len();
    of("A".repeat(length - envelope))
}

#[tokio::test]
async fn autobahn_1_texts_of_every_kind_of_length_arrive_whole_in_however_many_pieces_they_come() {
    let (simulator, broker) = pair(&[]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    let lengths = [125, 126, 127, 128, 65_535, 65_536];
    let texts: Vec<_> = lengths.into_iter().map(append).collect();
    for piece in [1, 997, usize::MAX] {
        let frames = texts
            .iter()
            .map(|text| frame(0x81, text.to_string().as_bytes()));
        let bytes = frames.collect::<Vec<_>>().concat();
        // One byte at a time is as slow as it sounds, so that the longest ones are left out there.
        let few = if piece == 1 { 600 } else { bytes.len() };
        for part in bytes[..few].chunks(piece.min(few)) {
            send(&mut client, part).await;
        }
        send(&mut client, &bytes[few..]).await;
    }
    let all = 3 * texts.len();
    until("all texts", || received(&simulator).len() == all).await;
    assert_eq!(received(&simulator), [&texts[..]; 3].concat());
}

#[tokio::test]
async fn autobahn_2_every_ping_is_answered_with_what_it_held() {
    let (_simulator, broker) = pair(&[]).await;
    let mut client = Client::of(&broker).await;
    client.hear("session.created").await;
    let payloads = [vec![], vec![0xff], vec![0; 125]];
    let payloads = payloads
        .into_iter()
        .chain((0..10).map(|number| vec![number; 8]));
    for payload in payloads {
        send(&mut client, &frame(0x89, &payload)).await;
        let answer = client.0.next().await.unwrap().unwrap();
        assert_eq!(answer, Message::Pong(payload.into()));
    }
}

#[tokio::test]
async fn autobahn_7_close_codes_are_answered_when_they_are_allowed_and_refused_when_they_are_not() {
    let (_simulator, broker) = pair(&[("limits.token", "1000/60s")]).await;
    let allowed = [
        1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ];
    let refused = [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ];
    let codes = allowed.map(|code| (close(code, &[b'x'; 123]), code));
    let codes = codes
        .into_iter()
        .chain(refused.map(|code| (close(code, b""), 1002)));
    let longer = (close(1000, &[b'x'; 124]), 1002);
    // What comes behind a close frame is not read.
    let behind = [close(1000, b""), frame(0x81, b"{"), frame(0x89, b"")].concat();
    for (bytes, code) in codes.chain([longer, (behind, 1000)]) {
        let mut client = Client::of(&broker).await;
        client.hear("session.created").await;
        send(&mut client, &bytes).await;
        let closed = client.end().await.0;
        assert_eq!(closed.map(|(code, _)| code), Some(code), "{bytes:?}");
    }
}
