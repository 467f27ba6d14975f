//! Picks the provider's events that the watch of a relay needs.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::PollSender;

use crate::clock::{Clock, Tick};

/// How the most frequent event of the provider begins. It only shows that the model speaks.
const AUDIO: &str = r#"{"type":"response.output_audio.delta","#;
/// The event by which a part of speech is transcribed.
const HEARD: &str = "conversation.item.input_audio_transcription.delta";
/// Events that are only signs of life go to the watch at most once in this time.
const LIFE: Duration = Duration::from_secs(5);
/// The events that the watch needs.
const NEEDED: [&str; 9] = [
    "session.created",
    "session.updated",
    "response.created",
    "response.done",
    "conversation.item.input_audio_transcription.completed",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "error",
];

/// The events that go to the watch of a relay.
pub(super) struct Tap {
    events: PollSender<String>,
    /// True while the watch is far behind.
    is_full: bool,
    clock: Arc<dyn Clock>,
    told: Option<Tick>,
    /// The responses that the model works on.
    answering: usize,
}

#[derive(Deserialize)]
struct Typed<'frame> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'frame, str>,
}

impl Tap {
    pub(super) fn new(events: Sender<String>, clock: Arc<dyn Clock>) -> Self {
        Self {
            events: PollSender::new(events),
            is_full: false,
            clock,
            told: None,
            answering: 0,
        }
    }

    /// True while the model works on a response.
    pub(super) const fn is_answering(&self) -> bool {
        self.answering > 0
    }

    /// Returns whether the watch can take another event. If not, the task that polls is woken when it can.
    pub(super) fn has_room(&mut self, context: &mut Context<'_>) -> bool {
        // Without a watch the relay is about to end.
        self.is_full = self.events.poll_reserve(context).is_pending();
        !self.is_full
    }

    /// True while the watch is far behind, so that the provider is not read.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Handles an event of the provider. There must be room for it.
    pub(super) fn take(&mut self, text: &str) {
        let kind = if text.starts_with(AUDIO) {
            Cow::Borrowed("response.output_audio.delta")
        } else {
            let typed = serde_json::from_str::<Typed<'_>>(text);
            typed.map(|typed| typed.kind).unwrap_or_default()
        };
        match &*kind {
            "response.created" => self.answering += 1,
            "response.done" => self.answering = self.answering.saturating_sub(1),
            _ => {}
        }
        let now = self.clock.tick();
        let is_quiet = || self.told.is_none_or(|told| now.since(told) >= LIFE);
        let is_life = || kind.starts_with("response.") || kind == HEARD;
        if NEEDED.contains(&&*kind) || (is_life() && is_quiet()) {
            self.told = Some(now);
            // Without a watch, nothing needs the event.
            let _ = self.events.send_item(text.to_owned());
        }
    }
}
