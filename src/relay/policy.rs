//! Decides which events of a client pass. Each event is parsed once, and what passes is written from that parse.

use std::fmt;
use std::sync::Arc;

use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::append::is_plain_append;
use crate::provider::MostTokens;

/// Longest id of an event, which an error repeats.
pub(super) const MAX_ID: usize = 512;
/// Most members of an event. The published ones have a handful.
pub(super) const MAX_MEMBERS: usize = 64;
/// Longest object that is parsed to be judged, in bytes. Parsed, it takes up to 30 times as much memory.
const MAX_OBJECT: usize = 1024 * 1024;
/// What a persona pins in a session.
const PINNED: [&str; 6] = [
    "instructions",
    "tools",
    "model",
    "max_output_tokens",
    "prompt",
    "tracing",
];
/// The members that clients of a pinned persona may set for one response.
const OF_RESPONSES: [&str; 8] = [
    "audio",
    "conversation",
    "max_output_tokens",
    "metadata",
    "output_modalities",
    "parallel_tool_calls",
    "reasoning",
    "tool_choice",
];
/// The members of a response that clients often set and that are left out, because the persona sets them.
const OF_THE_PERSONA: [&str; 2] = ["instructions", "tools"];
/// The parts of messages that clients of a pinned persona may write.
const PARTS: [&str; 4] = ["input_text", "input_audio", "text", "output_text"];
/// The members that hold one value: a text or a number. None of them can carry what the persona pins.
const PLAIN: [&str; 7] = [
    "event_id",
    "previous_item_id",
    "audio",
    "response_id",
    "item_id",
    "content_index",
    "audio_end_ms",
];
/// The events that cannot change the persona. They have plain members only.
const HARMLESS: [&str; 8] = [
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "output_audio_buffer.clear",
    "response.cancel",
    "conversation.item.truncate",
    "conversation.item.delete",
    "conversation.item.retrieve",
];

/// What clients may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// True when the persona is pinned. Otherwise only the model is pinned.
    pub is_held: bool,
    /// Most tokens of a response's output.
    pub most_tokens: Option<MostTokens>,
    /// The models that may transcribe; `None` for all.
    pub transcribers: Option<Arc<[Box<str>]>>,
}

/// What happens to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The event is passed on as it came.
    Passes,
    /// This text is passed on instead of the event.
    Becomes(String),
    /// The event is dropped, and the client gets an error.
    Refused(Refusal),
    /// The text is no event. The connection ends.
    Broken(Flaw),
}

/// Why an event is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code of the error.
    pub code: &'static str,
    /// The member of the error that repeats the `event_id` of the event.
    pub echo: &'static str,
    /// The `event_id` of the event.
    pub event_id: Option<String>,
    /// The field at fault.
    pub param: &'static str,
    /// The message: what the client may do instead.
    pub message: &'static str,
}

/// What is wrong with a text that is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The text is no JSON object with a type.
    NoObject,
    /// A name occurs twice in the text, so that two readers may understand it differently.
    Ambiguous,
}

/// The members of an event that the policy judges.
#[derive(Default)]
struct Envelope<'frame> {
    kind: String,
    session: Option<&'frame RawValue>,
    response: Option<&'frame RawValue>,
    item: Option<&'frame RawValue>,
    /// The members of [`PLAIN`] that hold one value, as they are written.
    plain: Vec<(&'static str, &'frame RawValue)>,
    /// True when a member occurs twice.
    is_ambiguous: bool,
}

/// The members of an object, as they are written anew.
type Fields = Map<String, Value>;

impl Policy {
    /// Judges one text of a client.
    pub fn judge(&self, text: &str) -> Verdict {
        if is_plain_append(text) {
            return Verdict::Passes;
        }
        let envelope = match read(text) {
            Ok(envelope) => envelope,
            Err(flaw) => return Verdict::Broken(flaw),
        };
        let judged = match &*envelope.kind {
            "session.update" => self.session(&envelope),
            "response.create" => self.response(&envelope),
            "conversation.item.create" if self.is_held => item(&envelope),
            _ if !self.is_held => Ok(Verdict::Passes),
            kind if HARMLESS.contains(&kind) => Ok(Verdict::Becomes(envelope.written(None))),
            _ => Err((
                "type",
                "Events of this type are not allowed here. Send only events that the documentation of the relay lists.",
            )),
        };
        judged.unwrap_or_else(|(param, message)| {
            Verdict::Refused(Refusal {
                code: "invalid_value",
                echo: "event_id",
                event_id: envelope.id(),
                param,
                message,
            })
        })
    }

    /// Removes what the persona pins from a change of the session. The rest is passed on even when it is empty, so that the
    /// provider answers the event.
    fn session(&self, envelope: &Envelope<'_>) -> Judged {
        let mut session = object(envelope.session)
            .ok_or(("session", "Send the session as an object of at most 1 MiB."))?;
        let is_pinned = |name: &str| {
            if self.is_held {
                PINNED.contains(&name)
            } else {
                name == "model"
            }
        };
        session.retain(|name, _| !is_pinned(name));
        self.leave_transcribers(&mut session);
        Ok(envelope.with("session", &session))
    }

    /// Removes a transcription whose model may not transcribe.
    fn leave_transcribers(&self, session: &mut Fields) {
        let Some(allowed) = &self.transcribers else {
            return;
        };
        let input = session
            .get_mut("audio")
            .and_then(|audio| audio.get_mut("input"));
        let Some(input) = input.and_then(Value::as_object_mut) else {
            return;
        };
        let model = input
            .get("transcription")
            .and_then(|asked| asked.get("model"));
        let is_allowed = |model: &Value| {
            let name = model.as_str();
            name.is_some_and(|name| allowed.iter().any(|known| **known == *name))
        };
        if model.is_some_and(|model| !is_allowed(model)) {
            input.remove("transcription");
        }
    }

