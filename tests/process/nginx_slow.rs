//! Slow clients and stray bytes in front of nginx: others are served, and the log stays JSON.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use tokio::net::TcpSocket;
use tokio::task::spawn_blocking;

use super::nginx_front::{Front, HOST};
use crate::kit::answer::Answer;
use crate::kit::http::trusting;
use crate::kit::waiting::{SOON, until};

type Tls = StreamOwned<ClientConnection, std::net::TcpStream>;

const SLOW: &str = "POST /token HTTP/1.1\r\nHost: broker.example.com\r\nContent-Type: application/json\r\n\
    Content-Length: 1000\r\n\r\n{";

/// Connects from 127.0.0.`last` and sends the beginning of a request.
async fn begin(front: &Front, last: u8, request: &'static str) -> Tls {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(SocketAddr::from(([127, 0, 0, last], 0)))
        .unwrap();
    let stream = socket
        .connect(front.https)
        .await
        .unwrap()
        .into_std()
        .unwrap();
    let tls = Arc::new(trusting(Some(&front.nginx.certificate())));
    let beginning = spawn_blocking(move || {
        stream.set_nonblocking(false).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let session = ClientConnection::new(tls, HOST.try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(session, stream);
        // A connection that nginx has no room for is torn.
        let _ = stream.write_all(request.as_bytes());
        stream
    });
    beginning.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a03_slow_bodies_of_one_address_leave_room_for_others() {
    // A smaller nginx, that few connections would fill.
    let small = [
        ("worker_connections 16384;", "worker_connections 512;"),
        ("worker_processes auto;", "worker_processes 1;"),
        ("burst=200 nodelay", "burst=1000 nodelay"),
    ];
    let front = Front::with(&[("server.body_timeout", "1m")], &small).await;
    let mut slow = Vec::new();
    for _ in 0..350 {
        slow.push(begin(&front, 2, SLOW).await);
    }
    for last in 10..30 {
        let answer = Answer::to(front.request(last, "POST", "/token")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // nginx logs a refused request when it has stopped to read its body.
    until("all beyond the limit are refused", || {
        let log = front.nginx.log();
        let refused = log
            .iter()
            .filter(|line| line["limited_connections"] == "REJECTED");
        refused.count() >= 350 - 128
    })
    .await;
    drop(slow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a03_the_whole_time_of_a_body_is_bounded_however_often_a_byte_comes() {
    let front = Front::with(&[("server.body_timeout", "1s")], &[]).await;
    let mut stream = begin(&front, 2, SLOW).await;
    let trickling = spawn_blocking(move || {
        let (began, mut heard) = (Instant::now(), [0; 1024]);
        loop {
            match stream.read(&mut heard) {
                Ok(length) => break String::from_utf8_lossy(&heard[..length]).into_owned(),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
            assert!(began.elapsed() < SOON, "it goes on listening");
            stream.write_all(b" ").unwrap();
        }
    });
    let heard = trickling.await.unwrap();
    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
}

#[tokio::test]
async fn a18_the_log_stays_json_whatever_bytes_a_request_holds() {
    let front = Front::new().await;
    let mut request = b"POST /token".to_vec();
    request.push(0xff);
    request.extend(
        b"/x?y HTTP/1.1\r\nHost: broker.example.com\r\nOrigin: https://a\xff\xfe.example\r\n",
    );
    request.extend(b"Content-Length: 0\r\nConnection: close\r\n\r\n");
    front.raw(2, request).await;
    let request = format!(
        "GET /{} HTTP/1.1\r\nHost: broker.example.com\r\nConnection: close\r\n\r\n",
        "a".repeat(5000)
    );
    front.raw(2, request.into_bytes()).await;
    let log = front.nginx.log();
    let paths: Vec<_> = log
        .iter()
        .map(|line| line["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert_eq!(paths[0], "/token");
    assert_eq!(paths[1].len(), 256);
    assert_eq!(log[0]["origin"], "https://a");
}
