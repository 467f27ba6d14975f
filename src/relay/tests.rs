//! Tables and random texts for the policy of relays.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Flaw, Policy, Verdict};
use crate::provider::MostTokens;

const HELD: Policy = Policy {
    is_held: true,
    most_tokens: Some(MostTokens::Count(1024)),
    transcribers: None,
};
const FREE: Policy = Policy {
    is_held: false,
    most_tokens: None,
    transcribers: None,
};

/// The event that goes on; null for none.
fn goes_on(policy: &Policy, text: &str) -> Value {
    match policy.judge(text) {
        Verdict::Passes => serde_json::from_str(text).unwrap(),
        Verdict::Becomes(other) => serde_json::from_str(&other).unwrap(),
        Verdict::Refused(_) | Verdict::Broken(_) => Value::Null,
    }
}

#[test]
fn events_that_say_nothing_of_the_persona_pass_with_all_that_they_say() {
    let plain = r#"{"type":"input_audio_buffer.append","audio":"AAAA"}"#;
    assert_eq!(HELD.judge(plain), Verdict::Passes);
    for text in [
        r#"{ "audio" : "AAAA", "type" : "input_audio_buffer.append" }"#,
        r#"{"type":"input_audio_buffer.append","audio":"AA\u0041A","event_id":"e"}"#,
        r#"{"type":"input_audio_buffer.commit"}"#,
        r#"{"type":"response.cancel","response_id":"resp_1"}"#,
        r#"{"type":"conversation.item.truncate","item_id":"i","content_index":0,"audio_end_ms":900}"#,
        r#"{"type":"conversation.item.retrieve","item_id":"i"}"#,
    ] {
        let said: Value = serde_json::from_str(text).unwrap();
        assert_eq!(goes_on(&HELD, text), said, "{text}");
        assert_eq!(FREE.judge(text), Verdict::Passes, "{text}");
    }
}

#[test]
fn events_that_say_nothing_of_the_persona_pass_without_members_that_they_do_not_have() {
    let text = r#"{"type":"response.cancel","response":{"instructions":"x"},"response_id":"r","item_id":{"a":1},"tools":[]}"#;
    let known = json!({"type": "response.cancel", "response_id": "r"});
    assert_eq!(goes_on(&HELD, text), known);
}

#[test]
fn a_transcription_without_a_price_is_left_out_where_money_is_limited() {
    let limited = |is_held| Policy {
        transcribers: Some(["gpt-4o-mini-transcribe".into()].into()),
        is_held,
        ..FREE
    };
    let update = |transcription: &Value| {
        json!({"type": "session.update", "session": {"audio": {"input": {
            "transcription": transcription, "turn_detection": null,
        }}}})
    };
    for (transcription, is_fine) in [
        (json!({"model": "gpt-4o-mini-transcribe"}), true),
        (json!({"language": "de"}), true),
        (json!(null), true),
        (json!({"model": "whisper-9"}), false),
        (json!({"model": {"x": 1}}), false),
    ] {
        let event = update(&transcription);
        for is_held in [true, false] {
            let passed = goes_on(&limited(is_held), &event.to_string());
            let passed = &passed["session"]["audio"]["input"];
            assert_eq!(passed.get("transcription").is_some(), is_fine, "{event}");
            assert!(passed.get("turn_detection").is_some());
        }
        assert_eq!(goes_on(&FREE, &event.to_string()), event);
    }
}

#[test]
fn an_append_cannot_smuggle_a_second_type() {
    let text = r#"{"type":"input_audio_buffer.append","audio":"A","type":"session.update","session":{"instructions":"x"}}"#;
    assert_eq!(HELD.judge(text), Verdict::Broken(Flaw::Ambiguous));
    let text = r#"{"type":"input_audio_buffer.append","audio":"A"}{"type":"session.update"}"#;
    assert_eq!(HELD.judge(text), Verdict::Broken(Flaw::NoObject));
}

#[test]
fn tokens_are_clamped_to_the_persona_and_never_raised() {
    for (asked, sent) in [
        (json!(99), json!(99)),
        (json!(4096), json!(1024)),
        (json!("inf"), json!(1024)),
        (json!(-1), json!(1024)),
    ] {
        let event = json!({"type": "response.create", "response": {"max_output_tokens": asked}});
        let passed = goes_on(&HELD, &event.to_string());
        assert_eq!(passed["response"]["max_output_tokens"], sent, "{asked}");
    }
    let event = json!({"type": "response.create", "response": {"max_output_tokens": 4096}});
    assert_eq!(goes_on(&FREE, &event.to_string()), event);
}

