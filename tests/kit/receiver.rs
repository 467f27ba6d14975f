//! A server that takes messages for operators.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;

/// A message as it arrived.
#[derive(Clone, Debug)]
pub struct Message {
    pub headers: HeaderMap,
    pub text: String,
}

/// A server that takes messages under a path that nobody guesses.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    state: Arc<Mutex<(Vec<Message>, u32)>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/hook-with-a-secret",
            listener.local_addr().unwrap()
        );
        let state = Arc::default();
        let receiver = Self { url, state };
        let routes = Router::new().route("/hook-with-a-secret", post(take));
        let routes = routes.with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        receiver
    }

    /// The next messages are not taken.
    pub fn refuse(&self, number: u32) {
        self.state.lock().unwrap().1 = number;
    }

    /// The messages that were taken so far.
    pub fn messages(&self) -> Vec<Message> {
        self.state.lock().unwrap().0.clone()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, text: String) -> StatusCode {
    let mut state = receiver.state.lock().unwrap();
    if state.1 > 0 {
        state.1 -= 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    state.0.push(Message { headers, text });
    StatusCode::NO_CONTENT
}
