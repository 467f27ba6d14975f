//! A provider that allows a hundred requests on one HTTP/2 connection, as real ones do.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use token_broker::clock::{ManualClock, Timestamp};
use token_broker::upstream::Payer;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{order, settings_for, upstream};
use crate::kit::programs::self_signed;
use crate::kit::scratch::Scratch;
use crate::kit::tls_front::tls;
use crate::kit::waiting::until;

/// The most requests on one connection.
const STREAMS: u32 = 100;

/// Counts requests. Refuses the first one and never answers the others.
async fn serve(listener: TcpListener, tls: TlsAcceptor, arrived: Arc<AtomicUsize>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, arrived) = (tls.clone(), Arc::clone(&arrived));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let service = service_fn(move |request: hyper::Request<_>| {
                assert_eq!(request.version(), Version::HTTP_2);
                let number = arrived.fetch_add(1, Ordering::SeqCst);
                async move {
                    if number > 0 {
                        std::future::pending::<()>().await;
                    }
                    let mut refusal = Response::new(Empty::<Bytes>::new());
                    *refusal.status_mut() = StatusCode::BAD_REQUEST;
                    Ok::<_, Infallible>(refusal)
                }
            });
            let _ = http2::Builder::new(TokioExecutor::new())
                .max_concurrent_streams(STREAMS)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

#[tokio::test]
async fn requests_beyond_one_connections_streams_go_out_at_once_on_another_connection() {
    let scratch = Scratch::new();
    self_signed(scratch.path(), "DNS:localhost");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/v1",
        listener.local_addr().unwrap().port()
    );
    let arrived = Arc::new(AtomicUsize::new(0));
    tokio::spawn(serve(
        listener,
        tls(scratch.path(), &[b"h2"]),
        Arc::clone(&arrived),
    ));

    let certificate = scratch.path().join("certificate.pem");
    let (settings, persona) = settings_for(
        &url,
        &[
            ("upstream.ca_file", certificate.to_str().unwrap()),
            ("upstream.mints_per_second", "1000"),
            ("upstream.connect_timeout", "10s"),
        ],
    );
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_640_995_200)));
    let upstream = Arc::new(upstream(&settings, clock));
    let order = order(&persona);
    // The first connection is known to speak HTTP/2 before the crowd comes.
    let turn = upstream.turn(order.behalf, Payer::default()).await.unwrap();
    assert!(upstream.mint(&order, turn).await.is_err());

    let mut mints = JoinSet::new();
    for _ in 0..150 {
        let (upstream, order) = (Arc::clone(&upstream), order.clone());
        mints.spawn(async move {
            let turn = upstream.turn(order.behalf, Payer::default()).await.unwrap();
            upstream.mint(&order, turn).await
        });
    }
    until("the requests", || arrived.load(Ordering::SeqCst) == 151).await;
    mints.shutdown().await;
}