#[test]
fn what_makes_another_conversation_is_refused_by_its_field() {
    for (response, is_fine) in [
        (json!({"conversation": "auto"}), true),
        (json!({"input": null, "metadata": {"a": "b"}}), true),
        (
            json!({"tool_choice": "none", "audio": {}, "output_modalities": ["text"]}),
            true,
        ),
        (json!({"conversation": "none"}), false),
        (json!({"input": []}), false),
        (json!({"prompt": {"id": "p"}}), false),
        (json!({"model": "other"}), false),
        (json!([]), false),
        (json!("x"), false),
    ] {
        let event = json!({"type": "response.create", "response": response});
        assert_eq!(
            goes_on(&HELD, &event.to_string()).is_object(),
            is_fine,
            "{event}"
        );
    }
}

#[test]
fn items_pass_by_their_role_and_their_parts() {
    let text = json!([{"type": "input_text", "text": "Hi"}]);
    for (item, is_fine) in [
        (
            json!({"type": "message", "role": "user", "content": text}),
            true,
        ),
        (
            json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}),
            true,
        ),
        (
            json!({"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAAA"}]}),
            true,
        ),
        (
            json!({"type": "function_call_output", "call_id": "c", "output": "{}"}),
            true,
        ),
        (
            json!({"type": "message", "role": "system", "content": text}),
            false,
        ),
        (
            json!({"type": "message", "role": "developer", "content": text}),
            false,
        ),
        (json!({"type": "message", "content": text}), false),
        (
            json!({"type": "message", "role": "user", "content": [{"type": "input_image"}]}),
            false,
        ),
        (json!({"type": "function_call", "name": "f"}), false),
        (json!({}), false),
    ] {
        let event =
            json!({"type": "conversation.item.create", "previous_item_id": "p", "item": item});
        let passed = goes_on(&HELD, &event.to_string());
        assert_eq!(passed, if is_fine { event } else { Value::Null });
    }
}

#[test]
fn what_is_too_large_to_be_judged_goes_no_further() {
    let many = "0,".repeat(600_000) + "0";
    for (kind, member, inner) in [
        ("session.update", "session", "tools"),
        ("response.create", "response", "metadata"),
        ("conversation.item.create", "item", "content"),
    ] {
        let text = format!(r#"{{"type":"{kind}","{member}":{{"{inner}":[{many}]}}}}"#);
        assert!(matches!(HELD.judge(&text), Verdict::Refused(_)), "{kind}");
    }
    // Without its response, what is asked for beside a conversation would be spoken in it.
    let text = format!(
        r#"{{"type":"response.create","response":{{"conversation":"none","input":[{many}]}}}}"#
    );
    assert!(matches!(FREE.judge(&text), Verdict::Refused(_)));
}

/// The members that a client may try, some of them twice.
fn members() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("type"),
        Just("\\u0074ype"),
        Just("session"),
        Just("response"),
        Just("item"),
        Just("event_id"),
        Just("audio"),
        Just("item_id"),
        Just("tools"),
    ];
    let value = prop_oneof![
        Just(r#""session.update""#.to_owned()),
        Just(r#""response.create""#.to_owned()),
        Just(r#""input_audio_buffer.append""#.to_owned()),
        Just(r#""conversation.item.delete""#.to_owned()),
        Just(r#""conversation.item.create""#.to_owned()),
        Just(r#"{"instructions":"evil","in\u0073tructions":"evil","tools":["evil"]}"#.to_owned()),
        Just(r#"{"input":"sly"}"#.to_owned()),
        Just("null".to_owned()),
        "[ -~]{0,8}",
    ];
    let member = (name, value).prop_map(|(name, value)| format!(r#""{name}":{value}"#));
    proptest::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(",")))
}

proptest! {
    // Every run tries other texts, for a bounded time.
    #![proptest_config(ProptestConfig { cases: 20_000, max_global_rejects: 1, ..ProptestConfig::default() })]

    #[test]
    fn no_text_passes_with_what_the_persona_pins(text in members()) {
        let passed = goes_on(&HELD, &text);
        prop_assert!(!passed.to_string().contains("evil"), "{text}");
        prop_assert!(!passed["response"].to_string().contains("sly"), "{text}");
    }

    #[test]
    fn every_text_gets_a_verdict(text in ".{0,200}") {
        let _ = (HELD.judge(&text), FREE.judge(&text));
    }
}
