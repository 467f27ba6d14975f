//! An HTTP host that answers as a test tells it, well or badly, and counts requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Debug)]
pub enum Reply {
    /// Status 200 with this body.
    Body(String),
    /// The same, but not before [`Host::release`].
    Held(String),
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
    answer: Mutex<Reply>,
    connections: AtomicUsize,
    requests: Mutex<Vec<String>>,
    released: watch::Sender<bool>,
}

impl Host {
    pub async fn that(answer: Reply) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            answer: Mutex::new(answer),
            connections: AtomicUsize::new(0),
            requests: Mutex::default(),
            released: watch::Sender::new(false),
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
        Self::that(Reply::Body(jwks(keys))).await
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn now(&self, answer: Reply) {
        *self.state.answer.lock().unwrap() = answer;
    }

    pub fn publish(&self, keys: &[serde_json::Value]) {
        self.now(Reply::Body(jwks(keys)));
    }

    /// Answers the requests that are held, and those to come.
    pub fn release(&self) {
        self.state.released.send_replace(true);
    }

    /// Holds the requests to come.
    pub fn hold(&self) {
        self.state.released.send_replace(false);
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

/// Returns the document in which an issuer publishes these keys.
fn jwks(keys: &[serde_json::Value]) -> String {
    serde_json::json!({ "keys": keys }).to_string()
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
        Reply::Body(body) => (200, String::new(), body),
        Reply::Held(body) => {
            let mut released = state.released.subscribe();
            released.wait_for(|released| *released).await.ok()?;
            (200, String::new(), body)
        }
        Reply::Status(status, body) => (status, String::new(), body),
        Reply::Redirect(to) => (302, format!("location: {to}\r\n"), String::new()),
        Reply::Large(bytes) => (200, String::new(), "[".repeat(bytes)),
        Reply::Close => return None,
        Reply::Hang => return std::future::pending().await,
        Reply::HangMidBody => {
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
