//! Serves the connections of the simulated provider.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::edge::Edge;
use super::routes;

/// Most connections at once. Further ones wait.
const MAX_CONNECTIONS: usize = 1024;
/// Longest wait for the head of a request.
const IDLE: Duration = Duration::from_mins(1);
/// Pause after a failed accept, for example without free file descriptors.
const BREATH: Duration = Duration::from_millis(50);

/// Serves each connection in a task of its own.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) edge: Arc<Edge>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Server {
    /// Serves until told to stop.
    pub(super) async fn run(self, listener: TcpListener) {
        let router = routes::router(self.edge.clone());
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let accepting = async {
            while let Ok(place) = places.clone().acquire_owned().await {
                let Ok((stream, _)) = listener.accept().await else {
                    self.edge.clock.sleep(BREATH).await;
                    continue;
                };
                // Answers are small and come one by one.
                let _ = stream.set_nodelay(true);
                self.take(stream, router.clone(), Some(place));
            }
        };
        self.stop.run_until_cancelled(accepting).await;
    }

    /// Serves one connection in a task of its own. The connection keeps its place.
    pub(super) fn take(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        router: Router,
        place: Option<OwnedSemaphorePermit>,
    ) {
        self.edge.state().connections += 1;
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(converse(stream, router)).await;
            drop(place);
        });
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    // How a connection ended is the caller's business, and often the point of the test.
    let _ = connection.await;
}
