//! Picks the provider's events that the watch of a relay needs.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc::Sender;

use crate::clock::{Clock, Tick};

/// How the most frequent event of the provider begins. It says no more than that the model speaks.
const AUDIO: &str = r#"{"type":"response.output_audio.delta","#;
/// Other events of a response are signs of life only, and one in this time is enough.
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
    events: Sender<String>,
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
            events,
            clock,
            told: None,
            answering: 0,
        }
    }

    /// True while the model works on a response.
    pub(super) const fn is_answering(&self) -> bool {
        self.answering > 0
    }

    /// Takes an event of the provider. Waits when the watch is far behind.
    pub(super) async fn take(&mut self, text: &str) {
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
        if NEEDED.contains(&&*kind) || (kind.starts_with("response.") && is_quiet()) {
            self.told = Some(now);
            // Without a watch the relay is about to end.
            let _ = self.events.send(text.to_owned()).await;
        }
    }
}
