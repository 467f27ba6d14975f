//! Owns what nobody has read of a request's body when its answer is ready.
//!
//! A refusal is often ready before the body has come: many clients send it a moment after the head. hyper then closes
//! the connection behind an answer that did not say so, and the next request into it is lost. A proxy must not repeat
//! that one if it is a mint.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for another machine on the real clock until its room takes a Clock"
)]

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::timeout;

/// Longest time that the rest of a body is waited for.
const PATIENCE: Duration = Duration::from_millis(50);
/// Most bytes that are read only to be rid of them.
const MOST: usize = 16 * 1024;

/// A body that two can read, one after the other: whoever answers, and then whoever tidies up.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Inner>>);

struct Inner {
    body: Incoming,
    ended: bool,
}

impl From<Incoming> for Shared {
    fn from(body: Incoming) -> Self {
        let ended = body.is_end_stream();
        Self(Arc::new(Mutex::new(Inner { body, ended })))
    }
}

impl Shared {
    /// Reads the rest if it is small and comes at once. True when nothing is left, so that the connection can be used
    /// again.
    pub(super) async fn skip_rest(mut self) -> bool {
        if self.has_ended() || self.size_hint().lower() > MOST as u64 {
            return self.has_ended();
        }
        let skipping = async {
            let mut skipped = 0;
            while skipped <= MOST {
                match self.frame().await {
                    Some(Ok(frame)) => skipped += frame.data_ref().map_or(0, Bytes::len),
                    Some(Err(_)) => return false,
                    None => return true,
                }
            }
            false
        };
        timeout(PATIENCE, skipping).await.unwrap_or(false)
    }

    /// True when all of it was read.
    pub(super) fn has_ended(&self) -> bool {
        self.inner().ended
    }

    /// The lock is held for one poll at a time, and never across an await.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body for Shared {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut inner = self.inner();
        if inner.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut inner.body).poll_frame(context));
        inner.ended = frame.is_none() || inner.body.is_end_stream();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner().body.size_hint()
    }
}
