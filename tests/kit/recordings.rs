//! A provider of transcriptions that does as a test tells it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    /// True when the next recording is not read.
    stalls: bool,
    /// True once a recording waits that is not read.
    is_stalled: bool,
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
    pieces: UnboundedReceiver<Result<Bytes, UpstreamError>>,
    read: Arc<AtomicUsize>,
}

/// The test's end of an answer. Dropping it ends the answer.
pub struct Pen {
    pieces: UnboundedSender<Result<Bytes, UpstreamError>>,
    read: Arc<AtomicUsize>,
}

impl Pen {
    pub fn write(&self, text: &str) {
        let _ = self.pieces.send(Ok(Bytes::from(text.to_owned())));
    }

    /// Breaks the answer off.
    pub fn cut(self) {
        let _ = self.pieces.send(Err(UpstreamError::Cut("reset".into())));
    }

    /// Returns how many pieces the broker has read.
    pub fn read(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }

    /// Waits until the broker reads the answer no more.
    pub async fn is_left(&self) {
        self.pieces.closed().await;
    }
}

impl Recordings {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The next recording gets an answer of this media type, which the test writes.
    pub fn answer(&self, media_type: &'static str) -> Pen {
        let (pen, pieces) = unbounded_channel();
        let read = Arc::<AtomicUsize>::default();
        let script = Script {
            media_type,
            pieces,
            read: Arc::clone(&read),
        };
        self.state().answers.push_back(Ok(script));
        Pen { pieces: pen, read }
    }

    /// The next recording is not read beyond its first pieces.
    pub fn stall(&self) {
        self.state().stalls = true;
    }

    /// True once pieces wait that are not read.
    pub fn is_stalled(&self) -> bool {
        self.state().is_stalled
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
        let stalls = std::mem::take(&mut self.state().stalls);
        Box::pin(async move {
            if stalls {
                while order.pieces.capacity() > 0 {
                    tokio::task::yield_now().await;
                }
                this.state().is_stalled = true;
                return std::future::pending().await;
            }
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
            let media_type = script.media_type;
            let pieces = stream::unfold(script, async |mut script| {
                let piece = script.pieces.recv().await?;
                script.read.fetch_add(1, Ordering::Relaxed);
                Some((piece, script))
            });
            Ok(Transcription {
                media_type,
                upstream_request: Some("req_test".into()),
                answer: Box::pin(pieces),
            })
        })
    }
}
