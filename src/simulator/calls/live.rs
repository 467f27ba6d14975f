//! One open call: its session, its peers, and the events that they get.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::conversation::Conversation;
use super::gpt_live::GptLive;
use super::{Dialect, Switches};
use crate::clock::Timestamp;
use crate::domain::random_bytes;
use crate::simulator::effective::effective;

/// Most events that are remembered of each peer.
const MAX_EVENTS: usize = 4096;
/// Members that are null on the wire where the published schema does not allow it.
const ODD_NULLS: [&str; 9] = [
    "status_details",
    "usage",
    "transcription",
    "noise_reduction",
    "include",
    "language",
    "prompt",
    "transcript",
    "metadata",
];

/// Who takes part in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// The browser, over its data channel.
    Browser,
    /// The side channel with this number.
    SideChannel(u64),
}

/// What goes out on a side channel.
#[derive(Clone, Debug)]
pub(super) enum Out {
    /// An event.
    Text(String),
    /// A close frame with this code.
    Close(u16),
    /// A close frame with this code and reason, or without either.
    CloseFor(Option<(u16, String)>),
    /// The end of the connection, without a word.
    Drop,
}

/// A side channel that is open.
pub(super) struct Channel {
    /// Which side channel of the call it is.
    pub(super) number: u64,
    pub(super) out: UnboundedSender<Out>,
    /// True when it ends with a close frame when the call does.
    pub(super) is_graceful: bool,
}

/// The connection to a browser, in a call that has a real one.
pub(super) trait Media: Send {
    /// Sends an event over the data channel.
    fn event(&self, event: &str);
    /// Begins to say the text of a response.
    fn speak(&self, response: &str, text: &str);
    /// Says the text of a response to its end, and no more.
    fn finish(&self, response: &str);
    /// Throws away what was not heard yet.
    fn hush(&self);
    /// Closes the connection.
    fn hang_up(&self);
}

/// A response that is being spoken.
pub(super) struct Active {
    pub(super) id: String,
    pub(super) item: String,
    pub(super) text: String,
    pub(super) params: Value,
    /// False for a response beside the conversation. Only these may be spoken at the same time as others.
    pub(super) is_of_conversation: bool,
    /// Ends whoever waits for the response's end.
    pub(super) over: CancellationToken,
}

/// A call.
pub(super) struct Live {
    pub(super) id: String,
    /// The key that created it.
    pub(super) key: String,
    pub(super) offer: String,
    pub(super) session: Value,
    pub(super) conversation: Conversation,
    pub(super) active: Vec<Active>,
    /// The response whose audio was played last.
    pub(super) played: Option<String>,
    pub(super) is_over: bool,
    /// True for a session over a WebSocket: audio comes as events.
    pub(super) is_session: bool,
    /// What a GPT-Live session has beside.
    pub(super) gpt: Option<GptLive>,
    /// Bytes of audio in base64 that wait to be committed.
    pub(super) appended: usize,
    /// True when the model has spoken, so that its voice cannot change.
    pub(super) has_spoken: bool,
    pub(super) opened_at: Timestamp,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) joined_at: Option<Timestamp>,
    pub(super) asserted_at: Option<Timestamp>,
    pub(super) media: Option<Box<dyn Media>>,
    pub(super) side_channels: Vec<Channel>,
    pub(super) joins: u64,
    /// The codes by which the other side closed connections; `None` for a close frame without one.
    pub(super) left: Vec<Option<u16>>,
    pub(super) received: Vec<Value>,
    pub(super) browser: Vec<Value>,
    pub(super) used: Vec<Value>,
    pub(super) transcribed: Vec<Value>,
}

impl Live {
    /// Returns a new call of `key` with the session that was asked for.
    pub(super) fn new(
        key: &str,
        offer: String,
        asked: &Value,
        (now, switches): (Timestamp, &Switches),
    ) -> Self {
        let name = token::<16>();
        let mut session = effective(asked);
        let of = if switches.wrong_session {
            "other"
        } else {
            &name
        };
        session["id"] = format!("sess_u0_{of}").into();
        let seconds = switches.session_seconds.unwrap_or(3600);
        session["expires_at"] = (now.as_seconds() + seconds).into();
        complete_transcription(&mut session);
        Self {
            id: format!("rtc_u0_{name}"),
            key: key.to_owned(),
            offer,
            session,
            conversation: Conversation::default(),
            active: Vec::new(),
            played: None,
            is_over: false,
            is_session: false,
            gpt: None,
            appended: 0,
            has_spoken: false,
            opened_at: now,
            ended_at: None,
            joined_at: None,
            asserted_at: None,
            media: None,
            side_channels: Vec::new(),
            joins: 0,
            left: Vec::new(),
            received: Vec::new(),
            browser: Vec::new(),
            used: Vec::new(),
            transcribed: Vec::new(),
        }
    }

