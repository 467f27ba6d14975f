//! Objects that the published rules allow.

use serde_json::json;

use super::*;

#[test]
fn a_session_may_hold_everything_that_was_published() {
    accepted(vec![
        realtime(json!({})),
        realtime(json!({"model": "gpt-realtime-2.1", "instructions": ""})),
        realtime(json!({"model": "a-model-published-tomorrow"})),
        realtime(json!({"output_modalities": ["text"]})),
        realtime(json!({"max_output_tokens": "inf"})),
        realtime(json!({"max_output_tokens": 4096})),
        realtime(json!({"parallel_tool_calls": true, "reasoning": {"effort": "xhigh"}})),
        realtime(json!({"truncation": "disabled", "tracing": null, "prompt": null})),
        realtime(
            json!({"truncation": {"type": "retention_ratio", "retention_ratio": 0.8,
            "token_limits": {"post_instructions": 0}}}),
        ),
        realtime(
            json!({"tracing": {"workflow_name": "a", "group_id": "b", "metadata": {"c": [1]}}}),
        ),
        realtime(json!({"include": ["item.input_audio_transcription.logprobs"]})),
        realtime(
            json!({"prompt": {"id": "pmpt_1", "version": null, "variables": {
            "name": "Ada", "text": {"type": "input_text", "text": "hello"},
            "face": {"type": "input_image", "detail": "auto", "image_url": null},
            "file": {"type": "input_file", "file_id": "file_1"}}}}),
        ),
    ]);
}

#[test]
fn audio_may_hold_everything_that_was_published() {
    accepted(vec![
        input(json!({"format": {"type": "audio/pcm", "rate": 24000}, "turn_detection": null})),
        input(json!({"format": {"type": "audio/pcmu"}, "transcription": null})),
        input(json!({"noise_reduction": null})),
        input(json!({"noise_reduction": {"type": "far_field"}})),
        input(
            json!({"transcription": {"model": "gpt-4o-transcribe", "language": "de", "prompt": "names"}}),
        ),
        input(
            json!({"transcription": {"model": "gpt-transcribe", "languages": ["de"], "keywords": []}}),
        ),
        input(json!({"transcription": {"model": "gpt-realtime-whisper", "delay": "minimal"}})),
        input(
            json!({"turn_detection": {"type": "server_vad", "threshold": 1, "prefix_padding_ms": 300,
            "silence_duration_ms": 500, "create_response": false, "interrupt_response": false,
            "idle_timeout_ms": 30000}}),
        ),
        input(json!({"turn_detection": {"type": "semantic_vad", "eagerness": "low"}})),
        output(json!({"format": {"type": "audio/pcma"}, "speed": 0.25, "voice": "marin"})),
        output(json!({"voice": {"id": "voice_1234"}, "speed": 1.5})),
        hearing(json!({"transcription": {"model": "gpt-live-transcribe"}, "turn_detection": null})),
        hearing(
            json!({"transcription": {"model": "gpt-realtime-whisper"}, "turn_detection": null}),
        ),
        json!({"type": "transcription", "include": []}),
    ]);
}

#[test]
fn tools_may_hold_everything_that_was_published() {
    accepted(vec![
        tool(
            json!({"type": "function", "name": "look_up", "description": "d", "parameters": {"type": "object"}}),
        ),
        tool(
            json!({"type": "mcp", "server_label": "docs", "server_url": "https://mcp.example.com",
            "authorization": "x", "headers": {"a": "b"}, "allowed_tools": ["a"], "require_approval": "never",
            "allowed_callers": ["direct"], "defer_loading": false, "server_description": "d"}),
        ),
        tool(
            json!({"type": "mcp", "server_label": "mail", "connector_id": "connector_gmail",
            "headers": null, "allowed_tools": {"tool_names": ["a"], "read_only": true},
            "require_approval": {"always": {"read_only": false}, "never": {}}}),
        ),
        tool(
            json!({"type": "mcp", "server_label": "in", "tunnel_id": format!("tunnel_{}", "a".repeat(32))}),
        ),
        realtime(json!({"tool_choice": "required"})),
        realtime(json!({"tool_choice": {"type": "function", "name": "look_up"}})),
        realtime(json!({"tool_choice": {"type": "mcp", "server_label": "docs", "name": null}})),
    ]);
}
