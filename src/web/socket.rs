//! Carries the bytes of one connection, which holds its slot and its place in the tracker until it is closed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::slots::Slot;

/// A connection. An upgrade hands this value to the route, so its slot lasts as long as the upgraded socket.
pub(super) struct Socket {
    stream: Pin<Box<TimeoutStream<TcpStream>>>,
    /// Bytes that were received before the HTTP state was dropped.
    unread: Bytes,
    activity: Arc<Activity>,
    _slot: Slot,
    _tracked: TaskTrackerToken,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, slot: Slot, tracked: TaskTrackerToken) -> Self {
        // A connection that cannot be set up is about to close.
        let _ = stream.set_nodelay(true);
        Self {
            stream: Box::pin(TimeoutStream::new(stream)),
            unread: Bytes::new(),
            activity: Arc::default(),
            _slot: slot,
            _tracked: tracked,
        }
    }

    /// Bounds the time that a write may stand still.
    pub(super) fn set_write_timeout(&mut self, timeout: Duration) {
        self.stream.as_mut().set_write_timeout_pinned(Some(timeout));
    }

    /// Puts bytes back in front of those that are received next.
    pub(super) fn put_back(&mut self, unread: Bytes) {
        self.unread = unread;
    }

    /// Waits until there is something to read, the end included.
    pub(super) async fn readable(&self) {
        if self.unread.is_empty() {
            // Not `readable()`, which also returns for a new connection without data. A failure is left to the next read.
            let _ = self.stream.get_ref().peek(&mut [0]).await;
        }
    }

    pub(super) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = if self.unread.is_empty() {
            self.stream.as_mut().poll_read(context, buffer)
        } else {
            let length = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread[..length]);
            self.unread.advance(length);
            Poll::Ready(Ok(()))
        };
        if buffer.filled().len() > before {
            self.activity.received.store(true, Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }
}

/// What a connection is doing, as hyper shows it: hyper keeps a timer exactly while it waits for a request's head.
#[derive(Default)]
pub(super) struct Activity {
    awaits_head: AtomicBool,
    /// True when bytes came since the wait for the head began.
    received: AtomicBool,
    /// True when the body of the current request has not ended.
    awaits_body: AtomicBool,
    heads: AtomicU64,
}

/// A moment of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// No request has begun.
    Idle,
    /// The head or the body of this request, by its number, is incomplete.
    Incomplete(u64),
    /// The request is complete and waits for its answer.
    Busy,
}

impl Activity {
    pub(super) fn moment(&self) -> Moment {
        let awaits_head = self.awaits_head.load(Relaxed);
        let begun = self.received.load(Relaxed);
        if awaits_head && !begun {
            Moment::Idle
        } else if awaits_head || self.awaits_body.load(Relaxed) {
            Moment::Incomplete(self.heads.load(Relaxed))
        } else {
            Moment::Busy
        }
    }

    pub(super) fn set_awaits_body(&self, awaits: bool) {
        self.awaits_body.store(awaits, Relaxed);
    }
}

/// The timer that hyper uses for heads, and for nothing else.
pub(super) struct HeadTimer(pub(super) Arc<Activity>);

struct HeadDeadline {
    deadline: Pin<Box<dyn Sleep>>,
    activity: Arc<Activity>,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let activity = Arc::clone(&self.0);
        activity.received.store(false, Relaxed);
        activity.awaits_body.store(false, Relaxed);
        activity.awaits_head.store(true, Relaxed);
        let deadline = TokioTimer::new().sleep_until(deadline);
        Box::pin(HeadDeadline { deadline, activity })
    }

    fn now(&self) -> Instant {
        TokioTimer::new().now()
    }
}

impl Sleep for HeadDeadline {}

impl Future for HeadDeadline {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.deadline.as_mut().poll(context)
    }
}

impl Drop for HeadDeadline {
    fn drop(&mut self) {
        self.activity.awaits_head.store(false, Relaxed);
        self.activity.heads.fetch_add(1, Relaxed);
    }
}
