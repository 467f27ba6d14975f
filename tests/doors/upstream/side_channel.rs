//! Side channels: how they open, what they carry, and how they end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use token_broker::clock::SystemClock;
use token_broker::domain::{KeyFingerprint, UpstreamCall};
use token_broker::simulator::Turn;
use token_broker::upstream::{HungUp, UpstreamError};

use super::{Door, next, settings_for, upstream};
use crate::kit::connect_proxy::ConnectProxy;
use crate::kit::programs::self_signed;
use crate::kit::scratch::Scratch;
use crate::kit::tls_front::tls_front;
use crate::kit::waiting::until;

#[tokio::test]
async fn a_side_channel_says_nothing_at_first_and_answers_an_update_with_the_whole_session() {
    let door = Door::open().await;
    let (call, mut channel) = door.joined().await;
    let update = json!({"type": "session.update", "event_id": "tb_1",
        "session": {"type": "realtime", "instructions": "Be brief."}});
    channel.send(update.to_string()).await.unwrap();
    let updated = next(&mut channel).await;
    assert_eq!(updated["type"], "session.updated");
    assert_eq!(updated["session"]["instructions"], "Be brief.");
    assert!(call.id.is_of(updated["session"]["id"].as_str().unwrap()));

    let refused = json!({"type": "response.cancel", "event_id": "tb_2"});
    channel.send(refused.to_string()).await.unwrap();
    let error = next(&mut channel).await;
    assert_eq!(error["error"]["code"], "response_cancel_not_active");
    assert_eq!(error["error"]["event_id"], "tb_2");
    let request = door.simulator.calls().requests().pop().unwrap();
    assert_eq!(
        request.path,
        format!("/v1/realtime?call_id={}", call.id.as_str())
    );
    assert!(!request.headers.contains_key("openai-beta"));
}

#[tokio::test]
async fn ca5_a_call_that_is_not_known_yet_is_told_apart_from_every_other_failure() {
    let door = Door::open().await;
    let call = door.exchange().await.unwrap().call;
    door.simulator.plan("join+1xunknown".parse().unwrap());
    let unknown = door.upstream.join(&call).await.err().unwrap();
    assert!(matches!(unknown, UpstreamError::UnknownCall(_)));
    door.simulator.plan("join+1x503".parse().unwrap());
    assert_eq!(
        door.upstream.join(&call).await.err().unwrap().facts().code,
        "broken"
    );
    let others = UpstreamCall {
        key: KeyFingerprint::of("sk-another"),
        ..call.clone()
    };
    door.simulator.plan("join+1xunknown".parse().unwrap());
    let other = door.upstream.join(&others).await.err().unwrap();
    assert!(matches!(other, UpstreamError::OtherKey(_)));
    assert!(door.upstream.join(&call).await.is_ok());
}

#[tokio::test]
async fn a_join_that_is_not_answered_ends_after_five_seconds() {
    let door = Door::open().await;
    let call = door.exchange().await.unwrap().call;
    door.simulator.plan("join+hang".parse().unwrap());
    let turn = async {
        door.clock.awaited(Duration::from_secs(5)).await;
        door.clock.advance(Duration::from_secs(5));
    };
    let (channel, ()) = tokio::join!(door.upstream.join(&call), turn);
    assert!(matches!(channel.err(), Some(UpstreamError::TimedOut)));
}

#[tokio::test]
async fn sd23_events_of_20_mib_and_texts_that_are_no_events_come_through_and_one_of_22_mib_ends_it()
{
    let door = Door::open().await;
    let (call, mut channel) = door.joined().await;
    let calls = door.simulator.calls();
    let big = "a".repeat(20 * 1024 * 1024);
    for text in ["not json", "[]", &big] {
        calls.tell_side_channels(call.id.as_str(), text);
        assert!(channel.next().await.unwrap() == text);
    }
    calls.tell_side_channels(call.id.as_str(), &"a".repeat(22 * 1024 * 1024));
    assert_eq!(channel.next().await, None);
}

