//! A host that answers as it is told to, badly too, and counts who asks.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Debug)]
pub enum Answer {
    /// Status 200 with this body.
    Body(String),
    /// The same, later.
    Late(Duration, String),
    /// This status, with a body that would be good.
    Status(u16, String),
    /// Somewhere else.
    Redirect(String),
    /// So many bytes.
    Large(usize),
    /// Nothing at all.
    Hang,
    /// Half an answer.
    HangMidBody,
    /// A closed door.
    Close,
}

pub struct Host {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    answer: Mutex<Answer>,
    connections: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

impl Host {
    pub async fn that(answer: Answer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            answer: Mutex::new(answer),
            connections: AtomicUsize::new(0),
            requests: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer_one(socket, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    /// One that publishes these keys.
    pub async fn publishing(keys: &[serde_json::Value]) -> Self {
        Self::that(Answer::Body(super::keys::jwks(keys))).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn now(&self, answer: Answer) {
        *self.state.answer.lock().unwrap() = answer;
    }

    pub fn publish(&self, keys: &[serde_json::Value]) {
        self.now(Answer::Body(super::keys::jwks(keys)));
    }

    /// How many requests have arrived.
    pub fn asked(&self) -> usize {
        self.requests().len()
    }

    /// Heads of the requests that have arrived.
    pub fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }
}

async fn answer_one(mut socket: TcpStream, state: Arc<State>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    state.requests.lock().unwrap().push(head);
    let answer = state.answer.lock().unwrap().clone();
    let (status, more, body) = match answer {
        Answer::Body(body) => (200, String::new(), body),
        Answer::Late(delay, body) => {
            tokio::time::sleep(delay).await;
            (200, String::new(), body)
        }
        Answer::Status(status, body) => (status, String::new(), body),
        Answer::Redirect(to) => (302, format!("location: {to}\r\n"), String::new()),
        Answer::Large(bytes) => (200, String::new(), "[".repeat(bytes)),
        Answer::Close => return None,
        Answer::Hang => return std::future::pending().await,
        Answer::HangMidBody => {
            let part = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"keys\":";
            socket.write_all(part).await.ok()?;
            return std::future::pending().await;
        }
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.ok()?;
    socket.write_all(body.as_bytes()).await.ok()?;
    socket.shutdown().await.ok()
}
