//! The memory that the TLS and WebSocket libraries take for a side channel, without anything of the broker. What a watched
//! call takes beyond it is the broker's own.

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use token_broker::tls::client_config;
use token_broker::websocket::{Message, Role, side_channel};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::WebSocketStream;

use crate::kit::memory::resident;
use crate::kit::programs::self_signed;
use crate::kit::tls_front::tls;
use crate::ledger_file::Books;

/// Connections that are measured. Each has two ends in this process.
const MEASURED: u64 = 2_000;
/// Connections that come first, so that nothing that all share is measured.
const FIRST: u64 = 200;
/// The most that may wait to be written, as of a side channel.
const MAX_UNWRITTEN: usize = 1024 * 1024;

async fn end<S: AsyncRead + AsyncWrite + Unpin>(stream: S, role: Role) -> WebSocketStream<S> {
    WebSocketStream::from_raw_socket(stream, role, Some(side_channel(MAX_UNWRITTEN))).await
}

/// Opens a connection over which an event has come, so that all buffers are there.
async fn opened(
    listener: &TcpListener,
    (acceptor, connector): (&TlsAcceptor, &TlsConnector),
) -> impl Sized {
    let address = listener.local_addr().unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (client, server) = tokio::join!(
        connector.connect(name, connected.unwrap()),
        acceptor.accept(accepted.unwrap().0),
    );
    let mut client = end(client.unwrap(), Role::Client).await;
    let mut server = end(server.unwrap(), Role::Server).await;
    let event = Message::text("x".repeat(1_000));
    server.send(event.clone()).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), event);
    client.send(event.clone()).await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), event);
    (client, server)
}

#[tokio::test]
#[ignore = "5,000 file handles: scripts/bench.sh --calls"]
async fn the_least_memory_that_the_libraries_take_for_a_side_channel() {
    let books = Books::new();
    self_signed(books.folder(), "DNS:localhost");
    let certificate = books.folder().join("certificate.pem");
    let connector = TlsConnector::from(std::sync::Arc::new(
        client_config(Some(&certificate)).unwrap(),
    ));
    let acceptor = tls(books.folder(), &[b"http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut open, mut before) = (Vec::new(), 0);
    for number in 0..FIRST + MEASURED {
        if number == FIRST {
            before = resident(std::process::id());
        }
        open.push(opened(&listener, (&acceptor, &connector)).await);
    }
    let ends = 2 * MEASURED;
    let each = resident(std::process::id()).saturating_sub(before) / 1024 / ends;
    println!("least memory of a side channel, the libraries alone: {each} KiB each");
    assert!(each > 0, "{ends} ends take memory");
}
