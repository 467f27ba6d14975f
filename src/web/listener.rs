//! Accepts connections, bounds how slow they may be, and ends them.
//!
//! `axum::serve` has no defence against slow clients (tokio-rs/axum#2741), so hyper is driven here. A connection without
//! a complete head costs a kilobyte: hyper's buffers (16 KiB) exist only from the end of a head on.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, EXPECT, HeaderValue};
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::head::Arrived;
use super::intake::Intake;
use super::layers::Onion;
use super::layers::arrival::Peer;
use super::layers::host::ProbesOnly;
use super::slots::{Slots, Turn};
use super::socket::{HEAD, HeadTimer, Socket, socket};
use super::unread::Shared;
use crate::clock::Clock;
use crate::config::Server;

/// Upper bound on the header fields of a request.
pub(super) const MAX_HEADERS: usize = 64;
/// Upper bound on the bytes of request line and header fields together.
pub(super) const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Pause after a failed accept (no file handles left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Upper bound on the connections that are accepted from the kernel's queue when the listener closes: its length.
const MAX_WAITING: usize = 4096;
/// How long open connections without a request are kept after the listener has closed. A proxy that has just connected may
/// have sent a request that it must not send twice.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// Lifetime of a connection that is accepted for probes although the broker is full.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The signals that end a listener.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// From now on answers close their connection, so that proxies move elsewhere by themselves.
    pub part: CancellationToken,
    /// From now on no connection is accepted. Open ones end with their current request.
    pub close: CancellationToken,
}

/// Serves connections until told to end, and then until the last one has ended.
#[derive(Clone)]
pub struct Listener(Arc<Inner>);

struct Inner {
    onion: Onion,
    http: http1::Builder,
    slots: Arc<Slots>,
    settings: Server,
    ending: Ending,
    connections: TaskTracker,
    clock: Arc<dyn Clock>,
}

