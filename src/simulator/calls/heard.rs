//! What somebody says in a call, and its transcription.

use serde_json::{Value, json};

use super::Switches;
use super::live::{Live, token};
use super::turn::{clear_audio, emit_item, interrupt};

/// When somebody begins to speak in a played turn.
const BEGIN_MS: u64 = 320;
/// How long somebody speaks in a played turn.
pub(super) const HEARD_MS: u64 = 2800;

/// Somebody speaks. Returns the id of what was said.
pub(super) fn hear(live: &mut Live, switches: &Switches) -> String {
    let item = begin(live, BEGIN_MS, switches);
    end(live, &item, (BEGIN_MS, BEGIN_MS + HEARD_MS), switches);
    item
}

/// Somebody begins to speak. A response that is being spoken is interrupted, unless the session says otherwise. Returns the id
/// of what is said.
pub(super) fn begin(live: &mut Live, begin_ms: u64, switches: &Switches) -> String {
    let item = format!("item_{}", token::<16>());
    live.emit(
        json!({"type": "input_audio_buffer.speech_started", "audio_start_ms": begin_ms, "item_id": item}),
        switches,
    );
    let interrupts = live
        .session
        .pointer("/audio/input/turn_detection/interrupt_response");
    if interrupts != Some(&Value::Bool(false)) {
        let was_speaking = interrupt(live, None, "turn_detected", switches);
        // What a browser was sent is heard long after it was generated.
        if was_speaking || live.media.is_some() {
            clear_audio(live, switches);
        }
    }
    item
}

/// Somebody has spoken from the first moment to the second one.
pub(super) fn end(
    live: &mut Live,
    item: &str,
    (begin_ms, end_ms): (u64, u64),
    switches: &Switches,
) {
    live.emit(
        json!({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": end_ms, "item_id": item}),
        switches,
    );
    let before = live.conversation.last_item.clone();
    live.emit(
        json!({"type": "input_audio_buffer.committed", "previous_item_id": before, "item_id": item}),
        switches,
    );
    live.conversation.heard(end_ms - begin_ms);
    let content = json!([{"type": "input_audio", "transcript": null}]);
    let message = json!({"id": item, "type": "message", "status": "completed", "role": "user", "content": content});
    emit_item(live, &message, switches);
}

/// Transcribes what was heard for so long, where the session says so.
pub(super) fn transcribe(live: &mut Live, (item, millis): (&str, u64), switches: &Switches) {
    let model = live.session.pointer("/audio/input/transcription/model");
    let Some(model) = model.and_then(Value::as_str) else {
        return;
    };
    let usage = if model.contains("whisper") {
        json!({"type": "duration", "seconds": millis.div_ceil(1000)})
    } else {
        let heard = millis.div_ceil(100);
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
