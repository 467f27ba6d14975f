//! The simulator against the published schema: answers keep it, and what it refuses is refused.

use jsonschema::Validator;
use serde_json::{Value, json};

use super::Bench;

fn published(name: &str) -> Validator {
    let text = include_str!("../../contract/client-secrets.schema.json");
    let mut schema: Value = serde_json::from_str(text).unwrap();
    schema["$ref"] = json!(format!("#/$defs/{name}"));
    jsonschema::validator_for(&schema).unwrap()
}

/// A realtime request that says everything that can be said.
fn full() -> Value {
    json!({
        "expires_after": {"anchor": "created_at", "seconds": 60},
        "session": {
            "type": "realtime", "model": "gpt-realtime-2.1", "instructions": "Be brief.",
            "output_modalities": ["audio"], "max_output_tokens": 4096, "parallel_tool_calls": true,
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "transcription": {"model": "gpt-4o-transcribe", "language": "de", "prompt": "names"},
                    "noise_reduction": {"type": "near_field"},
                    "turn_detection": {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300,
                        "silence_duration_ms": 500, "create_response": true, "interrupt_response": true,
                        "idle_timeout_ms": 5000},
                },
                "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.25},
            },
            "tools": [
                {"type": "function", "name": "look_up", "description": "d", "parameters": {"type": "object"}},
                {"type": "mcp", "server_label": "docs", "server_url": "https://mcp.example.com",
                    "authorization": "a", "headers": {"b": "c"}, "allowed_tools": ["d"],
                    "allowed_callers": ["direct"], "defer_loading": true, "server_description": "e",
                    "require_approval": {"always": {"tool_names": ["f"], "read_only": true}}},
            ],
            "tool_choice": {"type": "function", "name": "look_up"},
            "reasoning": {"effort": "low"},
            "truncation": {"type": "retention_ratio", "retention_ratio": 0.5,
                "token_limits": {"post_instructions": 100}},
            "tracing": {"workflow_name": "w", "group_id": "g", "metadata": {"h": 1}},
            "include": ["item.input_audio_transcription.logprobs"],
            "prompt": {"id": "p", "version": "1", "variables": {
                "a": "b", "c": {"type": "input_image", "detail": "low", "file_id": "f"}}},
        },
    })
}

/// The other branches of every choice in [`full`].
fn others() -> Vec<Value> {
    let session = |fields: Value| json!({"session": fields});
    vec![
        json!({}),
        session(
            json!({"type": "transcription", "include": [], "audio": {"input": {
            "transcription": {"model": "gpt-transcribe", "languages": ["de"], "keywords": ["Ada"]},
            "format": {"type": "audio/pcma"}, "noise_reduction": null, "turn_detection": null}}}),
        ),
        session(json!({"type": "realtime", "audio": {
            "input": {"turn_detection": {"type": "semantic_vad", "eagerness": "low", "create_response": true},
                "transcription": {"model": "gpt-realtime-whisper", "delay": "low"}},
            "output": {"voice": {"id": "voice_1"}}}})),
        session(
            json!({"type": "realtime", "max_output_tokens": "inf", "truncation": "auto", "tracing": "auto",
            "output_modalities": ["text"], "tool_choice": "none", "audio": {"input": {"transcription": null}},
            "tools": [{"type": "mcp", "server_label": "mail", "connector_id": "connector_gmail",
                "allowed_tools": {"tool_names": ["a"]}, "require_approval": "never"}]}),
        ),
        session(
            json!({"type": "realtime", "tool_choice": {"type": "mcp", "server_label": "a", "name": null}}),
        ),
    ]
}

/// Every value of the object in turn, replaced by each of several wrong ones or taken out.
fn mutants(whole: &Value) -> Vec<Value> {
    let wrong =
        json!([null, true, -1, 0.3, 999_999_999, "nonsense", [], {}, [1], {"type": "nonsense"}]);
    let mut paths = vec![];
    collect(whole, &mut String::new(), &mut paths);
    let mut all = vec![];
    for path in &paths {
        for value in wrong.as_array().unwrap() {
            let mut mutant = whole.clone();
            *mutant.pointer_mut(path).unwrap() = value.clone();
            all.push(mutant);
        }
        let (parent, name) = path.rsplit_once('/').unwrap();
        let mut mutant = whole.clone();
        if let Value::Object(parent) = mutant.pointer_mut(parent).unwrap() {
            parent.remove(name);
            all.push(mutant);
        }
    }
    all
}

fn collect(value: &Value, path: &mut String, paths: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, item)| (at.to_string(), item))
            .collect(),
        _ => vec![],
    };
    for (name, child) in children {
        let length = path.len();
        path.push('/');
        path.push_str(&name);
        paths.push(path.clone());
        collect(child, path, paths);
        path.truncate(length);
    }
}

#[tokio::test]
async fn every_answer_keeps_the_published_schema() {
    let (bench, answer) = (
        Bench::new().await,
        published("RealtimeCreateClientSecretResponse"),
    );
    for body in others().into_iter().chain([full()]) {
        let (status, given) = bench.ask(&body).await;
        assert_eq!(status, 200, "{given}");
        let complaints: Vec<_> = answer
            .iter_errors(&given)
            .map(|error| error.to_string())
            .collect();
        assert!(complaints.is_empty(), "{complaints:?} in {given}");
    }
}

#[tokio::test]
async fn the_simulator_refuses_every_body_that_the_published_schema_refuses() {
    let (bench, request) = (
        Bench::new().await,
        published("RealtimeCreateClientSecretRequest"),
    );
    let mut refused = 0;
    for body in others().iter().chain([&full()]).flat_map(mutants) {
        if request.is_valid(&body) {
            continue;
        }
        refused += 1;
        let (status, answer) = bench.ask(&body).await;
        assert_eq!(status, 400, "{body}");
        let error = answer["error"].as_object().unwrap();
        assert_eq!(error["type"], "invalid_request_error");
        assert!(
            error["param"].is_string() && error["code"].is_string(),
            "{answer}"
        );
    }
    assert!(refused > 500, "the table has become too easy: {refused}");
    assert_eq!(bench.simulator.connections(), 1);
}