    /// Removes what the persona pins from a request for a response, and refuses requests outside the conversation.
    fn response(&self, envelope: &Envelope<'_>) -> Judged {
        let is_there = |response: &&RawValue| response.get() != "null";
        let Some(response) = envelope.response.filter(is_there) else {
            return Ok(Verdict::Becomes(envelope.written(None)));
        };
        let mut response = object(Some(response)).ok_or((
            "response",
            "Send the response as an object of at most 1 MiB.",
        ))?;
        if !self.is_held {
            return Ok(envelope.with("response", &response));
        }
        response.retain(|name, value| !OF_THE_PERSONA.contains(&&**name) && !value.is_null());
        if response.get("conversation").is_some_and(|of| of != "auto") {
            return Err((
                "response.conversation",
                "Responses outside the conversation are not allowed here.",
            ));
        }
        if !response.keys().all(|name| OF_RESPONSES.contains(&&**name)) {
            return Err((
                "response",
                "Responses may not have their own input, prompt or other settings here. Omit them.",
            ));
        }
        self.clamp(&mut response);
        Ok(envelope.with("response", &response))
    }

    /// Lowers the bound of tokens to the persona's.
    fn clamp(&self, response: &mut Fields) {
        let Some(MostTokens::Count(most)) = self.most_tokens else {
            return;
        };
        if let Some(asked) = response.get_mut("max_output_tokens")
            && asked.as_u64().is_none_or(|asked| asked > most)
        {
            *asked = most.into();
        }
    }
}

type Judged = Result<Verdict, (&'static str, &'static str)>;

/// Lets messages of the user and the assistant pass, and results of tools.
fn item(envelope: &Envelope<'_>) -> Judged {
    let item =
        object(envelope.item).ok_or(("item", "Send the item as an object of at most 1 MiB."))?;
    match item.get("type").and_then(Value::as_str) {
        Some("message") => {
            let role = item.get("role").and_then(Value::as_str);
            if !matches!(role, Some("user" | "assistant")) {
                return Err((
                    "item.role",
                    "Only messages of the roles user and assistant are allowed here.",
                ));
            }
            let parts = item.get("content").and_then(Value::as_array);
            let may = |part: &Value| {
                let kind = part.get("type").and_then(Value::as_str);
                kind.is_some_and(|kind| PARTS.contains(&kind))
            };
            if !parts.is_some_and(|parts| parts.iter().all(may)) {
                return Err(("item.content", "Only text and audio are allowed here."));
            }
        }
        Some("function_call_output") => {}
        _ => {
            return Err((
                "item.type",
                "Only messages and outputs of functions are allowed here.",
            ));
        }
    }
    Ok(envelope.with("item", &item))
}

impl<'frame> Envelope<'frame> {
    /// Keeps a member that holds one value. Anything else could carry what the persona pins.
    fn keep(&mut self, name: &'static str, json: &'frame RawValue) {
        if !json.get().starts_with(['{', '[']) {
            self.plain.push((name, json));
        }
    }

    fn id(&self) -> Option<String> {
        let (_, json) = self.plain.iter().find(|(name, _)| *name == "event_id")?;
        let id: String = serde_json::from_str(json.get()).ok()?;
        (id.len() <= MAX_ID).then_some(id)
    }

    /// Returns the event with this member, written from what was parsed.
    fn with(&self, name: &str, fields: &Fields) -> Verdict {
        let fields = Value::from(fields.clone()).to_string();
        Verdict::Becomes(self.written(Some((name, &fields))))
    }

    /// Writes the event from its parse.
    fn written(&self, inner: Option<(&str, &str)>) -> String {
        let mut event = format!(r#"{{"type":{}"#, Value::from(&*self.kind));
        let plain = self.plain.iter().map(|(name, json)| (*name, json.get()));
        for (name, json) in plain.chain(inner) {
            event.push_str(",\"");
            event.push_str(name);
            event.push_str("\":");
            event.push_str(json);
        }
        event.push('}');
        event
    }
}

fn read(text: &str) -> Result<Envelope<'_>, Flaw> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let envelope = reader.deserialize_map(Members);
    let envelope = envelope.and_then(|envelope| reader.end().map(|()| envelope));
    match envelope {
        Ok(envelope) if envelope.is_ambiguous => Err(Flaw::Ambiguous),
        Ok(envelope) if !envelope.kind.is_empty() => Ok(envelope),
        Ok(_) | Err(_) => Err(Flaw::NoObject),
    }
}

/// Reads the members of an event. Their names are compared as they read, however they are escaped.
struct Members;

impl<'frame> Visitor<'frame> for Members {
    type Value = Envelope<'frame>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'frame>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut envelope = Envelope::default();
        let mut seen: Vec<String> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            envelope.is_ambiguous |= seen.len() >= MAX_MEMBERS || seen.contains(&name);
            let place = match &*name {
                "type" => {
                    envelope.kind = map.next_value()?;
                    None
                }
                "session" => Some(&mut envelope.session),
                "response" => Some(&mut envelope.response),
                "item" => Some(&mut envelope.item),
                name => {
                    match PLAIN.iter().find(|plain| **plain == name) {
                        Some(plain) => envelope.keep(plain, map.next_value()?),
                        None => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                    None
                }
            };
            if let Some(place) = place {
                *place = Some(map.next_value()?);
            }
            if !envelope.is_ambiguous {
                seen.push(name);
            }
        }
        Ok(envelope)
    }
}

fn object(json: Option<&RawValue>) -> Option<Fields> {
    let json = json?.get();
    if json.len() > MAX_OBJECT {
        return None;
    }
    serde_json::from_str(json).ok()
}
