//! Session objects in tables: what is accepted, what is refused, and in which words.

#![expect(
    clippy::needless_pass_by_value,
    reason = "tables read better when they hand over their objects"
)]

mod accepted;
mod events;
mod live_events;
mod refused;

use serde_json::{Value, json};

use self::refused::invalid;
use super::*;

fn realtime(fields: Value) -> Value {
    let mut session = json!({"type": "realtime"});
    for (name, value) in fields.as_object().unwrap() {
        session[name] = value.clone();
    }
    session
}

fn input(fields: Value) -> Value {
    realtime(json!({"audio": {"input": fields}}))
}

fn output(fields: Value) -> Value {
    realtime(json!({"audio": {"output": fields}}))
}

fn tool(fields: Value) -> Value {
    realtime(json!({"tools": [fields]}))
}

fn hearing(input: Value) -> Value {
    json!({"type": "transcription", "audio": {"input": input}})
}

/// Each must be refused with this code at this place.
fn refused(table: Vec<(Value, &str, &str)>) {
    for (session, code, param) in table {
        let fault = check(&session).expect_err(&session.to_string());
        assert_eq!(
            (fault.code, fault.param.as_str()),
            (code, param),
            "{session}"
        );
    }
}

fn accepted(table: Vec<Value>) {
    let mut schema = rule::RULES.clone();
    schema["$ref"] = "#/$defs/Session".into();
    let rules = jsonschema::validator_for(&schema).unwrap();
    for session in table {
        assert_eq!(check(&session), Ok(()), "{session}");
        assert!(rules.is_valid(&session), "{session}");
    }
}

/// Fails when `schema` holds anything that the check does not read.
fn understand(schema: &Value) {
    const KEYWORDS: [&str; 15] = [
        "$comment",
        "$ref",
        "additionalProperties",
        "anyOf",
        "const",
        "enum",
        "items",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "pattern",
        "properties",
        "required",
        "type",
    ];
    let tunnel = format!("tunnel_{}", "a".repeat(32));
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        assert!(KEYWORDS.contains(&keyword.as_str()), "{keyword}");
        match keyword.as_str() {
            "items" | "additionalProperties" => understand(value),
            "anyOf" => value.as_array().unwrap().iter().for_each(understand),
            "properties" => value.as_object().unwrap().values().for_each(understand),
            "$ref" => {
                let name = value.as_str().unwrap().strip_prefix("#/$defs/");
                assert!(published(name.unwrap()).is_object(), "{value}");
            }
            "pattern" => {
                let pattern = value.as_str().unwrap();
                let fits = |text: &str| rule::matches(pattern, text);
                assert!(
                    ["voice_a", "http://a", &tunnel, "error"]
                        .into_iter()
                        .any(fits)
                );
            }
            _ => {}
        }
    }
}

#[test]
fn every_keyword_pattern_and_reference_of_the_rules_is_understood() {
    let rules = rule::RULES["$defs"].as_object().unwrap();
    assert!(rules.len() > 20);
    rules.values().for_each(understand);
}

#[test]
fn options_go_with_the_models_that_have_them() {
    let heard = |fields| input(json!({"transcription": fields}));
    let at = |option: &str| format!("session.audio.input.transcription.{option}");
    refused(vec![
        invalid(
            heard(json!({"model": "whisper-1", "delay": "low"})),
            &at("delay"),
        ),
        invalid(
            heard(json!({"model": "whisper-1", "keywords": ["a"]})),
            &at("keywords"),
        ),
        invalid(
            heard(json!({"model": "gpt-4o-mini-transcribe-2025-12-15", "languages": ["de"]})),
            &at("languages"),
        ),
        invalid(
            heard(json!({"model": "gpt-realtime-whisper", "prompt": "a"})),
            &at("prompt"),
        ),
        invalid(
            hearing(json!({"transcription": {"model": "gpt-realtime-whisper"}})),
            "session.audio.input.turn_detection",
        ),
    ]);
    accepted(vec![heard(
        json!({"model": "unheard-of", "delay": "low", "keywords": ["a"]}),
    )]);
}

