//! Plays turns: what somebody says, and how the model answers.

use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::conversation::twisted;
use super::heard::{HEARD_MS, hear, transcribe};
use super::live::{Active, Live, token};
use super::{OddUsage, Registry, Switches, gpt_live};

/// A few samples of silence in base64.
const SILENCE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// How long a response goes on that is long.
const LONG: Duration = Duration::from_secs(30);

/// One turn of a conversation. Somebody speaks first, in each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The model says this.
    Say(String),
    /// The model calls the tool with this name.
    Tool(String),
    /// The model says this, and goes on for 30 s unless somebody interrupts it.
    Long(String),
    /// The response fails.
    Fail,
    /// The model does not answer.
    Silent,
}

/// Error for a text that names no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a turn is one of say:TEXT, tool:NAME, long:TEXT, fail, silent")]
pub struct TurnError;

impl FromStr for Turn {
    type Err = TurnError;

    fn from_str(text: &str) -> Result<Self, TurnError> {
        Ok(match text.split_once(':') {
            Some(("say", said)) => Self::Say(said.to_owned()),
            Some(("tool", name)) => Self::Tool(name.to_owned()),
            Some(("long", said)) => Self::Long(said.to_owned()),
            None if text == "fail" => Self::Fail,
            None if text == "silent" => Self::Silent,
            _ => return Err(TurnError),
        })
    }
}

/// Plays a turn in an open call.
pub(super) fn play(calls: &Registry, id: &str, turn: &Turn) {
    let now = calls.clock.now();
    let long = {
        let mut desk = calls.desk();
        let Some((live, switches)) = desk.open_call(id) else {
            return;
        };
        if live.gpt.is_some() {
            return gpt_live::play(live, (turn, HEARD_MS), (now, switches));
        }
        let item = hear(live, switches);
        reply(live, (&item, HEARD_MS), turn, switches)
    };
    if let Some(response) = long {
        end_later(calls, id, response);
    }
}

/// Replies to what somebody said for so long. Returns the id of a response that goes on.
pub(super) fn reply(
    live: &mut Live,
    said: (&str, u64),
    turn: &Turn,
    switches: &Switches,
) -> Option<String> {
    if !switches.late_transcription {
        transcribe(live, said, switches);
    }
    let mut long = None;
    match turn {
        _ if live.only_transcribes() => {}
        Turn::Silent => {}
        Turn::Say(text) => {
            let response = respond(live, text, &Value::Null, switches);
            complete(live, Some(&response), switches);
        }
        Turn::Long(text) => long = Some(respond(live, text, &Value::Null, switches)),
        Turn::Tool(name) => call_tool(live, name, switches),
        Turn::Fail => fail(live, switches),
    }
    if switches.late_transcription {
        transcribe(live, said, switches);
    }
    long
}

/// Ends a response when it has been spoken.
pub(super) fn end_later(calls: &Registry, id: &str, response: String) {
    let over = {
        let mut desk = calls.desk();
        let active = desk.open_call(id).and_then(|(live, _)| {
            let mut active = live.active.iter();
            active.find(|active| active.id == response)
        });
        let Some(active) = active else { return };
        active.over.clone()
    };
    let (clock, stop, id) = (calls.clock.clone(), calls.stop.clone(), id.to_owned());
    let desk = calls.shared_desk();
    calls.tasks.spawn(async move {
        let spoken = tokio::select! {
            () = clock.sleep(LONG) => true,
            () = over.cancelled() => false,
            () = stop.cancelled() => false,
        };
        if spoken && let Some((live, switches)) = desk.lock().open_call(&id) {
            complete(live, Some(&response), switches);
        }
    });
}

/// Adds an item to the conversation.
pub(super) fn emit_item(live: &mut Live, item: &Value, switches: &Switches) {
    let before = live.conversation.last_item.clone();
    for kind in ["conversation.item.added", "conversation.item.done"] {
        live.emit(
            json!({"type": kind, "previous_item_id": before, "item": item}),
            switches,
        );
    }
    live.conversation.last_item = item["id"].as_str().map(str::to_owned);
}

