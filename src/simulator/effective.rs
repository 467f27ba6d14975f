//! Builds the session of an answer: the requested one with the provider's defaults.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::domain::random_bytes;

/// Model of a session that names none.
const DEFAULT_MODEL: &str = "gpt-realtime-2.1";

/// Returns the effective session for `asked`, which passed the published rules; null asks for nothing.
pub(super) fn effective(asked: &Value) -> Value {
    let detection = &asked["audio"]["input"]["turn_detection"];
    let input = json!({
        "format": pcm(),
        "transcription": null,
        "noise_reduction": null,
        "turn_detection": turn_detection(detection["type"] == "semantic_vad"),
    });
    let mut session = if asked["type"] == "transcription" {
        transcription(&input)
    } else {
        realtime(&input)
    };
    let id = URL_SAFE_NO_PAD.encode(random_bytes::<12>());
    session["id"] = format!("sess_sim_{id}").into();
    if !asked.is_null() {
        lay_over(&mut session, asked);
    }
    // A custom voice is asked for as an object and answered as its id.
    if let Some(id) = session.pointer("/audio/output/voice/id").cloned() {
        session["audio"]["output"]["voice"] = id;
    }
    session
}

fn realtime(input: &Value) -> Value {
    json!({
        "type": "realtime",
        "object": "realtime.session",
        "model": DEFAULT_MODEL,
        "output_modalities": ["audio"],
        "instructions": "You are a simulated assistant. Nobody listens, and nothing is said.",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": null,
        "truncation": "auto",
        "prompt": null,
        "expires_at": 0,
        "audio": {
            "input": input,
            "output": {"format": pcm(), "voice": "alloy", "speed": 1.0},
        },
        "include": null,
    })
}

fn transcription(input: &Value) -> Value {
    json!({
        "type": "transcription",
        "object": "realtime.transcription_session",
        "expires_at": 0,
        "audio": {"input": input},
        "include": null,
    })
}

fn turn_detection(is_semantic: bool) -> Value {
    if is_semantic {
        return json!({
            "type": "semantic_vad",
            "eagerness": "auto",
            "create_response": true,
            "interrupt_response": true,
        });
    }
    json!({
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        // Documented as 500, recorded as 200.
        "silence_duration_ms": 200,
        "idle_timeout_ms": null,
        "create_response": true,
        "interrupt_response": true,
    })
}

fn pcm() -> Value {
    json!({"type": "audio/pcm", "rate": 24_000})
}

/// Lays `asked` over the defaults in `base`, field by field. An object of another `type` has other
/// defaults and replaces the whole object. The depth is bounded by the rules that `asked` passed.
pub(super) fn lay_over(base: &mut Value, asked: &Value) {
    let is_same_kind = asked.get("type").is_none_or(|kind| base["type"] == *kind);
    match (base, asked) {
        (Value::Object(base), Value::Object(asked)) if is_same_kind => {
            for (name, value) in asked {
                lay_over(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, asked) => *base = asked.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_stands_and_the_rest_is_filled_in() {
        let session = effective(&json!({
            "type": "realtime",
            "instructions": "Be brief.",
            "audio": {"input": {"turn_detection": null}, "output": {"voice": {"id": "voice_1"}}},
        }));
        assert_eq!(session["instructions"], "Be brief.");
        assert_eq!(session["model"], DEFAULT_MODEL);
        assert_eq!(session["audio"]["input"]["turn_detection"], Value::Null);
        assert_eq!(session["audio"]["output"]["voice"], "voice_1");
        assert_eq!(session["audio"]["output"]["speed"], 1.0);
    }

    #[test]
    fn another_kind_brings_its_own_defaults() {
        let session = effective(&json!({"type": "realtime", "audio": {
            "input": {
                "turn_detection": {"type": "semantic_vad", "eagerness": "low"},
                "format": {"type": "audio/pcmu"},
            },
        }}));
        let input = &session["audio"]["input"];
        assert_eq!(input["format"], json!({"type": "audio/pcmu"}));
        let mut expected = turn_detection(true);
        expected["eagerness"] = json!("low");
        assert_eq!(input["turn_detection"], expected);
    }

    #[test]
    fn a_transcription_session_has_neither_model_nor_voice() {
        let session = effective(&json!({"type": "transcription"}));
        assert_eq!(session["object"], "realtime.transcription_session");
        assert!(session.get("model").is_none());
        assert!(session["audio"].get("output").is_none());
    }
}
