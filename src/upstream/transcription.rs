//! Transcriptions at the provider: a recording goes out as it comes in, and the answer comes back as it is written.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc::Receiver;

use super::{Facts, Kind, Trouble, Turn, Upstream, UpstreamError, code};
use crate::clock::Tick;
use crate::domain::{Format, Party};
use crate::spans::spanned;

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
    "text/vtt; charset=utf-8",
    "application/x-subrip; charset=utf-8",
    TEXT,
];
/// Without a charset, clients take text for Latin-1.
const TEXT: &str = "text/plain; charset=utf-8";

/// Returns the media type of an answer, as callers get it. What is not known is shown as text.
pub(super) fn media_type(given: Option<&str>) -> &'static str {
    let essence = |media_type: &str| {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        essence.to_ascii_lowercase()
    };
    let given = essence(given.unwrap_or_default());
    let mut known = MEDIA_TYPES.into_iter();
    known.find(|known| essence(known) == given).unwrap_or(TEXT)
}

impl Upstream {
    /// Sends a recording, and returns when the answer begins, within `limit`. Never repeated: the recording is gone.
    pub async fn transcribe(
        &self,
        order: TranscriptionOrder,
        turn: &Turn,
        limit: Duration,
    ) -> Result<Transcription, UpstreamError> {
        let started = self.clock.tick();
        let operation = self.desk.transcribe(order, turn);
        let beginning = self.policy.unhurried((turn, limit), operation);
        let begun = spanned("transcribe", beginning, code).await;
        self.note_transcription(started, &begun);
        begun
    }

    /// Returns the failure of a provider that stopped reading a recording.
    pub fn stopped_reading(&self, started: Tick) -> UpstreamError {
        let stopped = Err(UpstreamError::TimedOut);
        self.note_transcription(started, &stopped);
        UpstreamError::TimedOut
    }

    fn note_transcription(&self, started: Tick, begun: &Result<Transcription, UpstreamError>) {
        self.count("transcribe", started, begun.as_ref().err());
        match begun {
            Ok(_) => self.seen.lock().served(),
            Err(error) if error.facts_of_transcription().trouble == Trouble::Nothing => {
                self.policy.lines.recording(error);
            }
            Err(error) => self.saw(error),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_text_says_that_it_is_utf_8() {
        for (given, told) in [
            ("text/plain; charset=utf-8", TEXT),
            ("Text/VTT", "text/vtt; charset=utf-8"),
            (
                "application/x-subrip",
                "application/x-subrip; charset=utf-8",
            ),
            ("text/html", TEXT),
            ("application/json", "application/json"),
            ("text/event-stream; charset=utf-8", "text/event-stream"),
        ] {
            assert_eq!(media_type(Some(given)), told, "{given}");
        }
        assert_eq!(media_type(None), TEXT);
    }
}
