//! Obeys the events that peers send, as strictly as the provider does.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::heard::{HEARD_MS, hear, transcribe};
use super::live::{Live, Peer, complete_transcription, token};
use super::{Registry, Switches, gpt_live, turn};
use crate::provider;
use crate::simulator::effective::lay_over;

/// The events that peers may send, and their fields. `event_id` goes with all of them.
const KNOWN: [(&str, &[&str]); 11] = [
    ("session.update", &["session"]),
    ("response.create", &["response"]),
    ("response.cancel", &["response_id"]),
    ("conversation.item.create", &["previous_item_id", "item"]),
    ("conversation.item.delete", &["item_id"]),
    ("conversation.item.retrieve", &["item_id"]),
    (
        "conversation.item.truncate",
        &["item_id", "content_index", "audio_end_ms"],
    ),
    ("input_audio_buffer.append", &["audio"]),
    ("input_audio_buffer.commit", &[]),
    ("input_audio_buffer.clear", &[]),
    ("output_audio_buffer.clear", &[]),
];
/// The fields of `response` in `response.create`.
const RESPONSE_FIELDS: [&str; 12] = [
    "audio",
    "conversation",
    "input",
    "instructions",
    "max_output_tokens",
    "metadata",
    "output_modalities",
    "parallel_tool_calls",
    "prompt",
    "reasoning",
    "tool_choice",
    "tools",
];
/// Longest id of an event.
const MAX_ID: usize = 512;

/// The events that a dialect knows, each with its fields.
pub(super) type Known = [(&'static str, &'static [&'static str])];

/// Why an event is refused.
pub(super) struct Wrong {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) param: Option<String>,
}

impl Wrong {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            param: None,
        }
    }

    pub(super) fn at(self, param: impl Into<String>) -> Self {
        let param = Some(param.into());
        Self { param, ..self }
    }

    pub(super) fn missing(param: &str) -> Self {
        let message = format!("Missing required parameter: '{param}'.");
        Self::new("missing_required_parameter", message).at(param)
    }
}

/// Obeys one event of `peer`. Whatever is wrong with it is told to this peer alone.
pub(super) fn obey(calls: &Registry, id: &str, peer: Peer, text: &str) {
    let now = calls.clock.now();
    let event: Value = serde_json::from_str(text).unwrap_or_default();
    let mut desk = calls.desk();
    let Some((live, switches)) = desk.open_call(id) else {
        return;
    };
    live.note(peer, &event);
    if live.gpt.is_some() {
        return gpt_live::obey(live, peer, &event, (now, switches));
    }
    let outcome =
        known(&event, &KNOWN).and_then(|kind| perform(live, (peer, kind), &event, switches));
    if outcome.is_ok() && peer != Peer::Browser && event["type"] == "session.update" {
        live.asserted_at.get_or_insert(now);
    }
    match outcome {
        Ok(Some(response)) => {
            drop(desk);
            turn::end_later(calls, id, response);
        }
        Ok(None) => {}
        Err(wrong) => {
            let error = json!({
                "type": "invalid_request_error",
                "code": wrong.code,
                "message": wrong.message,
                "param": wrong.param,
                "event_id": event["event_id"],
            });
            live.emit_to(peer, json!({"type": "error", "error": error}), switches);
        }
    }
}

/// Returns the type of an event that has the form of its type.
pub(super) fn known(event: &Value, all: &Known) -> Result<&'static str, Wrong> {
    let unreadable = || Wrong::new("invalid_value", "The event is no JSON object.");
    let fields = event.as_object().ok_or_else(unreadable)?;
    let kind = fields.get("type").ok_or_else(|| Wrong::missing("type"))?;
    let found = all.iter().find(|(name, _)| kind == name);
    let &(kind, allowed) = found
        .ok_or_else(|| Wrong::new("invalid_value", format!("Invalid value: {kind}.")).at("type"))?;
    let is_id = |id: &Value| id.as_str().is_some_and(|id| id.len() <= MAX_ID);
    if !fields.get("event_id").is_none_or(is_id) {
        return Err(Wrong::new("invalid_value", "Invalid event id.").at("event_id"));
    }
    only(
        fields,
        |name| name == "type" || name == "event_id" || allowed.contains(&name),
        "",
    )?;
    Ok(kind)
}

pub(super) fn only(
    fields: &Map<String, Value>,
    is_known: impl Fn(&str) -> bool,
    prefix: &str,
) -> Result<(), Wrong> {
    match fields.keys().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => {
            let place = format!("{prefix}{name}");
            Err(Wrong::new(
                "unknown_parameter",
                format!("Unknown parameter: '{place}'."),
            )
            .at(place))
        }
    }
}

