//! A server that takes messages for operators, and spans of traces.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;

/// A message as it arrived.
#[derive(Clone, Debug)]
pub struct Message {
    pub headers: HeaderMap,
    pub text: String,
}

/// A server that takes messages under a path that nobody guesses, and OTLP under its usual one.
#[derive(Clone)]
pub struct Receiver {
    pub url: String,
    /// The address of the collector of traces.
    pub collector: String,
    state: Arc<Mutex<(Vec<Message>, u32)>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = format!("http://{}", listener.local_addr().unwrap());
        let receiver = Self {
            url: format!("{collector}/hook-with-a-secret"),
            collector,
            state: Arc::default(),
        };
        let routes = Router::new().route("/hook-with-a-secret", post(take));
        let routes = routes.route("/v1/traces", post(take));
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

    /// The spans that were taken so far.
    pub fn spans(&self) -> Vec<Span> {
        let messages = self.messages();
        let bodies = messages
            .iter()
            .map(|message| serde_json::from_str::<Value>(&message.text).unwrap());
        let list = |value: &Value, name: &str| value[name].as_array().unwrap().clone();
        let spans = bodies
            .flat_map(|body| list(&body, "resourceSpans"))
            .flat_map(|resource| list(&resource, "scopeSpans"))
            .flat_map(|scope| list(&scope, "spans"));
        spans.map(Span).collect()
    }
}

/// A span as it arrived, in OTLP's JSON.
#[derive(Clone, Debug)]
pub struct Span(pub Value);

impl Span {
    /// The field of that name, or else an empty text.
    pub fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    /// The attribute of that name, as text.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let mut attributes = self.0["attributes"].as_array().unwrap().iter();
        let value = &attributes.find(|attribute| attribute["key"] == name)?["value"];
        value["stringValue"].as_str().or(value["intValue"].as_str())
    }

    /// True when the span tells of a failure.
    pub fn has_failed(&self) -> bool {
        self.0["status"]["code"] == 2
    }

    /// The nanoseconds from its start to its end.
    pub fn nanos(&self) -> u64 {
        let at = |name: &str| self.text(name).parse::<u64>().unwrap();
        at("endTimeUnixNano")
            .checked_sub(at("startTimeUnixNano"))
            .unwrap()
    }
}

/// The only span of that name.
#[track_caller]
pub fn span<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let named: Vec<_> = spans
        .iter()
        .filter(|span| span.text("name") == name)
        .collect();
    assert_eq!(named.len(), 1, "{name}: {spans:#?}");
    named[0]
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
