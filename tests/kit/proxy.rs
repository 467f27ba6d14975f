//! A TCP proxy between the code under test and a server: it delays answers, refuses connections, or cuts them amid a commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A proxy in front of one server.
pub struct Proxy {
    pub port: u16,
    server: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Whether a connection is cut after its next commit went to the server, before the answer comes back.
    cuts: AtomicBool,
    /// Whether new connections are closed at once.
    refuses: AtomicBool,
    /// Time that every answer takes in addition.
    delay: Duration,
    /// How often a PostgreSQL server has said that it is ready for the next question.
    round_trips: AtomicU64,
}

impl Proxy {
    /// Returns a proxy to the server at this port.
    pub async fn to(server: u16) -> Self {
        Self::slow(server, Duration::ZERO).await
    }

    /// Returns a proxy through which every answer takes `delay` longer.
    pub async fn slow(server: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            delay,
            ..State::default()
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                // Without a server the client is hung up on, too.
                let server = TcpStream::connect(("127.0.0.1", server)).await;
                if let (false, Ok(server)) = (shared.refuses.load(Ordering::SeqCst), server) {
                    tokio::spawn(carry(client, server, Arc::clone(&shared)));
                }
            }
        });
        Self {
            port,
            server,
            state,
        }
    }

    /// Returns `url` of the server with the proxy's port.
    pub fn instead_of(&self, url: &str) -> String {
        let port = |port: u16| format!(":{port}/");
        url.replace(&port(self.server), &port(self.port))
    }

    /// Returns how many questions a PostgreSQL server has answered.
    pub fn round_trips(&self) -> u64 {
        self.state.round_trips.load(Ordering::SeqCst)
    }

    /// Cuts the connection of the next commit before its answer comes back.
    pub fn cut_at_next_commit(&self) {
        self.state.cuts.store(true, Ordering::SeqCst);
    }

    /// Returns whether the commit that was to be cut has been cut.
    pub fn has_cut(&self) -> bool {
        !self.state.cuts.load(Ordering::SeqCst)
    }

    /// Closes every new connection at once, or no longer does.
    pub fn refuse(&self, refuses: bool) {
        self.state.refuses.store(refuses, Ordering::SeqCst);
    }
}

/// The beginning of PostgreSQL's `ReadyForQuery`.
const READY: &[u8] = &[b'Z', 0, 0, 0, 5];

async fn carry(mut client: TcpStream, mut server: TcpStream, state: Arc<State>) {
    let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let words = &asked[..length];
                if server.write_all(words).await.is_err() {
                    return;
                }
                let commits = words.windows(6).any(|word| word == b"COMMIT");
                if commits && state.cuts.swap(false, Ordering::SeqCst) {
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                let ready = answered[..length].windows(READY.len()).filter(|part| *part == READY);
                state.round_trips.fetch_add(ready.count() as u64, Ordering::SeqCst);
                if !state.delay.is_zero() {
                    // A slow network is what the proxy imitates.
                    tokio::time::sleep(state.delay).await;
                }
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
