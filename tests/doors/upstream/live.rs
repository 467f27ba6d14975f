//! GPT-Live sessions: how they are created, attached to and hung up.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use token_broker::domain::UpstreamCall;
use token_broker::upstream::{HungUp, Kind, UpstreamError};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::{DEADLINE, Door, OFFER, next};
use crate::kit::provider::KEY;

/// A door whose persona is one of GPT-Live.
async fn door() -> Door {
    Door::with(&[("personas.file", "tests/api/calls/live.toml")]).await
}

/// Attaches another side channel, without the door, and waits for audio on it.
async fn hear_audio(door: &Door, call: &UpstreamCall) {
    let (address, id) = (door.simulator.address(), call.id.as_str());
    let url = format!("ws://{address}/v1/live/sessions/{id}/attach");
    let mut request = url.into_client_request().unwrap();
    let credential = format!("Bearer {KEY}").parse().unwrap();
    request.headers_mut().insert("authorization", credential);
    let tcp = TcpStream::connect(address).await.unwrap();
    let (mut other, _) = client_async(request, tcp).await.unwrap();
    loop {
        let frame = other.next().await.unwrap().unwrap();
        if frame.into_text().unwrap().contains("output_audio.delta") {
            return;
        }
    }
}

#[tokio::test]
async fn lv1_a_session_is_created_in_json_with_the_persona_and_a_name_of_its_end_user() {
    let door = door().await;
    let begun = door.exchange().await.unwrap();
    let id = begun.call.id.clone();
    assert!(id.is_live(), "{id:?}");
    let named = begun.request.clone().unwrap();
    assert!(named.starts_with("req_"), "{named}");
    let answer = begun.answer().await.unwrap();
    assert!(answer.starts_with("v=0\r\n") && answer.contains("\r\nm=audio "));
    let request = door.simulator.calls().requests().pop().unwrap();
    assert_eq!(request.path, "/v1/live/sessions");
    assert_eq!(request.headers["content-type"], "application/json");
    assert!(!request.headers.contains_key("openai-safety-identifier"));
    let mut body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["transport"], json!({ "type": "webrtc", "sdp": OFFER }));
    let session = body["session"].as_object_mut().unwrap();
    let name = session.remove("safety_identifier").unwrap();
    assert_eq!(name.as_str().unwrap().len(), 43);
    let asked: Value = serde_json::from_str(door.order.session.as_json().get()).unwrap();
    assert_eq!(body["session"], asked);
}

#[tokio::test]
async fn lv11_lv12_the_side_channel_shows_the_session_and_none_of_its_audio() {
    let door = door().await;
    let (call, mut channel) = door.joined().await;
    let started = next(&mut channel).await;
    assert_eq!(started["type"], "session.started");
    assert!(call.id.is_of(started["session"]["id"].as_str().unwrap()));
    assert!(started["session"]["expires_at"].is_u64());
    // Audio is reflected to all side channels. The next event of ours is the report of the first minute.
    let heard = async {
        hear_audio(&door, &call).await;
        door.simulator
            .calls()
            .pass(call.id.as_str(), Duration::from_mins(2));
    };
    let (event, ()) = tokio::join!(next(&mut channel), heard);
    assert_eq!(event["type"], "session.usage.updated", "{event}");
}

#[tokio::test]
async fn lv12_audio_is_dropped_by_its_beginning_whatever_follows() {
    let door = door().await;
    let (call, mut channel) = door.joined().await;
    next(&mut channel).await;
    // None of these can be parsed. The third is no audio, and shows that the others have come and were dropped.
    for frame in [
        r#"{"type":"session.output_audio.delta","delta":"AAAA"#,
        r#"{"type":"session.input_audio.append",{{{"#,
        r#"{"type":"session.output_transcript.delta","delta":"a"#,
    ] {
        let calls = door.simulator.calls();
        calls.tell_side_channels(call.id.as_str(), frame);
    }
    let frame = channel.next().await.unwrap();
    assert!(frame.contains("transcript"), "{frame}");
}

#[tokio::test]
async fn a_session_is_hung_up_once_and_is_then_unknown() {
    let door = door().await;
    let call = door.exchange().await.unwrap().call;
    assert_eq!(door.upstream.hang_up(&call).await.unwrap(), HungUp::Ended);
    assert_eq!(door.upstream.hang_up(&call).await.unwrap(), HungUp::WasOver);
    let unknown = door.upstream.join(&call).await.err().unwrap();
    assert!(
        matches!(unknown, UpstreamError::UnknownCall(_)),
        "{unknown}"
    );
}

#[tokio::test]
async fn lv6_lv7_each_failure_has_its_meaning_and_no_request_is_repeated() {
    for (fault, code, kind, is_definite) in [
        ("calls+400", "refused", Kind::Invalid, true),
        ("calls+429:7", "rate_limited", Kind::Unavailable, true),
        ("calls+429-bare", "rate_limited", Kind::Unavailable, true),
        ("calls+quota", "quota_exhausted", Kind::Unavailable, true),
        ("calls+500", "broken", Kind::Invalid, false),
        ("calls+503", "broken", Kind::Unavailable, false),
        ("calls+created-502", "broken", Kind::Unavailable, false),
        ("calls+disconnect", "cut", Kind::Unavailable, false),
        ("calls+html", "invalid", Kind::Invalid, false),
    ] {
        let door = door().await;
        door.simulator.plan(fault.parse().unwrap());
        let failed = door.exchange().await.unwrap_err();
        let facts = failed.error.facts_of_live_call();
        let meaning = (facts.code, facts.kind, facts.is_definite);
        assert_eq!(meaning, (code, kind, is_definite), "{fault}");
        assert_eq!(door.simulator.calls().requests().len(), 1, "{fault}");
    }
}

#[tokio::test]
async fn lv7_an_account_with_as_many_sessions_as_it_may_have_is_asked_for_others_at_once() {
    let door = door().await;
    for fault in ["calls+1x429:30", "calls+1x429-bare"] {
        door.simulator.plan(fault.parse().unwrap());
        let failed = door.exchange().await.unwrap_err();
        let is_limit = matches!(failed.error, UpstreamError::SessionLimit(_));
        assert!(is_limit, "{failed:?}");
        door.exchange().await.unwrap();
    }
}

#[tokio::test]
async fn lv8_a_session_whose_answer_cannot_be_used_is_known_so_that_it_can_be_ended() {
    for (fault, code) in [
        ("calls+empty-answer", "invalid"),
        ("calls+huge-answer", "invalid"),
        ("calls+cut-answer", "cut"),
    ] {
        let door = door().await;
        door.simulator.plan(fault.parse().unwrap());
        let begun = door.exchange().await.unwrap();
        let call = begun.call.clone();
        let unusable = begun.answer().await.unwrap_err();
        assert_eq!(unusable.facts().code, code, "{fault} {unusable}");
        let ended = door.upstream.hang_up(&call).await.unwrap();
        assert_eq!(ended, HungUp::Ended, "{fault}");
    }
    // An answer that never ends is waited for as long as any other.
    let door = door().await;
    door.simulator.plan("calls+hang-answer".parse().unwrap());
    let begun = door.exchange().await.unwrap();
    let turn = async {
        door.clock.awaited(DEADLINE).await;
        door.clock.advance(DEADLINE);
    };
    let (answer, ()) = tokio::join!(begun.answer(), turn);
    assert!(matches!(answer, Err(UpstreamError::TimedOut)));
}
