//! The WebSocket of a side channel.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{SinkExt, StreamExt};
use reqwest::Upgraded;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::clock::{Clock, Tick};
use crate::upstream::UpstreamError;
use crate::upstream::calls::SideChannel;

/// The largest event that is read. Audio of 15 MiB, in base64 and an envelope, fits.
const MAX_EVENT: usize = 21 * 1024 * 1024;
/// The first size of both buffers. Most events are smaller, and thousands of calls are watched at once.
const BUFFER: usize = 4 * 1024;
/// The most that waits to be written.
const MAX_UNWRITTEN: usize = 1024 * 1024;
/// The silence after which a ping asks for a sign of life.
const PING_AFTER: Duration = Duration::from_secs(20);
/// The silence after which the connection is dead.
const DEAD_AFTER: Duration = Duration::from_secs(45);
/// The longest wait for the other side to take an event, or to close. Providers often close without a word.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// A side channel over an upgraded connection.
pub(super) struct Socket {
    stream: WebSocketStream<Upgraded>,
    clock: Arc<dyn Clock>,
    /// When the last frame came, of whatever kind.
    heard: Tick,
    is_asked: bool,
}

impl Socket {
    pub(super) async fn open(connection: Upgraded, clock: Arc<dyn Clock>) -> Self {
        let bounds = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_UNWRITTEN)
            .max_message_size(Some(MAX_EVENT))
            .max_frame_size(Some(MAX_EVENT));
        let stream = WebSocketStream::from_raw_socket(connection, Role::Client, Some(bounds));
        Self {
            stream: stream.await,
            heard: clock.tick(),
            clock,
            is_asked: false,
        }
    }

    /// Returns the next message, and asks for a sign of life meanwhile. `None` when the connection is over.
    async fn message(&mut self) -> Option<Message> {
        loop {
            let silence = if self.is_asked {
                DEAD_AFTER
            } else {
                PING_AFTER
            };
            let left = self.heard.plus(silence).since(self.clock.tick());
            match self.clock.timeout(left, self.stream.next()).await {
                Ok(Some(Ok(message))) => {
                    self.heard = self.clock.tick();
                    self.is_asked = false;
                    return Some(message);
                }
                Ok(None) => return None,
                Ok(Some(Err(error))) => {
                    tracing::debug!(reason = reason(&error), "side channel broke");
                    return None;
                }
                Err(_) if self.is_asked => {
                    tracing::debug!("side channel is silent and counts as broken");
                    return None;
                }
                Err(_) => {
                    self.is_asked = true;
                    self.put(Message::Ping(bytes::Bytes::new())).await.ok()?;
                }
            }
        }
    }

    async fn put(&mut self, message: Message) -> Result<(), UpstreamError> {
        let sent = self.clock.timeout(LAST_WAIT, self.stream.send(message));
        match sent.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(UpstreamError::Cut(reason(&error).into())),
            Err(_) => Err(UpstreamError::TimedOut),
        }
    }
}

#[async_trait]
impl SideChannel for Socket {
    async fn next(&mut self) -> Option<String> {
        loop {
            match self.message().await? {
                Message::Text(text) => return Some(text.as_str().to_owned()),
                Message::Close(frame) => {
                    let code = frame.map(|frame| u16::from(frame.code));
                    tracing::debug!(close.code = code, "provider closed the side channel");
                    // Sends the answer to the close frame.
                    let _ = self.clock.timeout(LAST_WAIT, self.stream.flush()).await;
                    return None;
                }
                // The library answers pings. Events are text.
                _ => {}
            }
        }
    }

    async fn send(&mut self, event: String) -> Result<(), UpstreamError> {
        self.put(Message::Text(event.into())).await
    }

    async fn close(mut self: Box<Self>) {
        let goodbye = CloseFrame {
            code: CloseCode::Normal,
            reason: Utf8Bytes::default(),
        };
        if self.put(Message::Close(Some(goodbye))).await.is_err() {
            return;
        }
        let clock = Arc::clone(&self.clock);
        let end = async { while let Some(Ok(_)) = self.stream.next().await {} };
        let _ = clock.timeout(LAST_WAIT, end).await;
    }
}

/// Returns the kind of a failure. Its text may quote what was received.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => "closed",
        Error::Io(_) => "connection failed",
        Error::Capacity(_) => "event is larger than 21 MiB",
        Error::Protocol(_) => "not the WebSocket protocol",
        Error::WriteBufferFull(_) => "events are not taken",
        Error::Utf8(_) => "event is not UTF-8",
        _ => "failed",
    }
}
