//! One end of a WebSocket: bounded, written without blocking its reader, watched for signs of life.

use std::collections::VecDeque;
use std::fmt;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, BufReader};
use tokio_tungstenite::WebSocketStream;
pub use tokio_tungstenite::tungstenite::Utf8Bytes;
pub use tokio_tungstenite::tungstenite::error::ProtocolError;
pub use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
pub use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
pub use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::io::{InspectReader, InspectWriter};

use crate::clock::{Clock, Tick};

/// The largest message of a side channel. Audio of 15 MiB, in base64 and an envelope, fits.
const MAX_MESSAGE: usize = 21 * 1024 * 1024;
/// Read buffer of a client's connection. A tenth of a second of audio fits. Small, because there are thousands of connections.
const READ: usize = 8 * 1024;
/// The first size of the buffer for a message.
const BUFFER: usize = 4 * 1024;
/// The silence of a side channel after which a ping asks for a sign of life.
pub const PING_AFTER: Duration = Duration::from_secs(20);
/// The silence of a side channel after which its connection is dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(45);
/// Longest time that the other side may take to answer a close frame.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// Longest time to read and drop incoming bytes after a failure, so that no reset destroys the close frame.
const LINGER: Duration = Duration::from_secs(1);
/// The largest frame that is sent. A larger message goes out in several: no whole copy of it is made, and the answer to a ping
/// need not wait for its end.
const PIECE: usize = 64 * 1024;
/// Most pings that are answered while the other side takes nothing. Each answer waits in memory.
const MOST_PONGS: usize = 64;

/// A connection of bytes.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// The bounds of one end.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The largest message, in bytes.
    pub message: usize,
    /// The silence after which a ping asks for a sign of life.
    pub ping_after: Duration,
    /// The silence after which the connection is dead.
    pub dead_after: Duration,
}

/// Returns the configuration of a side channel, which may have `unwritten` bytes waiting to be sent.
pub fn side_channel(unwritten: usize) -> WebSocketConfig {
    configuration(MAX_MESSAGE, unwritten)
}

fn configuration(message: usize, unwritten: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(unwritten)
        .max_message_size(Some(message))
        .max_frame_size(Some(message))
}

/// One end of a WebSocket. A message waits here until the one before it was taken.
pub struct Leg {
    stream: WebSocketStream<Box<dyn Connection>>,
    waiting: VecDeque<Message>,
    /// The unsent rest of a large message.
    rest: Bytes,
    is_flushed: bool,
    /// The answers to pings that may still wait.
    pongs: usize,
    bounds: Bounds,
    /// Since when the other side takes nothing.
    stuck_since: Option<Tick>,
    clock: Arc<dyn Clock>,
    /// The bytes that have passed. The largest messages take minutes on slow ways.
    traffic: Arc<Traffic>,
    /// The bytes that had gone when the other side was last seen to take some.
    went: usize,
    /// The bytes that had come at the last look.
    came: usize,
    /// When something came, as far as it was noticed.
    heard: Tick,
    is_asked: bool,
    /// A large message, and the bytes that had come with it. The buffer for reading would take its memory back and keep it; as
    /// long as the message is here, the buffer finds memory of its own.
    large: Option<(Utf8Bytes, usize)>,
}

/// How many bytes have passed one end. It may wrap around.
#[derive(Default)]
struct Traffic {
    came: AtomicUsize,
    went: AtomicUsize,
}

impl fmt::Debug for Leg {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Leg({} waiting)", self.waiting.len())
    }
}

impl Leg {
    /// Returns the end of the WebSocket that `connection` was upgraded to.
    pub async fn over(
        connection: Box<dyn Connection>,
        (role, bounds): (Role, Bounds),
        clock: Arc<dyn Clock>,
    ) -> Self {
        // A frame waits inside, and answers to pings.
        let inside = configuration(bounds.message, 4 * PIECE);
        let traffic = Arc::<Traffic>::default();
        let [reading, writing] = [(); 2].map(|()| Arc::clone(&traffic));
        let connection = InspectReader::new(connection, move |bytes: &[u8]| {
            reading.came.fetch_add(bytes.len(), Ordering::Relaxed);
        });
        let connection = InspectWriter::new(connection, move |bytes: &[u8]| {
            writing.went.fetch_add(bytes.len(), Ordering::Relaxed);
        });
        // TLS to the provider has a buffer of its own.
        let connection: Box<dyn Connection> = match role {
            Role::Server => Box::new(BufReader::with_capacity(READ, connection)),
            Role::Client => Box::new(connection),
        };
        Self {
            stream: WebSocketStream::from_raw_socket(connection, role, Some(inside)).await,
            bounds,
            waiting: VecDeque::new(),
            rest: Bytes::new(),
            is_flushed: true,
            pongs: 0,
            stuck_since: None,
            traffic,
            went: 0,
            came: 0,
            heard: clock.tick(),
            clock,
            is_asked: false,
            large: None,
        }
    }

    /// Returns how many messages wait behind the one that is being sent.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// True when the other side has taken everything.
    pub fn is_free(&self) -> bool {
        self.has_sent_all() && self.is_flushed
    }

