//! Obeys the events that the peers of a session send, as strictly as the provider does.

use serde_json::{Value, json};

use super::{Drain, backend, close_for, talk};
use crate::clock::Timestamp;
use crate::provider::check_live;
use crate::simulator::calls::Switches;
use crate::simulator::calls::client_event::{Wrong, known, only};
use crate::simulator::calls::conversation::text_tokens;
use crate::simulator::calls::live::{Live, Peer};
use crate::simulator::effective::lay_over;

/// The events that peers may send, and their fields. `event_id` goes with all of them.
const KNOWN: [(&str, &[&str]); 10] = [
    ("session.update", &["session"]),
    ("session.instructions.append", APPEND),
    ("session.thinking.append", APPEND),
    ("session.commentary.append", APPEND),
    ("session.input_audio.mute", &[]),
    ("session.input_audio.unmute", &[]),
    ("session.output_audio.fixture.play", &["audio"]),
    ("response.item.create", &["item"]),
    ("response.create", &[]),
    ("session.close", &[]),
];
const APPEND: &[&str] = &["content", "delegation_id"];
/// Events that other connections send: the primary WebSocket, and side channels.
const OF_THE_PRIMARY: [&str; 2] = ["session.start", "session.input_audio.append"];
const OF_SIDE_CHANNELS: [&str; 2] = ["session.output_audio.fixture.play", "transport.dtmf.send"];
/// Code of an event that this peer may not send.
const NOT_ALLOWED: &str = "event_not_allowed";
/// Most tokens of what is appended.
const APPENDED: u64 = 500;
/// The fields of a session that can change.
const MUTABLE: [&str; 2] = ["delegation", "triggers"];

/// Obeys one event of `peer`. Whatever is wrong with it is told to this peer alone.
pub(in crate::simulator::calls) fn obey(
    live: &mut Live,
    peer: Peer,
    event: &Value,
    at: (Timestamp, &Switches),
) {
    let outcome = allowed(live, peer, &event["type"])
        .and_then(|()| known(event, &KNOWN))
        .and_then(|kind| perform(live, kind, event, at));
    let Err(wrong) = outcome else { return };
    let is_denied = wrong.code == NOT_ALLOWED;
    let error = json!({"type": "error", "error": {
        "type": "invalid_request_error",
        "code": wrong.code,
        "message": wrong.message,
        "param": wrong.param,
        "client_event_id": event["event_id"],
    }});
    if is_denied && peer == Peer::Browser {
        live.emit_anyway(error, at.1);
    } else {
        live.emit_to(peer, error, at.1);
    }
}

/// Refuses an event that this peer may not send. Side channels are never restricted.
fn allowed(live: &Live, peer: Peer, kind: &Value) -> Result<(), Wrong> {
    let (Some(own), Some(kind)) = (&live.gpt, kind.as_str()) else {
        return Ok(());
    };
    let is_anywhere = !OF_THE_PRIMARY.contains(&kind);
    let is_here = peer != Peer::Browser
        || (own.permissions.may_send(kind) && !OF_SIDE_CHANNELS.contains(&kind));
    if is_anywhere && is_here {
        return Ok(());
    }
    let message = format!("The event '{kind}' is not allowed on this connection.");
    Err(Wrong::new(NOT_ALLOWED, message).at("type"))
}

fn perform(
    live: &mut Live,
    kind: &str,
    event: &Value,
    at: (Timestamp, &Switches),
) -> Result<(), Wrong> {
    match kind {
        "session.update" => update(live, event, at.1),
        "session.close" => {
            ask_to_close(live, &event["event_id"], at);
            Ok(())
        }
        "session.input_audio.mute" | "session.input_audio.unmute" => {
            mute(live, kind == "session.input_audio.mute", event, at.1);
            Ok(())
        }
        "response.item.create" if event["item"].is_object() => Ok(()),
        "response.item.create" => Err(Wrong::missing("item")),
        "response.create" => backend::go_on(live, at),
        "session.output_audio.fixture.play" => play_fixture(live, event, at.1),
        _ => append(live, kind, event, at),
    }
}

