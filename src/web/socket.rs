//! Carries the bytes of one connection, which holds its slot and is tracked until it is closed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, Join, ReadBuf, join};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_io_timeout::TimeoutWriter;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::head;
use super::large_head::Writer;
use super::slots::{Held, Slot};

/// Memory that hyper holds for an incomplete head, in bytes.
pub(super) const HEAD: usize = 24 * 1024;

/// A connection. An upgrade hands this value to the route, so its slot lasts as long as the upgraded socket.
pub(super) type Socket = Join<Reader, Writer<Pin<Box<TimeoutWriter<OwnedWriteHalf>>>>>;

/// The receiving half of a connection.
pub(super) struct Reader {
    stream: OwnedReadHalf,
    /// Bytes that were received before the HTTP state was dropped. They are read first.
    pub(super) unread: Bytes,
    /// The memory for them.
    pub(super) held: Option<Held>,
    pub(super) activity: Arc<Activity>,
    pub(super) slot: Slot,
    _tracked: TaskTrackerToken,
}

/// Returns a connection whose writes may stand still for `write_timeout`.
pub(super) fn socket(
    stream: TcpStream,
    write_timeout: Duration,
    (slot, tracked): (Slot, TaskTrackerToken),
) -> Socket {
    // A connection that cannot be set up is about to close.
    let _ = stream.set_nodelay(true);
    let (stream, writer) = stream.into_split();
    let mut writer = TimeoutWriter::new(writer);
    writer.set_timeout(Some(write_timeout));
    let activity = Arc::<Activity>::default();
    let writer = Writer::new(Box::pin(writer), Arc::clone(&activity));
    let reader = Reader {
        stream,
        unread: Bytes::new(),
        held: None,
        activity,
        slot,
        _tracked: tracked,
    };
    join(reader, writer)
}

impl Reader {
    /// Waits until there is something to read, the end included.
    pub(super) async fn readable(&self) {
        if self.unread.is_empty() {
            // Not `readable()`, which also returns for a new connection without data. A failure is left to the next read.
            let stream: &TcpStream = self.stream.as_ref();
            let _ = stream.peek(&mut [0]).await;
        }
    }

    /// Waits for a complete head, or for what cannot become one.
    pub(super) async fn head_arrived(&self) {
        if self.unread.is_empty() {
            head::arrived(self.stream.as_ref()).await;
        }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = if self.unread.is_empty() {
            Pin::new(&mut self.stream).poll_read(context, buffer)
        } else {
            let length = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread[..length]);
            self.unread.advance(length);
            Poll::Ready(Ok(()))
        };
        if buffer.filled().len() > before {
            self.activity.note_received();
        }
        polled
    }
}

/// What a connection is doing. hyper shows it: hyper keeps a timer exactly while it waits for a request's head.
#[derive(Default)]
pub(super) struct Activity {
    moment: Mutex<Moment>,
    /// True while hyper has written something and not flushed it.
    is_writing: AtomicBool,
}

/// A moment of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Moment {
    /// No request has begun.
    #[default]
    Idle,
    /// The head or the body of a request is incomplete.
    Incomplete {
        /// Memory that the request may take.
        bytes: usize,
        /// True when an earlier look saw the same head or body.
        is_known: bool,
    },
    /// The request is complete and waits for its answer.
    Busy,
}

impl Activity {
    /// Returns what the connection is doing, and remembers an incomplete request for the next look.
    pub(super) fn look(&self) -> Moment {
        let mut moment = self.moment.lock();
        let seen = *moment;
        if let Moment::Incomplete { is_known, .. } = &mut *moment {
            *is_known = true;
        }
        seen
    }

    /// True while a request is incomplete.
    pub(super) fn is_incomplete(&self) -> bool {
        matches!(*self.moment.lock(), Moment::Incomplete { .. })
    }

    /// True when no request has begun, and every answer was handed to the kernel.
    pub(super) fn is_idle(&self) -> bool {
        let is_idle = matches!(*self.moment.lock(), Moment::Idle);
        is_idle && !self.is_writing.load(Ordering::Relaxed)
    }

    /// Notes whether hyper has something to flush.
    pub(super) fn set_writing(&self, is_writing: bool) {
        self.is_writing.store(is_writing, Ordering::Relaxed);
    }

    fn note_received(&self) {
        let mut moment = self.moment.lock();
        if matches!(*moment, Moment::Idle) {
            *moment = incomplete(HEAD);
        }
    }

    /// Notes that a body of up to `bytes` has begun.
    pub(super) fn begin_body(&self, bytes: usize) {
        *self.moment.lock() = incomplete(HEAD + bytes);
    }

    /// Notes that the request is complete.
    pub(super) fn end_body(&self) {
        let mut moment = self.moment.lock();
        if matches!(*moment, Moment::Incomplete { .. }) {
            *moment = Moment::Busy;
        }
    }
}

fn incomplete(bytes: usize) -> Moment {
    let is_known = false;
    Moment::Incomplete { bytes, is_known }
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
        *activity.moment.lock() = Moment::Idle;
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
        *self.activity.moment.lock() = Moment::Busy;
    }
}
