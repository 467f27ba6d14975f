//! Objects that the published rules refuse, with the code and the place.

use serde_json::{Value, json};

use super::*;

fn unknown(session: Value, param: &str) -> (Value, &str, &str) {
    (session, "unknown_parameter", param)
}

pub(super) fn invalid(session: Value, param: &str) -> (Value, &str, &str) {
    (session, "invalid_value", param)
}

fn wrong(session: Value, param: &str) -> (Value, &str, &str) {
    (session, "invalid_type", param)
}

fn missing(session: Value, param: &str) -> (Value, &str, &str) {
    (session, "missing_required_parameter", param)
}

#[test]
fn fields_of_the_old_flat_shape_are_unknown() {
    let old = json!({
        "voice": "alloy", "speed": 1, "modalities": ["text"], "turn_detection": null, "temperature": 0.8,
        "input_audio_format": "pcm16", "output_audio_format": "pcm16", "input_audio_noise_reduction": null,
        "input_audio_transcription": {"model": "whisper-1"}, "max_response_output_tokens": 100,
        "client_secret": {}, "id": "sess_1", "expires_after": {"seconds": 60},
    });
    for (name, value) in old.as_object().unwrap() {
        let param = format!("session.{name}");
        let fault = check(&realtime(json!({name: value}))).unwrap_err();
        assert_eq!(fault.message, format!("Unknown parameter: '{param}'."));
        assert_eq!((fault.code, fault.param), ("unknown_parameter", param));
    }
}

#[test]
fn a_type_is_required_and_must_be_one_of_two() {
    refused(vec![
        (json!({}), "missing_required_parameter", "session.type"),
        (
            json!({"type": "translation"}),
            "invalid_value",
            "session.type",
        ),
        (json!({"type": 1}), "invalid_type", "session.type"),
        (json!([]), "invalid_type", "session"),
        (json!(null), "invalid_type", "session"),
        (
            json!({"type": "transcription", "model": "whisper-1"}),
            "unknown_parameter",
            "session.model",
        ),
        (
            json!({"type": "transcription", "audio": {"output": {}}}),
            "unknown_parameter",
            "session.audio.output",
        ),
    ]);
}

#[test]
fn unknown_fields_are_refused_at_every_level() {
    refused(vec![
        unknown(realtime(json!({"audio": {"x": 1}})), "session.audio.x"),
        unknown(
            input(json!({"format": {"type": "audio/pcmu", "rate": 8000}})),
            "session.audio.input.format.rate",
        ),
        unknown(
            input(json!({"transcription": {"x": 1}})),
            "session.audio.input.transcription.x",
        ),
        unknown(
            input(json!({"turn_detection": {"type": "semantic_vad", "threshold": 0.5}})),
            "session.audio.input.turn_detection.threshold",
        ),
        unknown(
            input(json!({"turn_detection": {"type": "server_vad", "eagerness": "low"}})),
            "session.audio.input.turn_detection.eagerness",
        ),
        unknown(
            output(json!({"voice": {"id": "voice_1", "x": 1}})),
            "session.audio.output.voice.x",
        ),
        unknown(
            tool(json!({"type": "function", "name": "a", "strict": true})),
            "session.tools[0].strict",
        ),
        unknown(realtime(json!({"tracing": {"x": 1}})), "session.tracing.x"),
        unknown(
            tool(
                json!({"type": "mcp", "server_label": "a", "require_approval": {"always": {"x": 1}}}),
            ),
            "session.tools[0].require_approval.always.x",
        ),
    ]);
}

#[test]
fn wrong_values_in_audio_are_refused_where_they_stand() {
    refused(vec![
        invalid(
            output(json!({"voice": "nova"})),
            "session.audio.output.voice",
        ),
        invalid(
            output(json!({"voice": "fable"})),
            "session.audio.output.voice",
        ),
        invalid(
            output(json!({"voice": "onyx"})),
            "session.audio.output.voice",
        ),
        invalid(
            output(json!({"voice": "Alloy"})),
            "session.audio.output.voice",
        ),
        invalid(
            output(json!({"voice": {"id": "alloy"}})),
            "session.audio.output.voice.id",
        ),
        invalid(
            output(json!({"format": {"type": "pcm16"}})),
            "session.audio.output.format.type",
        ),
        invalid(
            input(json!({"noise_reduction": {"type": "none"}})),
            "session.audio.input.noise_reduction.type",
        ),
        invalid(
            input(json!({"turn_detection": {"type": "none"}})),
            "session.audio.input.turn_detection.type",
        ),
        invalid(
            input(json!({"transcription": {"model": ""}})),
            "session.audio.input.transcription.model",
        ),
    ]);
}

#[test]
fn wrong_values_outside_audio_are_refused_where_they_stand() {
    refused(vec![
        invalid(realtime(json!({"model": ""})), "session.model"),
        invalid(
            realtime(json!({"output_modalities": ["video"]})),
            "session.output_modalities[0]",
        ),
        invalid(
            realtime(json!({"max_output_tokens": "all"})),
            "session.max_output_tokens",
        ),
        invalid(
            realtime(json!({"truncation": "none"})),
            "session.truncation",
        ),
        invalid(
            realtime(json!({"tool_choice": "any"})),
            "session.tool_choice",
        ),
        invalid(realtime(json!({"tracing": "on"})), "session.tracing"),
        invalid(realtime(json!({"include": ["x"]})), "session.include[0]"),
        invalid(
            realtime(json!({"reasoning": {"effort": "none"}})),
            "session.reasoning.effort",
        ),
        invalid(tool(json!({"type": "web_search"})), "session.tools[0].type"),
        invalid(
            tool(json!({"type": "function", "name": "look up"})),
            "session.tools[0].name",
        ),
        invalid(
            tool(json!({"type": "mcp", "server_label": "a", "server_url": "ftp://x"})),
            "session.tools[0].server_url",
        ),
        invalid(
            tool(json!({"type": "mcp", "server_label": "a", "tunnel_id": "tunnel_1"})),
            "session.tools[0].tunnel_id",
        ),
    ]);
}