#[test]
fn messages_speak_as_the_provider_does() {
    let message = |session| check(&session).unwrap_err().message;
    assert_eq!(
        message(input(json!({"format": "pcm16"}))),
        "Invalid type for 'session.audio.input.format': expected an object, but got a string instead."
    );
    assert_eq!(
        message(output(json!({"voice": "nova"}))),
        "Invalid value: 'nova'. Supported values are: 'alloy', 'ash', 'ballad', 'coral', 'echo', 'sage', \
         'shimmer', 'verse', 'marin', and 'cedar'."
    );
    assert_eq!(
        message(output(json!({"speed": 2}))),
        "Invalid 'session.audio.output.speed': decimal above maximum value. Expected a value <= 1.5, but got 2 instead."
    );
    assert_eq!(
        message(json!({})),
        "Missing required parameter: 'session.type'."
    );
}

#[test]
fn a_long_wrong_value_is_not_quoted_whole() {
    let long = "é".repeat(10_000);
    let voice = check(&output(json!({"voice": long.clone()}))).unwrap_err();
    let name = check(&realtime(json!({long: 1}))).unwrap_err();
    for fault in [voice, name] {
        assert!(fault.to_string().len() < 500, "{fault}");
    }
}

#[test]
fn a_request_holds_an_expiry_and_a_session_and_nothing_else() {
    let seconds =
        |seconds: Value| json!({"expires_after": {"anchor": "created_at", "seconds": seconds}});
    for accepted in [
        json!({}),
        seconds(json!(10)),
        seconds(json!(7200)),
        json!({"session": {"type": "realtime"}}),
    ] {
        assert_eq!(check_request(&accepted), Ok(()), "{accepted}");
    }
    for (body, code, param) in [
        (
            seconds(json!(9)),
            "integer_below_min_value",
            "expires_after.seconds",
        ),
        (
            seconds(json!(7201)),
            "integer_above_max_value",
            "expires_after.seconds",
        ),
        (
            seconds(json!("60")),
            "invalid_type",
            "expires_after.seconds",
        ),
        (
            json!({"expires_after": {"anchor": "now"}}),
            "invalid_value",
            "expires_after.anchor",
        ),
        (
            json!({"model": "gpt-realtime"}),
            "unknown_parameter",
            "model",
        ),
        (
            json!({"session": {"type": "realtime", "voice": "alloy"}}),
            "unknown_parameter",
            "session.voice",
        ),
        (json!({"session": null}), "invalid_type", "session"),
        (json!([]), "invalid_type", ""),
    ] {
        let fault = check_request(&body).unwrap_err();
        assert_eq!((fault.code, fault.param.as_str()), (code, param), "{body}");
    }
}

#[test]
fn models_are_known_by_name_or_as_dated_snapshots() {
    for known in [
        "gpt-realtime-2.1",
        "gpt-realtime-2.1-mini",
        "gpt-realtime-2",
        "gpt-realtime-1.5",
        "gpt-realtime",
        "gpt-realtime-2.1-2026-07-01",
        "gpt-realtime-mini-2025-12-15",
    ] {
        assert!(known_model(known), "{known}");
    }
    for unknown in [
        "",
        "gpt-4o-realtime-preview",
        "gpt-4o-realtime-preview-2024-12-17",
        "gpt-realtime-mini-2025-10-06",
        "gpt-realtime-3",
        "gpt-realtime-2.1-2026",
        "gpt-realtime-2026-1-01",
        "whisper-1",
        "é-2026-01-01",
    ] {
        assert!(!known_model(unknown), "{unknown}");
    }
    assert!(known_transcription_model(
        "gpt-4o-mini-transcribe-2025-12-15"
    ));
    assert!(!known_transcription_model("gpt-realtime"));
}
