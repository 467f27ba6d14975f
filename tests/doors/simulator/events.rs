//! The simulator's events against the published schema, and against the form in which the provider sends them.

use jsonschema::Validator;
use token_broker::simulator::{Switches, Turn};

use super::calls::spoken;
use super::*;

fn published() -> Validator {
    let text = include_str!("../../contract/realtime-events.schema.json");
    let mut schema: Value = serde_json::from_str(text).unwrap();
    schema["$ref"] = json!("#/$defs/RealtimeServerEvent");
    jsonschema::validator_for(&schema).unwrap()
}

/// Everything that can happen in a call, with this behaviour of the provider.
async fn all_events(change: impl FnOnce(&mut Switches)) -> Vec<Value> {
    let bench = Bench::new().await;
    let calls = bench.simulator.calls();
    calls.switch(change);
    let call = bench.call(&spoken()).await;
    let browser = |event: Value| calls.browser_sends(&call.id, &event);
    let tool = json!({"type": "function", "name": "look_up", "parameters": {"type": "object"}});
    let heard = json!({"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}});
    browser(json!({"type": "session.update", "session": {"type": "realtime", "tools": [tool]}}));
    for turn in [
        "say:Hello there.",
        "tool:look_up",
        "fail",
        "long:Once upon a time",
        "silent",
    ] {
        calls.play(&call.id, &turn.parse::<Turn>().unwrap());
    }
    browser(json!({"type": "session.update", "session": {"type": "realtime", "audio": heard}}));
    calls.play(&call.id, &Turn::Say("Yes.".into()));
    browser(json!({"type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}}));
    browser(json!({"type": "response.create", "response": {"max_output_tokens": 20}}));
    browser(
        json!({"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0, "audio_end_ms": 9}),
    );
    browser(json!({"type": "response.cancel"}));
    calls.get(&call.id).unwrap().browser
}

#[tokio::test]
async fn every_event_keeps_the_published_schema_when_told_to() {
    let schema = published();
    let events = all_events(|now| now.schema_only = true).await;
    assert!(events.len() > 80, "{}", events.len());
    for event in events {
        let error = schema.iter_errors(&event).next();
        assert!(error.is_none(), "{event}\n{}", error.unwrap());
    }
}

#[tokio::test]
async fn events_hold_the_nulls_of_the_wire_unless_told_otherwise() {
    let events = all_events(|_| {}).await;
    let of = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap();
    let null = Some(&Value::Null);
    let created = &of("response.created")["response"];
    assert_eq!(
        (created.get("usage"), created.get("status_details")),
        (null, null)
    );
    assert_eq!(of("response.done")["response"].get("status_details"), null);
    let session = &of("session.updated")["session"];
    let transcription = &session["audio"]["input"]["transcription"];
    assert_eq!(
        (transcription.get("language"), transcription.get("prompt")),
        (null, null)
    );
    let heard = &of("conversation.item.added")["item"]["content"][0];
    assert_eq!(heard.get("transcript"), null);
}

/// The members of events as the provider sent them in July and August 2026.
#[tokio::test]
async fn events_have_the_members_that_the_provider_sends() {
    let events = all_events(|_| {}).await;
    let members = |value: &Value| {
        let mut names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names.join(" ")
    };
    let of = |kind: &str| events.iter().find(|event| event["type"] == kind).unwrap();
    for (kind, expected) in [
        (
            "response.output_audio_transcript.delta",
            "content_index delta event_id item_id obfuscation output_index response_id type",
        ),
        (
            "response.output_audio.done",
            "content_index event_id item_id output_index response_id type",
        ),
        (
            "response.content_part.done",
            "content_index event_id item_id output_index part response_id type",
        ),
        (
            "response.function_call_arguments.done",
            "arguments call_id event_id item_id name output_index response_id type",
        ),
        (
            "response.output_item.done",
            "event_id item output_index response_id type",
        ),
        (
            "conversation.item.done",
            "event_id item previous_item_id type",
        ),
        (
            "conversation.item.input_audio_transcription.completed",
            "content_index event_id item_id transcript type usage",
        ),
        (
            "input_audio_buffer.speech_started",
            "audio_start_ms event_id item_id type",
        ),
        ("output_audio_buffer.started", "event_id response_id type"),
        ("rate_limits.updated", "event_id rate_limits type"),
    ] {
        assert_eq!(members(of(kind)), expected, "{kind}");
    }
    let response = &of("response.done")["response"];
    assert_eq!(
        members(response),
        "audio conversation_id id max_output_tokens metadata object output output_modalities status status_details usage"
    );
    assert_eq!(
        members(&of("session.updated")["session"]),
        "audio expires_at id include instructions max_output_tokens model object output_modalities prompt tool_choice \
         tools tracing truncation type"
    );
    let buffer = of("output_audio_buffer.started")["event_id"]
        .as_str()
        .unwrap();
    assert_eq!(buffer.len(), "event_".len() + 16);
}