#[test]
fn wrong_types_are_refused_where_they_stand() {
    refused(vec![
        wrong(realtime(json!({"model": null})), "session.model"),
        wrong(realtime(json!({"instructions": 1})), "session.instructions"),
        wrong(
            realtime(json!({"output_modalities": "audio"})),
            "session.output_modalities",
        ),
        wrong(
            realtime(json!({"max_output_tokens": 1.5})),
            "session.max_output_tokens",
        ),
        wrong(realtime(json!({"tools": {}})), "session.tools"),
        wrong(
            realtime(json!({"parallel_tool_calls": "yes"})),
            "session.parallel_tool_calls",
        ),
        wrong(
            input(json!({"format": "pcm16"})),
            "session.audio.input.format",
        ),
        wrong(
            input(json!({"turn_detection": "server_vad"})),
            "session.audio.input.turn_detection",
        ),
        wrong(
            output(json!({"speed": "1.0"})),
            "session.audio.output.speed",
        ),
        wrong(output(json!({"voice": null})), "session.audio.output.voice"),
        wrong(
            tool(json!({"type": "mcp", "server_label": "a", "headers": {"b": 1}})),
            "session.tools[0].headers.b",
        ),
        wrong(
            realtime(json!({"prompt": {"id": "p", "variables": {"a": 1}}})),
            "session.prompt.variables.a",
        ),
    ]);
}

#[test]
fn limits_are_kept_to_the_last_unit() {
    let vad = |field: &str, value: Value| {
        input(json!({"turn_detection": {"type": "server_vad", field: value}}))
    };
    let (tokens, speed) = ("session.max_output_tokens", "session.audio.output.speed");
    let detection = "session.audio.input.turn_detection";
    let (below, above) = ("integer_below_min_value", "integer_above_max_value");
    refused(vec![
        (realtime(json!({"max_output_tokens": 0})), below, tokens),
        (realtime(json!({"max_output_tokens": 4097})), above, tokens),
        (
            realtime(json!({"max_output_tokens": u64::MAX})),
            above,
            tokens,
        ),
        (
            output(json!({"speed": 0.24})),
            "decimal_below_min_value",
            speed,
        ),
        (
            output(json!({"speed": 1.51})),
            "decimal_above_max_value",
            speed,
        ),
        (
            vad("threshold", json!(1.1)),
            "decimal_above_max_value",
            &format!("{detection}.threshold"),
        ),
        (
            vad("idle_timeout_ms", json!(4999)),
            below,
            &format!("{detection}.idle_timeout_ms"),
        ),
        (
            vad("idle_timeout_ms", json!(30_001)),
            above,
            &format!("{detection}.idle_timeout_ms"),
        ),
        (
            vad("prefix_padding_ms", json!(-1)),
            below,
            &format!("{detection}.prefix_padding_ms"),
        ),
    ]);
}

#[test]
fn rates_ratios_and_lengths_have_limits_too() {
    refused(vec![
        (
            input(json!({"format": {"type": "audio/pcm", "rate": 16_000}})),
            "integer_below_min_value",
            "session.audio.input.format.rate",
        ),
        (
            realtime(json!({"truncation": {"type": "retention_ratio", "retention_ratio": 1.01}})),
            "decimal_above_max_value",
            "session.truncation.retention_ratio",
        ),
        (
            realtime(json!({"output_modalities": ["audio", "text"]})),
            "array_above_max_length",
            "session.output_modalities",
        ),
        (
            realtime(json!({"output_modalities": []})),
            "array_below_min_length",
            "session.output_modalities",
        ),
    ]);
}

#[test]
fn what_is_missing_is_named() {
    refused(vec![
        missing(tool(json!({"name": "a"})), "session.tools[0].type"),
        missing(tool(json!({"type": "function"})), "session.tools[0].name"),
        missing(
            tool(json!({"type": "mcp"})),
            "session.tools[0].server_label",
        ),
        missing(
            tool(json!({"type": "mcp", "server_label": "a"})),
            "session.tools[0].server_url",
        ),
        missing(
            input(json!({"format": {"rate": 24000}})),
            "session.audio.input.format.type",
        ),
        missing(
            input(json!({"turn_detection": {}})),
            "session.audio.input.turn_detection.type",
        ),
        missing(
            output(json!({"voice": {}})),
            "session.audio.output.voice.id",
        ),
        missing(
            realtime(json!({"tool_choice": {"type": "function"}})),
            "session.tool_choice.name",
        ),
        missing(
            realtime(json!({"truncation": {"type": "retention_ratio"}})),
            "session.truncation.retention_ratio",
        ),
        missing(realtime(json!({"prompt": {}})), "session.prompt.id"),
    ]);
}