/// Begins a spoken response of `text`: everything is said but the end. Returns its id.
pub(super) fn respond(live: &mut Live, text: &str, params: &Value, switches: &Switches) -> String {
    let active = begin(live, text, params, switches);
    let (id, item) = (active.id.clone(), active.item.clone());
    live.active.push(active);
    live.played = Some(id.clone());
    live.has_spoken = true;
    let message = json!({"id": item, "type": "message", "status": "in_progress", "role": "assistant", "content": []});
    let at = json!({"response_id": id, "item_id": item, "output_index": 0, "content_index": 0});
    let before = live.conversation.last_item.clone();
    for event in [
        json!({"type": "response.output_item.added", "response_id": id, "output_index": 0, "item": message}),
        json!({"type": "conversation.item.added", "previous_item_id": before, "item": message}),
        with(
            &at,
            json!({"type": "response.content_part.added", "part": {"type": "audio", "transcript": ""}}),
        ),
    ] {
        live.emit(event, switches);
    }
    for word in text.split_inclusive(' ') {
        let delta = json!({"type": "response.output_audio_transcript.delta", "delta": word, "obfuscation": token::<8>()});
        live.emit(with(&at, delta), switches);
        if live.is_session {
            let audio = json!({"type": "response.output_audio.delta", "delta": SILENCE});
            live.emit(with(&at, audio), switches);
        }
    }
    live.emit(
        json!({"type": "output_audio_buffer.started", "response_id": id}),
        switches,
    );
    if let Some(media) = &live.media {
        media.speak(&id, text);
    }
    id
}

fn begin(live: &mut Live, text: &str, params: &Value, switches: &Switches) -> Active {
    let active = Active {
        id: format!("resp_{}", token::<16>()),
        item: format!("item_{}", token::<16>()),
        text: text.to_owned(),
        params: params.clone(),
        is_of_conversation: params["conversation"] != "none",
        over: CancellationToken::new(),
    };
    let mut response = shown(live, &active, "in_progress");
    response["usage"] = Value::Null;
    live.emit(
        json!({"type": "response.created", "response": response}),
        switches,
    );
    active
}

/// Returns a response as events show it.
fn shown(live: &Live, active: &Active, status: &str) -> Value {
    let or_session = |name: &str| {
        let own = &active.params[name];
        if own.is_null() {
            live.session[name].clone()
        } else {
            own.clone()
        }
    };
    let output = &live.session["audio"]["output"];
    json!({
        "object": "realtime.response",
        "id": active.id,
        "status": status,
        "status_details": null,
        "output": [],
        "conversation_id": active.is_of_conversation.then(|| format!("conv_{}", live.id)),
        "output_modalities": or_session("output_modalities"),
        "max_output_tokens": or_session("max_output_tokens"),
        "audio": {"output": {"format": output["format"], "voice": output["voice"]}},
        "metadata": active.params["metadata"],
    })
}

/// Speaks a response to its end: the one with this id, or the conversation's.
pub(super) fn complete(live: &mut Live, id: Option<&str>, switches: &Switches) {
    let Some(active) = live.take_active(id) else {
        return;
    };
    let at = json!({"response_id": active.id, "item_id": active.item, "output_index": 0, "content_index": 0});
    let said = &active.text;
    let message = json!({"id": active.item, "type": "message", "status": "completed", "role": "assistant",
        "content": [{"type": "output_audio", "transcript": said}]});
    let before = live.conversation.last_item.replace(active.item.clone());
    for event in [
        with(&at, json!({"type": "response.output_audio.done"})),
        with(
            &at,
            json!({"type": "response.output_audio_transcript.done", "transcript": said}),
        ),
        with(
            &at,
            json!({"type": "response.content_part.done", "part": {"type": "audio", "transcript": said}}),
        ),
        json!({"type": "conversation.item.done", "previous_item_id": before, "item": message}),
        json!({"type": "response.output_item.done", "response_id": active.id, "output_index": 0, "item": message}),
    ] {
        live.emit(event, switches);
    }
    let mut response = shown(live, &active, "completed");
    response["output"] = json!([message]);
    let usage = live.conversation.answered(said, true, &live.session);
    done(live, response, usage, switches);
    match &live.media {
        Some(media) => media.finish(&active.id),
        None => played(live, &active.id, switches),
    }
}

/// A response was heard to its end.
pub(super) fn played(live: &mut Live, id: &str, switches: &Switches) {
    live.emit(
        json!({"type": "output_audio_buffer.stopped", "response_id": id}),
        switches,
    );
    if live.media.is_some() && live.played.as_deref() == Some(id) {
        live.played = None;
    }
}