    /// Returns a new session of `key` over a WebSocket.
    pub(super) fn session(key: &str, asked: &Value, at: (Timestamp, &Switches)) -> Self {
        let mut live = Self::new(key, String::new(), asked, at);
        live.id = format!("sess_{}", token::<16>());
        live.session["id"] = live.id.clone().into();
        live.is_session = true;
        live
    }

    /// Returns which interface the call was created by.
    pub(super) const fn dialect(&self) -> Dialect {
        match self.gpt {
            Some(_) => Dialect::Live,
            None => Dialect::Realtime,
        }
    }

    /// True for a session in which no model answers.
    pub(super) fn only_transcribes(&self) -> bool {
        self.session["type"] == "transcription"
    }

    /// Takes a response that is being spoken: the one with this id, or the conversation's.
    pub(super) fn take_active(&mut self, id: Option<&str>) -> Option<Active> {
        let is_it = |active: &Active| match id {
            Some(id) => active.id == id,
            None => active.is_of_conversation,
        };
        let at = self.active.iter().position(is_it)?;
        let active = self.active.remove(at);
        active.over.cancel();
        Some(active)
    }

    /// Sends an event to all peers.
    pub(super) fn emit(&mut self, event: Value, switches: &Switches) {
        let kind = event["type"].as_str().unwrap_or_default();
        let has_buffer = !self.is_session && self.gpt.is_none();
        if !has_buffer && kind.starts_with("output_audio_buffer.") {
            return;
        }
        let event = finished(event, switches);
        self.tell_side_channels(&Out::Text(event.to_string()));
        self.tell_browser(event);
    }

    fn tell_browser(&mut self, event: Value) {
        let own = self.gpt.as_ref();
        if own.is_some_and(|own| !own.permissions.may_receive(&event)) {
            return;
        }
        self.reach_browser(event);
    }

    fn reach_browser(&mut self, event: Value) {
        if let Some(media) = &self.media {
            media.event(&event.to_string());
        }
        remember(&mut self.browser, event);
    }

    /// Sends an event to the browser whose permissions do not matter.
    pub(super) fn emit_anyway(&mut self, event: Value, switches: &Switches) {
        let event = finished(event, switches);
        self.reach_browser(event);
    }

    /// Sends an event to one peer.
    pub(super) fn emit_to(&mut self, peer: Peer, event: Value, switches: &Switches) {
        let event = finished(event, switches);
        match peer {
            Peer::Browser => self.tell_browser(event),
            Peer::SideChannel(number) => {
                let all = self.side_channels.iter();
                for channel in all.filter(|channel| channel.number == number) {
                    let _ = channel.out.send(Out::Text(event.to_string()));
                }
            }
        }
    }

    pub(super) fn tell_side_channels(&self, out: &Out) {
        for channel in &self.side_channels {
            let _ = channel.out.send(out.clone());
        }
    }

    /// Remembers an event that a side channel sent.
    pub(super) fn note(&mut self, peer: Peer, event: &Value) {
        if peer != Peer::Browser {
            remember(&mut self.received, event.clone());
        }
    }

    /// Ends the call.
    pub(super) fn end(&mut self, now: Timestamp, switches: &Switches) {
        self.is_over = true;
        self.ended_at = Some(now);
        for active in self.active.drain(..) {
            active.over.cancel();
        }
        if let Some(media) = self.media.take() {
            media.hang_up();
        }
        if switches.never_closes {
            return;
        }
        for channel in &self.side_channels {
            let end = if channel.is_graceful {
                Out::Close(1000)
            } else {
                Out::Drop
            };
            let _ = channel.out.send(end);
        }
    }
}

/// Returns a random name of `N` bytes.
pub(super) fn token<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<N>())
}

/// Shows the fields of a transcription that nobody set, as the provider does.
pub(super) fn complete_transcription(session: &mut Value) {
    let place = session.pointer_mut("/audio/input/transcription");
    if let Some(Value::Object(fields)) = place {
        for name in ["language", "prompt"] {
            fields.entry(name).or_insert(Value::Null);
        }
    }
}

fn finished(mut event: Value, switches: &Switches) -> Value {
    let kind = event["type"].as_str().unwrap_or_default();
    let name = if kind.starts_with("output_audio_buffer.") {
        format!("{:016x}", u64::from_be_bytes(random_bytes()))
    } else {
        token::<16>()
    };
    event["event_id"] = json!(format!("event_{name}"));
    if switches.schema_only {
        drop_nulls(&mut event);
    }
    event
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, value| !value.is_null() || !ODD_NULLS.contains(&name.as_str()));
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn remember(events: &mut Vec<Value>, event: Value) {
    if events.len() >= MAX_EVENTS {
        events.remove(0);
    }
    events.push(event);
}
