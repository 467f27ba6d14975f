//! A provider of transcriptions that does as a test tells it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::stream;
use token_broker::domain::Format;
use token_broker::upstream::{Pending, Piece, Transcription, TranscriptionOrder, UpstreamError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A provider of transcriptions that does as it is told.
#[derive(Clone, Default)]
pub struct Recordings(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    received: Vec<Received>,
    answers: VecDeque<Result<Script, UpstreamError>>,
}

/// A recording as the provider received it.
#[derive(Clone, Debug, Default)]
pub struct Received {
    pub fields: Vec<(&'static str, String)>,
    pub format: Option<Format>,
    pub audio: Vec<u8>,
    pub is_complete: bool,
}

/// An answer that the test writes.
struct Script {
    media_type: &'static str,
    pieces: UnboundedReceiver<Bytes>,
}

/// The test's end of an answer. Dropping it ends the answer.
pub struct Pen(UnboundedSender<Bytes>);

impl Pen {
    pub fn write(&self, text: &str) {
        let _ = self.0.send(Bytes::from(text.to_owned()));
    }

    /// Waits until the broker reads the answer no more.
    pub async fn is_left(&self) {
        self.0.closed().await;
    }
}

impl Recordings {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The next recording gets an answer of this media type, which the test writes.
    pub fn answer(&self, media_type: &'static str) -> Pen {
        let (pen, pieces) = unbounded_channel();
        let script = Script { media_type, pieces };
        self.state().answers.push_back(Ok(script));
        Pen(pen)
    }

    /// The next recording gets this answer.
    pub fn answer_with(&self, media_type: &'static str, text: &str) {
        self.answer(media_type).write(text);
    }

    /// The next recording is refused.
    pub fn refuse(&self, error: UpstreamError) {
        self.state().answers.push_back(Err(error));
    }

    /// Returns the recordings so far.
    pub fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// Receives a recording to its end, and then answers it. A recording that is cut is answered never.
    pub(super) fn transcribe(&self, mut order: TranscriptionOrder) -> Pending<Transcription> {
        let place = {
            let mut state = self.state();
            state.received.push(Received::default());
            state.received.len() - 1
        };
        let this = self.clone();
        Box::pin(async move {
            while let Some(piece) = order.pieces.recv().await {
                let received = &mut this.state().received[place];
                match piece {
                    Piece::Field(name, value) => received.fields.push((name, value.into())),
                    Piece::File(format) => received.format = Some(format),
                    Piece::Audio(bytes) => received.audio.extend_from_slice(&bytes),
                    Piece::End => {
                        received.is_complete = true;
                        break;
                    }
                }
            }
            if !this.state().received[place].is_complete {
                return std::future::pending().await;
            }
            let answer = this.state().answers.pop_front();
            let script = answer.expect("the test has told no answer")?;
            let pieces = stream::unfold(script.pieces, async |mut pieces| {
                Some((Ok(pieces.recv().await?), pieces))
            });
            Ok(Transcription {
                media_type: script.media_type,
                upstream_request: Some("req_test".into()),
                answer: Box::pin(pieces),
            })
        })
    }
}