/// Cuts a response off: the one with this id, or the conversation's. What was generated counts. Returns false when there is none.
pub(super) fn interrupt(
    live: &mut Live,
    id: Option<&str>,
    reason: &str,
    switches: &Switches,
) -> bool {
    let Some(active) = live.take_active(id) else {
        return false;
    };
    let is_incomplete = switches.interrupted_is_incomplete && reason == "turn_detected";
    let status = if is_incomplete {
        "incomplete"
    } else {
        "cancelled"
    };
    let mut response = shown(live, &active, status);
    response["status_details"] = json!({"type": status, "reason": reason});
    let said: String = active
        .text
        .chars()
        .take(active.text.chars().count() / 2)
        .collect();
    let usage = live.conversation.answered(&said, true, &live.session);
    done(live, response, usage, switches);
    if let Some(media) = &live.media {
        media.finish(&active.id);
    }
    true
}

/// Throws away the audio that was not heard yet.
pub(super) fn clear_audio(live: &mut Live, switches: &Switches) {
    if let Some(id) = live.played.take() {
        if let Some(media) = &live.media {
            media.hush();
        }
        live.emit(
            json!({"type": "output_audio_buffer.cleared", "response_id": id}),
            switches,
        );
    }
}

fn call_tool(live: &mut Live, name: &str, switches: &Switches) {
    let active = begin(live, "{}", &Value::Null, switches);
    let (id, item) = (&active.id, &active.item);
    let call = format!("call_{}", token::<12>());
    let of = |status: &str, arguments: &str| {
        json!({"id": item, "type": "function_call", "status": status, "name": name, "call_id": call,
            "arguments": arguments})
    };
    let (begun, ended) = (of("in_progress", ""), of("completed", "{}"));
    let at = json!({"response_id": id, "item_id": item, "output_index": 0, "call_id": call});
    let before = live.conversation.last_item.replace(item.clone());
    for event in [
        json!({"type": "response.output_item.added", "response_id": id, "output_index": 0, "item": begun}),
        json!({"type": "conversation.item.added", "previous_item_id": before, "item": begun}),
        with(
            &at,
            json!({"type": "response.function_call_arguments.delta", "delta": "{}", "obfuscation": token::<8>()}),
        ),
        with(
            &at,
            json!({"type": "response.function_call_arguments.done", "name": name, "arguments": "{}"}),
        ),
        json!({"type": "conversation.item.done", "previous_item_id": before, "item": ended}),
        json!({"type": "response.output_item.done", "response_id": id, "output_index": 0, "item": ended}),
    ] {
        live.emit(event, switches);
    }
    let mut response = shown(live, &active, "completed");
    response["output"] = json!([ended]);
    let usage = live.conversation.answered("{}", false, &live.session);
    done(live, response, usage, switches);
}

fn fail(live: &mut Live, switches: &Switches) {
    let active = begin(live, "", &Value::Null, switches);
    let mut response = shown(live, &active, "failed");
    let error = json!({"type": "server_error", "code": "server_error"});
    response["status_details"] = json!({"type": "failed", "error": error});
    response["usage"] = Value::Null;
    live.emit(
        json!({"type": "response.done", "response": response}),
        switches,
    );
}

/// Ends a response and says what it used.
fn done(live: &mut Live, mut response: Value, usage: Value, switches: &Switches) {
    live.used.push(usage.clone());
    response["usage"] = twisted(usage.clone(), switches.usage);
    let mut event = json!({"type": "response.done", "response": response});
    if switches.usage == OddUsage::TopLevel {
        event["usage"] = usage;
    }
    let times = if switches.twice_done { 2 } else { 1 };
    for _ in 0..times {
        live.emit(event.clone(), switches);
    }
    let limit = json!({"name": "tokens", "limit": 15_000_000, "remaining": 14_999_361, "reset_seconds": 0.002});
    live.emit(
        json!({"type": "rate_limits.updated", "rate_limits": [limit]}),
        switches,
    );
}

/// Returns `event` with the fields of `at`.
fn with(at: &Value, mut event: Value) -> Value {
    if let (Value::Object(fields), Value::Object(at)) = (&mut event, at) {
        fields.extend(at.clone());
    }
    event
}