/// Changes the session: only the fields that are there.
fn update(live: &mut Live, event: &Value, switches: &Switches) -> Result<(), Wrong> {
    let asked = &event["session"];
    let fields = asked.as_object().ok_or_else(|| Wrong::missing("session"))?;
    let is_known = |name: &str| live.session.get(name).is_some();
    only(fields, is_known, "session.")?;
    let other = fields.keys().find(|name| !MUTABLE.contains(&name.as_str()));
    let before = live.session["delegation"]["type"].as_str();
    let is_other = |delegation: &Value| {
        let kind = &delegation["type"];
        delegation.is_null() != before.is_none() || (kind.is_string() && kind.as_str() != before)
    };
    let fixed = if let Some(name) = other {
        Some(format!("session.{name}"))
    } else {
        let is_fixed = asked.get("delegation").is_some_and(is_other);
        is_fixed.then(|| "session.delegation.type".to_owned())
    };
    if let Some(param) = fixed {
        let message = format!("The field '{param}' of a session cannot be changed.");
        return Err(Wrong::new("immutable_field_update", message).at(param));
    }
    let mut next = json!({"model": live.session["model"], "delegation": live.session["delegation"],
        "triggers": live.session["triggers"]});
    for (name, value) in fields {
        lay_over(&mut next[name.as_str()], value);
    }
    check_live(&next).map_err(|fault| Wrong::new(fault.code, fault.message).at(fault.param))?;
    for name in MUTABLE {
        live.session[name] = next[name].take();
    }
    let updated = json!({"type": "session.updated", "session": live.session});
    live.emit(echoed(updated, event), switches);
    Ok(())
}

/// Appends to what the model knows, or lets it say something.
fn append(
    live: &mut Live,
    kind: &str,
    event: &Value,
    (now, switches): (Timestamp, &Switches),
) -> Result<(), Wrong> {
    let content = event["content"].as_str();
    let content = content.ok_or_else(|| Wrong::missing("content"))?;
    if event.get("delegation_id").is_none() {
        return Err(Wrong::missing("delegation_id"));
    }
    let tokens = text_tokens(content);
    if tokens > APPENDED {
        let message =
            format!("Invalid 'content': it has {tokens} tokens, and may have {APPENDED}.");
        return Err(Wrong::new("string_above_max_length", message).at("content"));
    }
    let millis = talk::millis(live, now);
    let appended = json!({"type": format!("{kind}ed"), "start_ms": millis, "end_ms": millis});
    live.emit(echoed(appended, event), switches);
    if kind == "session.commentary.append" {
        talk::say(live, content, true, (now, switches));
    }
    Ok(())
}

fn mute(live: &mut Live, is_muted: bool, event: &Value, switches: &Switches) {
    if let Some(own) = &mut live.gpt {
        own.is_muted = is_muted;
    }
    let word = if is_muted { "muted" } else { "unmuted" };
    let done = json!({"type": format!("session.input_audio.{word}")});
    live.emit(echoed(done, event), switches);
}

fn play_fixture(live: &mut Live, event: &Value, switches: &Switches) -> Result<(), Wrong> {
    if !event["audio"].is_string() {
        return Err(Wrong::missing("audio"));
    }
    for word in ["playing", "played"] {
        let told = json!({"type": format!("session.output_audio.fixture.{word}")});
        live.emit(echoed(told, event), switches);
    }
    Ok(())
}

/// Lets the session end when its drain is over. A second wish changes nothing.
fn ask_to_close(live: &mut Live, wish: &Value, (now, switches): (Timestamp, &Switches)) {
    let Some(own) = &mut live.gpt else {
        return;
    };
    own.waiting = None;
    match switches.live.drain {
        Drain::For(time) if time.is_zero() => {
            close_for(live, "close_requested", wish, (now, switches));
        }
        Drain::For(time) if own.closing.is_none() => {
            own.closing = Some((own.meter.moment(now).plus(time), wish.clone()));
        }
        Drain::For(_) | Drain::Never => {}
    }
}

/// Returns an event that names the client's event that it answers.
fn echoed(mut event: Value, answered: &Value) -> Value {
    if let Some(id) = answered.get("event_id") {
        event["client_event_id"] = id.clone();
    }
    event
}