/// Does what the event says. Returns the id of a response that began and goes on.
fn perform(
    live: &mut Live,
    (peer, kind): (Peer, &str),
    event: &Value,
    switches: &Switches,
) -> Result<Option<String>, Wrong> {
    match kind {
        "session.update" => update(live, peer, &event["session"], switches).map(|()| None),
        "response.create" => create_response(live, &event["response"], switches),
        "response.cancel" => cancel(live, &event["response_id"], switches).map(|()| None),
        "conversation.item.create" => add_item(live, &event["item"], switches).map(|()| None),
        "output_audio_buffer.clear" => {
            turn::clear_audio(live, switches);
            Ok(None)
        }
        "input_audio_buffer.append" if live.is_session => {
            append(live, &event["audio"]).map(|()| None)
        }
        "input_audio_buffer.commit" if live.is_session => commit(live, switches).map(|()| None),
        "input_audio_buffer.append" => Err(Wrong::new(
            "invalid_value",
            "Audio comes over the peer connection of this call.",
        )),
        "conversation.item.truncate" => {
            let truncated = json!({
                "type": "conversation.item.truncated",
                "item_id": event["item_id"],
                "content_index": event["content_index"],
                "audio_end_ms": event["audio_end_ms"],
            });
            live.emit(truncated, switches);
            Ok(None)
        }
        _ => Ok(None),
    }
}

fn append(live: &mut Live, audio: &Value) -> Result<(), Wrong> {
    let is_base64 = |text: &str| STANDARD.decode(text).is_ok();
    let Some(audio) = audio.as_str().filter(|text| is_base64(text)) else {
        let message = "Invalid 'audio'. Expected base64-encoded audio bytes.";
        return Err(Wrong::new("invalid_value", message).at("audio"));
    };
    live.appended += audio.len();
    Ok(())
}

fn commit(live: &mut Live, switches: &Switches) -> Result<(), Wrong> {
    if std::mem::take(&mut live.appended) == 0 {
        let message = "Error committing input audio buffer: the buffer is empty.";
        return Err(Wrong::new("input_audio_buffer_commit_empty", message));
    }
    let item = hear(live, switches);
    if live.only_transcribes() {
        transcribe(live, (&item, HEARD_MS), switches);
    }
    Ok(())
}

/// Changes the session: only the fields that are there.
fn update(live: &mut Live, peer: Peer, session: &Value, switches: &Switches) -> Result<(), Wrong> {
    provider::check(session).map_err(|fault| Wrong {
        code: fault.code,
        message: fault.message,
        param: Some(fault.param),
    })?;
    if session["type"] != live.session["type"] {
        let message = "The type of a session cannot be changed.";
        return Err(Wrong::new("invalid_value", message).at("session.type"));
    }
    let asked = |place: &str| session.pointer(place).filter(|value| !value.is_null());
    if asked("/model").is_some_and(|model| *model != live.session["model"]) {
        let message = "The model of a session cannot be changed.";
        return Err(Wrong::new("invalid_value", message).at("session.model"));
    }
    let voice = asked("/audio/output/voice");
    let has = live.session.pointer("/audio/output/voice");
    if live.has_spoken && voice.is_some() && voice != has {
        let message = "Cannot update a conversation's voice if assistant audio is present.";
        return Err(Wrong::new("cannot_update_voice", message).at("session.audio.output.voice"));
    }
    lay_over(&mut live.session, session);
    complete_transcription(&mut live.session);
    let updated = json!({"type": "session.updated", "session": live.session});
    if switches.updated_to_sender_only {
        live.emit_to(peer, updated, switches);
    } else {
        live.emit(updated, switches);
    }
    Ok(())
}

fn create_response(
    live: &mut Live,
    params: &Value,
    switches: &Switches,
) -> Result<Option<String>, Wrong> {
    if live.only_transcribes() {
        let message = "Responses cannot be created in transcription sessions.";
        return Err(Wrong::new("invalid_value", message).at("type"));
    }
    if let Some(fields) = params.as_object() {
        only(fields, |name| RESPONSE_FIELDS.contains(&name), "response.")?;
    }
    let is_beside = params["conversation"] == "none";
    let mut active = live.active.iter();
    if let Some(active) = active.find(|active| active.is_of_conversation && !is_beside) {
        let message = format!(
            "Conversation already has an active response in progress: {}.",
            active.id
        );
        return Err(Wrong::new(
            "conversation_already_has_active_response",
            message,
        ));
    }
    let text = match params["instructions"].as_str() {
        Some(asked) => format!("A simulated answer to: {asked}"),
        None => "A simulated answer.".to_owned(),
    };
    let id = turn::respond(live, &text, params, switches);
    if switches.long_responses {
        return Ok(Some(id));
    }
    turn::complete(live, Some(&id), switches);
    Ok(None)
}

fn cancel(live: &mut Live, id: &Value, switches: &Switches) -> Result<(), Wrong> {
    if turn::interrupt(live, id.as_str(), "client_cancelled", switches) {
        return Ok(());
    }
    let message = "Cancellation failed: no active response found";
    Err(Wrong::new("response_cancel_not_active", message))
}

fn add_item(live: &mut Live, item: &Value, switches: &Switches) -> Result<(), Wrong> {
    if !item.is_object() {
        return Err(Wrong::missing("item"));
    }
    let mut item = item.clone();
    if item["id"].is_null() {
        item["id"] = format!("item_{}", token::<16>()).into();
    }
    if item["type"] == "message" {
        item["status"] = "completed".into();
    }
    live.conversation.wrote(&item["content"].to_string());
    turn::emit_item(live, &item, switches);
    Ok(())
}