#[tokio::test]
async fn sd10_a_side_channel_ends_in_every_way_and_the_call_can_be_joined_again() {
    let door = Door::open().await;
    let (call, mut channel) = door.joined().await;
    let calls = door.simulator.calls();
    for code in [Some(1000), Some(1001), Some(1011), None] {
        calls.close_side_channels(call.id.as_str(), code);
        assert_eq!(channel.next().await, None, "{code:?}");
        channel = door.upstream.join(&call).await.unwrap();
    }
    calls.play(call.id.as_str(), &Turn::Say("Hello there.".into()));
    assert_eq!(
        next(&mut channel).await["type"],
        "input_audio_buffer.speech_started"
    );
    assert_eq!(calls.get(call.id.as_str()).unwrap().joins, 5);
}

#[tokio::test]
async fn sd22_a_close_that_is_not_answered_takes_five_seconds_at_most() {
    let door = Door::open().await;
    door.simulator.calls().switch(|now| now.never_closes = true);
    let (_, channel) = door.joined().await;
    let turn = async {
        door.clock.awaited(Duration::from_secs(5)).await;
        door.clock.advance(Duration::from_secs(5));
    };
    tokio::join!(channel.close(), turn);
}

#[tokio::test]
async fn a_close_that_is_answered_leaves_no_side_channel_behind() {
    let door = Door::open().await;
    let (call, channel) = door.joined().await;
    channel.close().await;
    let gone = || {
        let call = door.simulator.calls().get(call.id.as_str());
        call.is_some_and(|call| call.side_channels == 0 && call.is_open)
    };
    until("the side channel is gone", gone).await;
}

#[tokio::test]
async fn silence_is_asked_for_a_sign_of_life_and_one_that_gives_it_lives_on() {
    let door = Door::open().await;
    let (call, mut channel) = door.joined().await;
    let turn = async {
        for _ in 0..5 {
            // Until the pong is there, it waits for longer than that.
            door.clock.awaited(Duration::from_secs(20)).await;
            door.clock.advance(Duration::from_secs(20));
        }
        door.simulator
            .calls()
            .tell_side_channels(call.id.as_str(), "alive");
    };
    let (heard, ()) = tokio::join!(channel.next(), turn);
    assert_eq!(heard.as_deref(), Some("alive"));
}

#[tokio::test]
async fn a_connection_without_any_sign_of_life_is_over_after_45_seconds() {
    let door = Door::open().await;
    door.simulator.calls().switch(|now| now.stalls = true);
    let (_, mut channel) = door.joined().await;
    let turn = async {
        for seconds in [20, 25] {
            door.clock.awaited(Duration::from_secs(seconds)).await;
            door.clock.advance(Duration::from_secs(seconds));
        }
    };
    let (heard, ()) = tokio::join!(channel.next(), turn);
    assert_eq!(heard, None);
}

#[tokio::test]
async fn side_channels_and_hang_ups_go_through_a_tunnel_of_the_proxy_and_speak_http_1_over_tls() {
    let door = Door::open().await;
    let call = door.exchange().await.unwrap().call;
    let scratch = Scratch::new();
    self_signed(scratch.path(), "DNS:api.provider.test");
    // HTTP/2 is preferred, which the provider behind does not speak.
    let protocols: [&[u8]; 2] = [b"h2", b"http/1.1"];
    let front = tls_front(door.simulator.address(), scratch.path(), &protocols).await;
    let proxy = ConnectProxy::start(None).await;
    let certificate = scratch.path().join("certificate.pem");
    let (settings, _) = settings_for(
        &format!("https://api.provider.test:{}/v1", front.port()),
        &[
            ("upstream.ca_file", certificate.to_str().unwrap()),
            ("upstream.proxy", &proxy.url()),
            ("upstream.connect_timeout", "10s"),
        ],
    );
    let upstream = upstream(&settings, Arc::new(SystemClock::new()));
    let mut channel = upstream.join(&call).await.unwrap();
    door.simulator
        .calls()
        .tell_side_channels(call.id.as_str(), "through");
    assert_eq!(channel.next().await.as_deref(), Some("through"));
    assert_eq!(upstream.hang_up(&call).await.unwrap(), HungUp::Ended);
    let tunnel = format!("CONNECT api.provider.test:{} HTTP/1.1", front.port());
    assert_eq!(proxy.requests(), [tunnel.clone(), tunnel]);
}
