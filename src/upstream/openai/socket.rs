//! The WebSocket of a side channel.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{SinkExt, StreamExt};
use reqwest::Upgraded;
use tokio_tungstenite::WebSocketStream;

use crate::clock::{Clock, Tick};
use crate::provider::is_reflected_audio;
use crate::upstream::UpstreamError;
use crate::upstream::calls::SideChannel;
use crate::websocket::{
    CloseCode, CloseFrame, DEAD_AFTER, Message, PING_AFTER, Role, Utf8Bytes, reason, side_channel,
};

/// The most that waits to be written.
const MAX_UNWRITTEN: usize = 1024 * 1024;
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
        let bounds = side_channel(MAX_UNWRITTEN);
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
                Message::Text(text) if is_reflected_audio(&text) => {}
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
