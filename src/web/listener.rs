//! Owns the accept loop: which connections are taken, how long they may dawdle, and how they end.
//!
//! `axum::serve` has no defence against clients that dawdle (tokio-rs/axum#2741), so hyper is driven here.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for another machine on the real clock until its room takes a Clock"
)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, EXPECT, HeaderValue};
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::layers::Onion;
use super::layers::arrival::Peer;
use super::unread::Shared;
use crate::config::Server;

/// Most header fields in a request.
const MAX_HEADERS: usize = 64;
/// Most bytes of request line and header fields together.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Pause after the machine refused us another connection (no file handles left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most connections that are still taken when the listener closes: as many as may wait.
const MOST_WAITING: usize = 4096;
/// How long open connections without a request are kept after the listener has closed: a proxy that has just connected has
/// its request on the way, and may not send it twice.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// How a listener is told to end.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// Answers from now on close their connection, so that proxies move away by themselves.
    pub part: CancellationToken,
    /// No connection is taken any more; open ones end with the request they are in, or that is on its way.
    pub close: CancellationToken,
}

/// Serves connections until told to end, and then until the last one has ended.
pub struct Listener {
    onion: Arc<Onion>,
    http: http1::Builder,
    room: Arc<Semaphore>,
    write_timeout: Duration,
    ending: Ending,
    connections: TaskTracker,
}

impl Listener {
    /// A listener for `onion`, as patient as `settings` say.
    pub fn new(onion: Onion, settings: &Server, ending: Ending) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(settings.header_timeout)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEADER_BYTES);
        Self {
            onion: Arc::new(onion),
            http,
            room: Arc::new(Semaphore::new(settings.max_connections)),
            write_timeout: settings.write_timeout,
            ending,
            connections: TaskTracker::new(),
        }
    }

    /// Takes connections from `tcp`. Returns when all have ended after the ending began.
    pub async fn serve(&self, tcp: TcpListener) {
        while let Some(accepted) = self.ending.close.run_until_cancelled(tcp.accept()).await {
            match accepted {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => self.pause_after(&error).await,
            }
        }
        if let Err(error) = self.take_waiting(tcp) {
            tracing::warn!(%error, "connections that waited to be taken are lost");
        }
        self.connections.close();
        self.connections.wait().await;
    }

    /// Takes those who waited and closes the listener. Closing alone would tear them: to their owners they are connections
    /// long since, perhaps with a request in them.
    fn take_waiting(&self, tcp: TcpListener) -> io::Result<()> {
        // Of std, because tokio's only knows of connections that it was told about.
        let tcp = tcp.into_std()?;
        for _ in 0..MOST_WAITING {
            match tcp.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true)?;
                    self.take(TcpStream::from_std(stream)?, peer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Its owner has left.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A connection beyond the cap is closed at once: a full house answers faster by not answering.
    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
            return;
        };
        self.connections.spawn(self.attend(stream, peer, place));
    }

    fn attend(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + use<> {
        let (onion, ending, http) = (
            Arc::clone(&self.onion),
            self.ending.clone(),
            self.http.clone(),
        );
        let write_timeout = self.write_timeout;
        async move {
            let _place = place;
            // A connection that cannot be set up is one that is going away.
            let _ = stream.set_nodelay(true);
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(write_timeout));
            let part = ending.part.clone();
            // Boxed, so that a connection without a request does not hold the room for one.
            let service = service_fn(move |request| {
                Box::pin(answer(Arc::clone(&onion), request, peer, part.clone()))
            });
            let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service);
            tokio::pin!(connection);
            let closed = async {
                ending.close.cancelled().await;
                tokio::time::sleep(ON_ITS_WAY).await;
            };
            tokio::select! {
                biased;
                outcome = connection.as_mut() => return log_end(outcome),
                () = closed => connection.as_mut().graceful_shutdown(),
            }
            log_end(connection.await);
        }
    }

    async fn pause_after(&self, error: &io::Error) {
        tracing::warn!(%error, "a connection could not be taken");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

async fn answer(
    onion: Arc<Onion>,
    request: Request<Incoming>,
    peer: SocketAddr,
    part: CancellationToken,
) -> Result<Response<Body>, std::convert::Infallible> {
    let waits_to_be_asked = request.headers().contains_key(EXPECT);
    let (head, body) = request.into_parts();
    let body = Shared::from(body);
    let mut request = Request::from_parts(head, Body::new(body.clone()));
    request.extensions_mut().insert(Peer(peer));
    let mut response = onion.answer(request).await;
    let done = body.has_ended() || (!waits_to_be_asked && body.skip_rest().await);
    if !done || part.is_cancelled() {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Callers come and go as they like: how a connection ended is of interest only to somebody who looks closely.
fn log_end(outcome: hyper::Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}
