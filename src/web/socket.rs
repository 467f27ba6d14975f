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

use super::head::{self, Arrived};
use super::large_head::Writer;
use super::slots::{Held, Slot, Turn};

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
    pub(super) slot: Arc<Slot>,
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
        slot: Arc::new(slot),
        _tracked: tracked,
    };
    join(reader, writer)
}

impl Reader {
    /// Waits until at least `least` of a head has arrived, or the connection ends. Returns how much has arrived.
    pub(super) async fn arrived(&self, least: Arrived) -> Arrived {
        if self.unread.is_empty() {
            head::arrived(self.stream.as_ref(), least).await
        } else {
            Arrived::Whole
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
    /// The permits to read an incomplete request.
    turn: Mutex<Option<Turn>>,
    /// True while hyper has written something and not flushed it.
    is_writing: AtomicBool,
    /// True once there was no memory for a request.
    lacks_memory: AtomicBool,
}

/// A moment of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Moment {
    /// No request has begun.
    #[default]
    Idle,
    /// The head or the body of a request is incomplete.
    Incomplete,
    /// The request waits for its answer. It is complete, or nobody reads the rest of it.
    Busy,
}

impl Activity {
    /// True while a request is being read.
    pub(super) fn is_incomplete(&self) -> bool {
        *self.moment.lock() == Moment::Incomplete
    }

    /// Lets a request be read.
    pub(super) fn give(&self, turn: Turn) {
        *self.turn.lock() = Some(turn);
    }

    /// Ends the turn of a request.
    pub(super) fn end_turn(&self) {
        self.turn.lock().take();
    }

    /// True while a request may be read.
    pub(super) fn has_turn(&self) -> bool {
        self.turn.lock().is_some()
    }

    /// True when no request has begun, and every answer was handed to the kernel.
    pub(super) fn is_idle(&self) -> bool {
        let is_idle = *self.moment.lock() == Moment::Idle;
        is_idle && !self.is_writing.load(Ordering::Relaxed)
    }

    /// Notes whether hyper has something to flush.
    pub(super) fn set_writing(&self, is_writing: bool) {
        self.is_writing.store(is_writing, Ordering::Relaxed);
    }

    /// Notes that there is no memory for a request of this connection.
    pub(super) fn set_lacks_memory(&self) {
        self.lacks_memory.store(true, Ordering::Relaxed);
    }

    /// True once there was no memory for a request.
    pub(super) fn lacks_memory(&self) -> bool {
        self.lacks_memory.load(Ordering::Relaxed)
    }

    fn note_received(&self) {
        let mut moment = self.moment.lock();
        if *moment == Moment::Idle {
            *moment = Moment::Incomplete;
        }
    }

    /// Notes that a body is being read, until the returned value is dropped.
    pub(super) fn begin_body(&self) -> Incomplete<'_> {
        *self.moment.lock() = Moment::Incomplete;
        Incomplete(self)
    }
}

/// A body that is being read.
pub(super) struct Incomplete<'a>(&'a Activity);

impl Drop for Incomplete<'_> {
    fn drop(&mut self) {
        *self.0.moment.lock() = Moment::Busy;
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
