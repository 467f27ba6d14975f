//! What somebody says in a call, and its transcription.

use serde_json::{Value, json};

use super::Switches;
use super::live::{Live, token};
use super::turn::{clear_audio, emit_item, interrupt};

/// How long somebody speaks in a turn.
const HEARD_MS: u64 = 2800;

/// Somebody speaks. A response that is being spoken is interrupted. Returns the id of what was said.
pub(super) fn hear(live: &mut Live, switches: &Switches) -> String {
    let item = format!("item_{}", token::<16>());
    live.emit(
        json!({"type": "input_audio_buffer.speech_started", "audio_start_ms": 320, "item_id": item}),
        switches,
    );
    if interrupt(live, None, "turn_detected", switches) {
        clear_audio(live, switches);
    }
    live.emit(
        json!({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 320 + HEARD_MS, "item_id": item}),
        switches,
    );
    let before = live.conversation.last_item.clone();
    live.emit(
        json!({"type": "input_audio_buffer.committed", "previous_item_id": before, "item_id": item}),
        switches,
    );
    live.conversation.heard(HEARD_MS);
    let content = json!([{"type": "input_audio", "transcript": null}]);
    let message = json!({"id": item, "type": "message", "status": "completed", "role": "user", "content": content});
    emit_item(live, &message, switches);
    item
}

/// Transcribes what was heard, where the session says so.
pub(super) fn transcribe(live: &mut Live, item: &str, switches: &Switches) {
    let model = live.session.pointer("/audio/input/transcription/model");
    let Some(model) = model.and_then(Value::as_str) else {
        return;
    };
    let usage = if model.contains("whisper") {
        json!({"type": "duration", "seconds": HEARD_MS.div_ceil(1000)})
    } else {
        let heard = HEARD_MS.div_ceil(100);
        json!({"type": "tokens", "total_tokens": heard + 4, "input_tokens": heard, "output_tokens": 4,
            "input_token_details": {"text_tokens": 0, "audio_tokens": heard}})
    };
    live.transcribed.push(usage.clone());
    live.emit(
        json!({"type": "conversation.item.input_audio_transcription.delta", "item_id": item, "content_index": 0,
            "delta": "Simulated words.", "obfuscation": token::<8>()}),
        switches,
    );
    live.emit(
        json!({"type": "conversation.item.input_audio_transcription.completed", "item_id": item, "content_index": 0,
            "transcript": "Simulated words.", "usage": usage}),
        switches,
    );
}
