//! Reads the rest of a request's body when its answer is ready, so that the connection can be used again.
//!
//! A refusal is often ready before the body has arrived: many clients send the body a moment after the head. hyper then
//! closes the connection behind an answer that did not say so, and the next request into it is lost. A proxy must not
//! repeat that request if it is a mint.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;

use crate::clock::Clock;

/// Upper bound on the wait for the rest of a body.
const PATIENCE: Duration = Duration::from_millis(50);
/// Upper bound on the bytes that are read only to be dropped.
const MAX_SKIPPED: usize = 16 * 1024;

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
    pub(super) async fn skip_rest(mut self, clock: &dyn Clock) -> bool {
        if self.has_ended() || self.size_hint().lower() > MAX_SKIPPED as u64 {
            return self.has_ended();
        }
        let skipping = async {
            let mut skipped = 0;
            while skipped <= MAX_SKIPPED {
                match self.frame().await {
                    Some(Ok(frame)) => skipped += frame.data_ref().map_or(0, Bytes::len),
                    Some(Err(_)) => return false,
                    None => return true,
                }
            }
            false
        };
        clock.timeout(PATIENCE, skipping).await.unwrap_or(false)
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
