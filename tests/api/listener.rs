//! How the listener upgrades connections and how it ends, over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use token_broker::config::Server;
use token_broker::web::layers::Onion;
use token_broker::web::listener::{Ending, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::kit::in_process::TestApp;

const ALIVE: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// To their owners they are connections long since: nginx may have sent a request that it must not send twice.
#[tokio::test]
async fn a_connection_that_waits_to_be_accepted_when_the_listener_closes_is_accepted_and_answered()
{
    let (app, ending) = (TestApp::new(), Ending::default());
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut caller = TcpStream::connect(address).await.unwrap();
        caller.write_all(ALIVE).await.unwrap();
        waiting.push(caller);
    }
    ending.part.cancel();
    ending.close.cancel();
    let listener = Listener::new(app.app.onion(), &app.app.state().face.server, ending);
    listener.serve(tcp).await;
    for mut caller in waiting {
        let mut text = String::new();
        caller.read_to_string(&mut text).await.unwrap();
        assert!(
            text.starts_with("HTTP/1.1 200") && text.ends_with("alive"),
            "{text}"
        );
    }
    assert!(
        TcpStream::connect(address).await.is_err(),
        "it still listens"
    );
}

const UPGRADING: &[u8] =
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
const SOON: Duration = Duration::from_secs(5);

/// Switches to a protocol that repeats every byte.
async fn echo(mut request: Request) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    let echoing = async move {
        let (mut from, mut to) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
        tokio::io::copy(&mut from, &mut to).await.unwrap();
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the listener itself waits for the socket"
    )]
    tokio::spawn(echoing);
    let headers = [(CONNECTION, "upgrade"), (UPGRADE, "echo")];
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

/// A listener whose one route upgrades, until `ending`.
async fn echoing(ending: Ending, max_connections: usize) -> (SocketAddr, JoinHandle<()>) {
    let app = TestApp::new();
    let settings = Server {
        max_connections,
        ..app.app.state().face.server.clone()
    };
    let onion = Onion::around(Router::new().route("/echo", get(echo)), app.app.state());
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let listener = Listener::new(onion, &settings, ending);
    #[expect(clippy::disallowed_methods, reason = "the test awaits its end")]
    let serving = tokio::spawn(async move { listener.serve(tcp).await });
    (address, serving)
}

/// Sends a request and reads the head of its answer.
async fn ask(caller: &mut TcpStream, request: &[u8]) -> String {
    caller.write_all(request).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match timeout(SOON, caller.read_u8()).await.unwrap() {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

async fn assert_repeats(caller: &mut TcpStream) {
    caller.write_all(b"ping").await.unwrap();
    let mut heard = [0; 4];
    timeout(SOON, caller.read_exact(&mut heard))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&heard, b"ping");
}

#[tokio::test]
async fn an_upgraded_connection_keeps_its_slot_until_it_is_closed() {
    let (address, _serving) = echoing(Ending::default(), 1).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    assert!(ask(&mut first, UPGRADING).await.starts_with("http/1.1 101"));
    assert_repeats(&mut first).await;
    let mut second = TcpStream::connect(address).await.unwrap();
    assert!(
        ask(&mut second, UPGRADING)
            .await
            .starts_with("http/1.1 503")
    );
    assert_repeats(&mut first).await;
    drop(first);
    let again = async {
        loop {
            let mut third = TcpStream::connect(address).await.unwrap();
            if ask(&mut third, UPGRADING).await.starts_with("http/1.1 101") {
                break;
            }
        }
    };
    timeout(SOON, again).await.unwrap();
}

#[tokio::test]
async fn a_drain_leaves_upgrades_alone_and_waits_for_upgraded_connections() {
    let ending = Ending::default();
    let (address, mut serving) = echoing(ending.clone(), 9).await;
    let mut caller = TcpStream::connect(address).await.unwrap();
    ending.part.cancel();
    let head = ask(&mut caller, UPGRADING).await;
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(
        head.contains("connection: upgrade\r\n") && !head.contains("close"),
        "{head}"
    );
    ending.close.cancel();
    assert_repeats(&mut caller).await;
    let still = timeout(Duration::from_millis(200), &mut serving).await;
    assert!(still.is_err(), "it ended before its last connection");
    assert_repeats(&mut caller).await;
    drop(caller);
    timeout(SOON, serving).await.unwrap().unwrap();
}
