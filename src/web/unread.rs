//! Reads the rest of a request's body when its answer is ready, so that the connection can be used again.
//!
//! A refusal is often ready before the body has arrived: many clients send the body a moment after the head. hyper then
//! closes the connection behind an answer that did not say so, and the next request into it is lost. A proxy must not
//! repeat that request if it is a mint. What is larger is dropped behind the answer, before the connection is closed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::domain::LARGEST_RECORDING;

/// Upper bound on the wait for the rest of a body.
const PATIENCE: Duration = Duration::from_millis(50);
/// Upper bound on the bytes that are read only to be dropped before an answer.
const MAX_SKIPPED: u64 = 16 * 1024;
/// Upper bound on the bytes that are dropped behind an answer: more than any upload has.
const MAX_DROPPED: u64 = LARGEST_RECORDING + 1024 * 1024;
/// Longest pause of a client that still sends although the answer is there.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// Upper bound on the time that such a client has.
const MAX_LINGERING: Duration = Duration::from_secs(30);

/// A body that the handler reads first, and the listener afterwards.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<State>>);

struct State {
    incoming: Incoming,
    ended: bool,
}

impl Shared {
    /// Shares `incoming`.
    pub(super) fn new(incoming: Incoming) -> Self {
        let ended = incoming.is_end_stream();
        Self(Arc::new(Mutex::new(State { incoming, ended })))
    }

    /// Reads the rest if it is small and comes at once. True when nothing is left, so that the connection can be used
    /// again.
    pub(super) async fn skip_rest(&self, clock: &dyn Clock) -> bool {
        let skipping = self.skip(MAX_SKIPPED, clock, PATIENCE);
        clock.timeout(PATIENCE, skipping).await.is_ok() && self.has_ended()
    }

    /// Reads what a client still sends behind its answer.
    pub(super) async fn drop_rest(&self, clock: &dyn Clock) {
        let dropping = self.skip(MAX_DROPPED, clock, MAX_PAUSE);
        let _ = clock.timeout(MAX_LINGERING, dropping).await;
    }

    /// Reads the rest until its end, a failure or a pause, unless it is larger than `most` bytes.
    async fn skip(&self, most: u64, clock: &dyn Clock, pause: Duration) {
        let mut body = self.clone();
        let mut skipped = 0;
        while skipped + body.size_hint().lower() <= most {
            let Ok(Some(Ok(frame))) = clock.timeout(pause, body.frame()).await else {
                return;
            };
            skipped += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
    }

    /// True when the whole body was read.
    pub(super) fn has_ended(&self) -> bool {
        self.0.lock().ended
    }
}

impl Body for Shared {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut body = self.0.lock();
        if body.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut body.incoming).poll_frame(context));
        body.ended = frame.is_none() || body.incoming.is_end_stream();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().incoming.size_hint()
    }
}
