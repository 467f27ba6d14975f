//! Transcriptions at the provider: a recording goes out as it comes in, and the answer comes back as it is written.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc::Receiver;

use super::{Facts, Kind, Trouble, Upstream, UpstreamError};
use crate::domain::{Format, Party};

/// A piece of the form that the provider gets. A form whose last piece is not [`Piece::End`] was cut: the provider gets an
/// incomplete request, and does nothing.
pub enum Piece {
    /// A part with a short text. The name needs no escape.
    Field(&'static str, Box<str>),
    /// The recording begins.
    File(Format),
    /// Bytes of the recording.
    Audio(Bytes),
    /// The form is complete.
    End,
}

/// A recording that is to be transcribed.
pub struct TranscriptionOrder {
    /// The pieces of the form, as they come.
    pub pieces: Receiver<Piece>,
    /// On whose behalf: the provider learns only a keyed hash of it.
    pub behalf: Party,
}

/// The bytes of an answer, as they come.
pub type Answer = Pin<Box<dyn Stream<Item = Result<Bytes, UpstreamError>> + Send>>;

/// An answer that has begun.
pub struct Transcription {
    /// The media type of the answer: one of those of the provider's answers.
    pub media_type: &'static str,
    /// The provider's name for the request.
    pub upstream_request: Option<Box<str>>,
    /// The answer.
    pub answer: Answer,
}

impl fmt::Debug for TranscriptionOrder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TranscriptionOrder")
    }
}

impl fmt::Debug for Transcription {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Transcription({})", self.media_type)
    }
}

/// The media types of the provider's answers.
const MEDIA_TYPES: [&str; 5] = [
    "application/json",
    "text/event-stream",
    "text/vtt",
    "application/x-subrip",
    "text/plain",
];

/// Returns the media type of an answer, as callers get it. What is not known is shown as text.
pub(super) fn media_type(given: Option<&str>) -> &'static str {
    let essence = given.unwrap_or_default().split(';').next();
    let essence = essence.unwrap_or_default().trim();
    let mut known = MEDIA_TYPES.into_iter();
    let known = known.find(|known| known.eq_ignore_ascii_case(essence));
    known.unwrap_or("text/plain")
}

impl Upstream {
    /// Sends a recording, and returns when the answer begins, within `limit`. Never repeated: the recording is gone.
    pub async fn transcribe(
        &self,
        order: TranscriptionOrder,
        limit: Duration,
    ) -> Result<Transcription, UpstreamError> {
        let started = self.clock.tick();
        let operation = self.desk.transcribe(order);
        let begun = self.policy.unhurried(limit, operation).await;
        self.count("transcribe", started, begun.as_ref().err());
        match &begun {
            Ok(_) => self.seen.lock().served(self.clock.tick()),
            Err(error) if error.facts_of_transcription().trouble == Trouble::Nothing => {}
            Err(error) => self.seen.lock().failed(error),
        }
        begun
    }
}

impl UpstreamError {
    /// Returns what this failure means for a recording that was to be transcribed.
    pub fn facts_of_transcription(&self) -> Facts {
        let facts = self.facts_of_call();
        match self {
            // Another recording may pass a moment later, and so may the same one.
            Self::Broken(told) if told.status == 500 => self.facts(),
            // About the recording, or the fields beside it: nothing is wrong with the provider.
            Self::Refused(told) if matches!(told.status, 400 | 413 | 415 | 422) => Facts {
                trouble: Trouble::Nothing,
                ..facts
            },
            Self::Refused(_) => Facts {
                kind: Kind::Unavailable,
                ..facts
            },
            _ => facts,
        }
    }
}
