//! Behaviours of the provider that are not known: the simulator offers each of them by switch.

use token_broker::simulator::{Second, SeenCall, Turn};
use token_broker::upstream::UpstreamError;

use super::*;
use crate::upstream::Door;

/// Returns the only call.
fn seen(door: &Door) -> SeenCall {
    door.simulator.calls().all().pop().unwrap()
}

#[tokio::test]
async fn a_second_side_channel_is_one_more_refused_or_replaces_the_first() {
    for second in [Second::Joins, Second::IsRefused, Second::Replaces] {
        let door = Door::open().await;
        let calls = door.simulator.calls();
        calls.switch(|now| now.second = second);
        let call = door.exchange().await.unwrap().call;
        let mut first = door.upstream.join(&call).await.unwrap();
        let next = door.upstream.join(&call).await;
        match second {
            Second::IsRefused => {
                assert!(matches!(next.err(), Some(UpstreamError::UnknownCall(_))));
                assert_eq!(seen(&door).side_channels, 1);
            }
            Second::Replaces => assert_eq!(first.next().await, None),
            Second::Joins => {
                calls.tell_side_channels(call.id.as_str(), "both");
                assert_eq!(first.next().await.as_deref(), Some("both"));
                assert_eq!(next.unwrap().next().await.as_deref(), Some("both"));
            }
        }
    }
}

#[tokio::test]
async fn an_update_of_the_browser_reaches_the_side_channel_unless_switched_off() {
    let update =
        json!({"type": "session.update", "session": {"type": "realtime", "instructions": "Sing."}});
    for is_private in [false, true] {
        let door = Door::open().await;
        let calls = door.simulator.calls();
        calls.switch(|now| now.updated_to_sender_only = is_private);
        let call = door.exchange().await.unwrap().call;
        let mut channel = door.upstream.join(&call).await.unwrap();
        calls.browser_sends(call.id.as_str(), &update);
        calls.tell_side_channels(call.id.as_str(), "end");
        let first = channel.next().await.unwrap();
        assert_eq!(first == "end", is_private);
        assert_eq!(
            seen(&door).browser.pop().unwrap()["type"],
            "session.updated"
        );
        assert_eq!(seen(&door).session["instructions"], "Sing.");
    }
}

#[tokio::test]
async fn sessions_have_another_name_or_another_end_and_answers_no_data_channel() {
    let door = Door::open().await;
    door.simulator.calls().switch(|now| {
        now.wrong_session = true;
        now.session_seconds = Some(90);
        now.no_data_channel = true;
    });
    let begun = door.exchange().await.unwrap();
    let call = seen(&door);
    assert!(!begun.call.id.is_of(call.session["id"].as_str().unwrap()));
    assert_eq!(call.session["expires_at"], call.opened_at.as_seconds() + 90);
    let answer = begun.answer().await.unwrap();
    assert!(answer.contains("a=group:BUNDLE 0\r\n") && answer.contains("\r\nm=application 0 "));
}

#[tokio::test]
async fn a_response_that_speech_interrupts_is_incomplete_by_switch() {
    let bench = Bench::new().await;
    let calls = bench.simulator.calls();
    calls.switch(|now| now.interrupted_is_incomplete = true);
    let call = bench.call(&super::calls::spoken()).await;
    calls.play(&call.id, &Turn::Long("Once upon a time.".into()));
    calls.play(&call.id, &Turn::Silent);
    let events = bench.events(&call);
    let done = events.iter().find(|event| event["type"] == "response.done");
    let details = &done.unwrap()["response"]["status_details"];
    assert_eq!(
        *details,
        json!({"type": "incomplete", "reason": "turn_detected"})
    );
}

#[tokio::test]
async fn a_transcription_comes_after_its_response_by_switch_and_its_usage_is_kept() {
    let bench = Bench::new().await;
    let calls = bench.simulator.calls();
    calls.switch(|now| now.late_transcription = true);
    let call = bench.call(&super::calls::spoken()).await;
    calls.play(&call.id, &Turn::Say("Yes.".into()));
    let last = bench.events(&call).pop().unwrap();
    assert_eq!(
        last["type"],
        "conversation.item.input_audio_transcription.completed"
    );
    let transcribed = calls.get(&call.id).unwrap().transcribed;
    assert_eq!(transcribed, [last["usage"].clone()]);
}