impl Listener {
    /// Returns a listener for `onion` with the limits of `settings`.
    pub fn new(onion: Onion, settings: &Server, ending: Ending) -> Self {
        let clock = onion.clock();
        let mut http = http1::Builder::new();
        http.header_read_timeout(settings.header_timeout)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEADER_BYTES);
        Self(Arc::new(Inner {
            onion,
            http,
            slots: Arc::new(Slots::new(settings, Arc::clone(&clock))),
            settings: settings.clone(),
            ending,
            connections: TaskTracker::new(),
            clock,
        }))
    }

    /// Accepts connections from `tcp`. Returns when all have ended after the ending began, upgraded ones included.
    pub async fn serve(&self, tcp: TcpListener) {
        let Inner { ending, clock, .. } = &*self.0;
        while let Some(accepted) = ending.close.run_until_cancelled(tcp.accept()).await {
            match accepted {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted, trying again");
                    clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        if let Err(error) = self.take_waiting(tcp) {
            tracing::warn!(%error, "connections that waited to be accepted are lost");
        }
        self.0.connections.close();
        self.0.connections.wait().await;
    }

    /// Accepts the connections in the kernel's queue and closes the listener. Closing alone would reset them. To their
    /// clients they are open, perhaps with a request in them.
    fn take_waiting(&self, tcp: TcpListener) -> io::Result<()> {
        // Of std, because tokio's listener only accepts connections that it was notified of.
        let tcp = tcp.into_std()?;
        for _ in 0..MAX_WAITING {
            match tcp.accept() {
                Ok((stream, peer)) => {
                    stream.set_nonblocking(true)?;
                    self.take(TcpStream::from_std(stream)?, peer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The client has closed it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Serves a connection in a task of its own. Closes it at once when a limit is reached: the fastest answer is none.
    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let inner = &self.0;
        if let Some(slot) = inner.slots.take(peer.ip()) {
            let tracked = inner.connections.token();
            let socket = socket(stream, inner.settings.write_timeout, (slot, tracked));
            let attending = Arc::clone(inner).attend(socket, Peer(peer));
            inner.connections.spawn(attending);
        }
    }
}

impl Inner {
    async fn attend(self: Arc<Self>, socket: Socket, peer: Peer) {
        let probes_only = socket.reader().slot.probes_only;
        let serving = Arc::clone(&self).serve_all(socket, peer);
        if probes_only {
            let _ = self.clock.timeout(PROBE_TIMEOUT, serving).await;
        } else {
            serving.await;
        }
    }

    async fn serve_all(self: Arc<Self>, mut socket: Socket, peer: Peer) {
        let mut patience = self.settings.header_timeout;
        while let Some(turn) = self.turn(&socket, patience).await {
            // Boxed, so that a connection without a request does not hold the memory of one.
            socket.reader().activity.give(turn);
            let serving = Box::pin(self.serve_one(socket, peer));
            let Some(idle) = serving.await else {
                return;
            };
            socket = idle;
            patience = self.settings.keep_alive;
        }
    }

    /// Waits `patience` for the first byte of a request, and then for the rest of its head and for the turn to read it.
    /// `None` when the connection is to be closed.
    async fn turn(&self, socket: &Socket, patience: Duration) -> Option<Turn> {
        let reader = socket.reader();
        let turn = async {
            let begun = reader.arrived(Arrived::Part);
            let begun = self.clock.timeout(patience, begun).await?;
            let rest = async {
                if begun != Arrived::Whole {
                    reader.arrived(Arrived::Whole).await;
                }
                self.slots.turn(&reader.slot).await
            };
            self.clock.timeout(self.settings.header_timeout, rest).await
        };
        tokio::select! {
            biased;
            turn = turn => turn.ok(),
            () = self.is_closed() => None,
        }
    }

    /// Ends shortly after the listener has closed.
    async fn is_closed(&self) {
        self.ending.close.cancelled().await;
        self.clock.sleep(ON_ITS_WAY).await;
    }

    /// Serves a request, and those that came with it. Returns the connection when it is idle, and nothing when it has ended
    /// or was upgraded.
    async fn serve_one(self: &Arc<Self>, mut socket: Socket, peer: Peer) -> Option<Socket> {
        let mut held = socket.reader_mut().held.take();
        let activity = Arc::clone(&socket.reader().activity);
        let intake = Intake {
            slots: Arc::clone(&self.slots),
            slot: Arc::clone(&socket.reader().slot),
            activity: Arc::clone(&activity),
            clock: Arc::clone(&self.clock),
        };
        let inner = Arc::clone(self);
        // Boxed for the same reason as above.
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            if intake.slot.probes_only {
                request.extensions_mut().insert(ProbesOnly);
            }
            Box::pin(answer(Arc::clone(&inner), request, intake.clone()))
        });
        let mut http = self.http.clone();
        http.timer(HeadTimer(Arc::clone(&activity)));
        let mut connection = http
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades();
        let is_closed = self.is_closed();
        tokio::pin!(is_closed);
        let mut closing = false;
        loop {
            let served = poll_fn(|context| {
                let polled = Pin::new(&mut connection).poll(context);
                let is_incomplete = activity.is_incomplete();
                if !is_incomplete || held.is_some() {
                    activity.end_turn();
                }
                if !is_incomplete {
                    held = None;
                }
                if polled.is_pending() && activity.is_idle() {
                    return Poll::Ready(None);
                }
                polled.map(Some)
            });
            tokio::select! {
                biased;
                outcome = served => {
                    let Some(outcome) = outcome else { break };
                    // At debug level: callers hang up as they like.
                    if let Err(error) = outcome {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    return None;
                }
                () = &mut is_closed, if !closing => {
                    closing = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        }
        let parts = connection.into_parts()?;
        self.kept(parts.io.into_inner(), parts.read_buf)
    }

    /// Receives and drops what is left of a body while its answer is written. A connection that is closed with unread bytes is
    /// reset, and a client that still sends may never see the answer. Without memory for it the connection is closed.
    fn let_finish(self: &Arc<Self>, body: Shared, intake: &Intake) {
        let Some(held) = self.slots.hold(intake.slot.network, HEAD) else {
            return;
        };
        let inner = Arc::clone(self);
        self.connections.spawn(async move {
            tokio::select! {
                biased;
                () = body.drop_rest(&*inner.clock) => {}
                () = inner.is_closed() => {}
            }
            drop(held);
        });
    }

    /// Returns an idle connection with what was read of its next head.
    fn kept(&self, mut socket: Socket, unread: Bytes) -> Option<Socket> {
        if !unread.is_empty() {
            let network = socket.reader().slot.network;
            socket.reader_mut().held = Some(self.slots.hold(network, HEAD)?);
            socket.reader_mut().unread = unread;
        }
        Some(socket)
    }
}

async fn answer(
    inner: Arc<Inner>,
    request: Request<Incoming>,
    intake: Intake,
) -> Result<Response<Body>, std::convert::Infallible> {
    let expects_continue = request.headers().contains_key(EXPECT);
    let (mut head, body) = request.into_parts();
    let body = Shared::new(body);
    head.extensions.insert(intake.clone());
    let request = Request::from_parts(head, Body::new(body.clone()));
    let mut response = inner.onion.answer(request).await;
    // An upgraded connection speaks no HTTP any more, so nothing is said about the next request.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let done = body.has_ended() || {
        let _incomplete = intake.activity.begin_body();
        !expects_continue && body.skip_rest(&*inner.clock).await
    };
    if !done && !expects_continue && !intake.activity.lacks_memory() {
        inner.let_finish(body, &intake);
    }
    if !done || inner.ending.part.is_cancelled() {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}