    fn has_sent_all(&self) -> bool {
        self.waiting.is_empty() && self.rest.is_empty()
    }

    /// Queues a message. Polling this leg sends it after the messages before it.
    pub fn put(&mut self, message: Message) {
        self.waiting.push_back(message);
    }

    /// Sends what waits, as far as the other side takes it. After a failure, what came before it can still be read.
    pub fn drive(&mut self, context: &mut Context<'_>) {
        let has_given_up = |error: &Error| matches!(error, Error::Io(error) if error.kind() == ErrorKind::TimedOut);
        match self.poll_send(context) {
            Poll::Pending => self.waits(),
            // The connection bounds each of its writes, too. What waits still waits.
            Poll::Ready(Err(error)) if has_given_up(&error) => self.waits(),
            Poll::Ready(sent) => {
                self.stuck_since = None;
                if sent.is_err() {
                    self.waiting.clear();
                    self.rest.clear();
                    self.is_flushed = true;
                    self.pongs = 0;
                }
            }
        }
    }

    /// Notes that something waits. A side that reads a large message slowly still counts as reading.
    fn waits(&mut self) {
        let went = self.traffic.went.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.went, went) != went {
            self.stuck_since = None;
        }
        self.stuck_since.get_or_insert_with(|| self.clock.tick());
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.has_sent_all() {
            ready!(Pin::new(&mut self.stream).poll_ready(context))?;
            if let Some(message) = self.piece() {
                self.is_flushed = false;
                Pin::new(&mut self.stream).start_send(message)?;
            }
        }
        if !self.is_flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.is_flushed = true;
            self.pongs = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Returns what is sent next: a message, or a piece of one.
    fn piece(&mut self) -> Option<Message> {
        let mut data = Data::Continue;
        if self.rest.is_empty() {
            (data, self.rest) = match self.waiting.pop_front()? {
                Message::Text(text) if text.len() > PIECE => (Data::Text, text.into()),
                Message::Binary(bytes) if bytes.len() > PIECE => (Data::Binary, bytes),
                other => return Some(other),
            };
        }
        let piece = self.rest.split_to(PIECE.min(self.rest.len()));
        let is_last = self.rest.is_empty();
        let frame = Frame::message(piece, OpCode::Data(data), is_last);
        Some(Message::Frame(frame))
    }

    /// Returns the next message. The answer to a ping waits to be sent. When many do, nothing is read until they are sent.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        if self.pongs >= MOST_PONGS {
            return Poll::Pending;
        }
        let next = Pin::new(&mut self.stream).poll_next(context);
        let came = self.traffic.came.load(Ordering::Relaxed);
        match &next {
            Poll::Ready(Some(Ok(Message::Ping(_)))) => {
                self.pongs += 1;
                self.is_flushed = false;
            }
            Poll::Ready(Some(Ok(Message::Text(text)))) if text.len() > PIECE => {
                self.large = Some((text.clone(), came));
            }
            _ => {}
        }
        // By then, the buffer for reading has had to grow.
        self.large
            .take_if(|(_, then)| came.wrapping_sub(*then) > PIECE);
        next
    }

    /// Notes a sign of life, or that this leg is not read at present.
    pub fn is_heard(&mut self) {
        self.heard = self.clock.tick();
        self.is_asked = false;
    }

    /// Returns how long the other side has taken nothing.
    pub fn stuck_for(&self) -> Duration {
        let since = self.stuck_since;
        since.map_or(Duration::ZERO, |since| self.clock.tick().since(since))
    }

    /// Asks for a sign of life after a silence. Returns false when the connection is dead.
    pub fn is_alive(&mut self) -> bool {
        let came = self.traffic.came.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.came, came) != came {
            self.is_heard();
        }
        let silence = self.clock.tick().since(self.heard);
        if silence >= self.bounds.ping_after && !self.is_asked {
            self.is_asked = true;
            self.put(Message::Ping(bytes::Bytes::new()));
        }
        silence < self.bounds.dead_after
    }

    /// Returns the next message, and sends what waits meanwhile. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        std::future::poll_fn(|context| {
            self.drive(context);
            self.poll_next(context)
        })
        .await
    }

    /// Sends what waits, a close frame at its end, and waits within bounds until the other side has closed the connection.
    pub async fn finish(&mut self) {
        let clock = Arc::clone(&self.clock);
        let end = async { while let Some(Ok(_)) = self.next().await {} };
        if clock.timeout(CLOSE_WAIT, end).await.is_err() {
            return;
        }
        // A connection that is closed while bytes come in is reset, and the other side may never see the close frame.
        let mut rest = [0; BUFFER];
        let connection = self.stream.get_mut();
        let read = async { while let Ok(1..) = connection.read(&mut rest).await {} };
        let _ = clock.timeout(LINGER, read).await;
    }
}

/// Returns the kind of a failure. Its text may quote what was received.
pub fn reason(error: &Error) -> &'static str {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => "closed",
        Error::Io(_) => "connection failed",
        Error::Capacity(_) => "event is too large",
        Error::Protocol(_) => "not the WebSocket protocol",
        Error::WriteBufferFull(_) => "events are not taken",
        Error::Utf8(_) => "event is not UTF-8",
        _ => "failed",
    }
}
