//! GPT-Live sessions of the simulated provider over real sockets.

mod attached;
mod ended;
#[cfg(feature = "peer")]
mod peer;
mod said;
mod strict;

use futures_util::{SinkExt, StreamExt};
use token_broker::simulator::SeenCall;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::calls::OFFER;
use super::*;

/// How long a frame may take. Only what never comes takes as long.
const LONG: Duration = Duration::from_mins(1);
/// The pace of reflected audio.
const BEAT: Duration = Duration::from_millis(200);

/// A side channel, from the application's end.
struct Side(WebSocketStream<TcpStream>);

impl Side {
    /// Returns the next frame: an event as it was written, or how the connection was closed.
    async fn next(&mut self) -> Result<String, Option<u16>> {
        match timeout(LONG, self.0.next()).await.unwrap() {
            Some(Ok(Message::Text(text))) => Ok(text.to_string()),
            Some(Ok(Message::Close(frame))) => Err(frame.map(|frame| frame.code.into())),
            Some(Ok(other)) => panic!("{other}"),
            Some(Err(_)) | None => Err(None),
        }
    }

    async fn event(&mut self) -> Value {
        serde_json::from_str(&self.next().await.unwrap()).unwrap()
    }

    async fn say(&mut self, event: &Value) {
        let text = Message::text(event.to_string());
        self.0.send(text).await.unwrap();
    }
}

impl Bench {
    fn posting(&self, body: &Value) -> RequestBuilder {
        let request = self.request(Method::POST, "/v1/live/sessions");
        request
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Opens a GPT-Live session.
    async fn live(&self, session: &Value) -> SeenCall {
        let response = self.posting(&asking(session)).send().await.unwrap();
        assert_eq!(response.status(), 201);
        self.seen()
    }

    /// Returns the newest call.
    fn seen(&self) -> SeenCall {
        self.simulator.calls().all().pop().unwrap()
    }

    /// Joins the side channel of a session. Its first event is still to come.
    async fn attach(&self, id: &str, query: &str) -> Side {
        let address = self.simulator.address();
        let url = format!("ws://{address}/v1/live/sessions/{id}/attach{query}");
        let mut request = url.into_client_request().unwrap();
        let credential = format!("Bearer {KEY}").parse().unwrap();
        request.headers_mut().insert("authorization", credential);
        let tcp = TcpStream::connect(address).await.unwrap();
        Side(client_async(request, tcp).await.unwrap().0)
    }

    /// Asks for a side channel that is refused.
    async fn refused(&self, path: &str) -> (StatusCode, Value) {
        let request = self
            .request(Method::GET, path)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==");
        read(request.send().await.unwrap()).await
    }

    async fn hang_up(&self, id: &str) -> Response {
        let path = format!("/v1/live/sessions/{id}/hangup");
        self.request(Method::POST, &path).send().await.unwrap()
    }

    /// Sends an event as the page does. Returns the events that the page has got since.
    fn page(&self, id: &str, event: &Value) -> Vec<Value> {
        let calls = self.simulator.calls();
        let before = calls.get(id).unwrap().browser.len();
        calls.browser_sends(id, event);
        calls.get(id).unwrap().browser.split_off(before)
    }
}

/// Returns the body of a request for this session.
fn asking(session: &Value) -> Value {
    json!({"session": session, "transport": {"type": "webrtc", "sdp": OFFER}})
}

/// Returns a session with a backend.
fn backed(responses: &Value) -> Value {
    let mut session = json!({"model": "gpt-live-1", "instructions": "Be brief.",
        "delegation": {"type": "responses", "responses": {"model": "gpt-5.2", "instructions": "Look it up."}}});
    for (name, value) in responses.as_object().unwrap() {
        session["delegation"]["responses"][name.as_str()] = value.clone();
    }
    session
}

/// Returns a session whose data channel lets only these through.
fn restricted(sent: &Value, received: &Value) -> Value {
    let mut session = backed(&json!({}));
    session["client"] =
        json!({"data_channel": {"allowed_client_events": sent, "allowed_server_events": received}});
    session
}

/// Returns the types of events. Those inside of `response.event` are named by themselves.
fn types(events: &[Value]) -> Vec<&str> {
    let mut types = Vec::new();
    for event in events {
        let inside = event["event"]["type"].as_str();
        types.extend(inside.or(event["type"].as_str()));
    }
    types
}
