//! Relays of the real executable to the simulated provider: rows of the acceptance matrix by their names (RE).

mod attached;
mod bounds;
mod captions;
mod echo;
mod ends;
mod events;
mod front;
mod heavy;
mod notices;
mod protocol;
mod sdks;
mod secrecy;
mod stops;
mod tickets;
mod upgrade;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use token_broker::simulator::{SeenCall, Simulator};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::kit::executable::{Broker, Launch};
use crate::kit::provider::simulator;
use crate::kit::waiting::until;

/// How long a message may take. Only what never comes takes as long.
const LONG: Duration = Duration::from_mins(1);

/// A client of a relay.
struct Client<S = TcpStream>(WebSocketStream<S>);

/// How a client's connection was closed: the code, or none, and the reason.
type Closed = Option<(u16, String)>;

/// A broker before a provider, with these settings.
async fn pair(settings: &[(&str, &str)]) -> (Simulator, Broker) {
    let simulator = simulator(&[]).await;
    let launch = settings
        .iter()
        .fold(Launch::serve(&simulator), |launch, (name, value)| {
            launch.set(name, value)
        });
    let broker = launch.set("call.max_live_network", "100").start().await;
    (simulator, broker)
}

/// A request for a WebSocket whose answer is not one.
fn ask(broker: &Broker, path: &str) -> RequestBuilder {
    broker
        .get(path)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
}

impl Client {
    async fn of(broker: &Broker) -> Self {
        Self::with(broker, "/v1/realtime", &[]).await.0
    }

    /// Connects with these headers. Returns the subprotocol as well.
    async fn with(
        broker: &Broker,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> (Self, Option<String>) {
        let tcp = TcpStream::connect(broker.address).await.unwrap();
        Self::over(tcp, broker, (path, headers)).await
    }

    async fn over(
        tcp: TcpStream,
        broker: &Broker,
        (path, headers): (&str, &[(&'static str, &str)]),
    ) -> (Self, Option<String>) {
        let url = broker.url(path).replace("http://", "ws://");
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).unwrap();
            request.headers_mut().insert(*name, value);
        }
        let (socket, response) = client_async(request, tcp).await.unwrap();
        let protocol = response.headers().get("sec-websocket-protocol");
        let protocol = protocol.map(|name| name.to_str().unwrap().to_owned());
        (Self(socket), protocol)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn say(&mut self, event: &Value) {
        self.send(event.to_string()).await;
    }

    async fn send(&mut self, text: impl Into<String>) {
        self.0
            .send(Message::Text(text.into().into()))
            .await
            .unwrap();
    }

    /// The next event; how the connection was closed when there is none.
    async fn next(&mut self) -> Result<Value, Closed> {
        loop {
            let message = timeout(LONG, self.0.next()).await.expect("nothing came");
            match message {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    let frame = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                    return Err(frame);
                }
                Some(Ok(_)) => {}
                Some(Err(Error::Protocol(_) | Error::Io(_) | Error::ConnectionClosed)) | None => {
                    panic!("the connection was cut")
                }
                Some(Err(error)) => panic!("{error}"),
            }
        }
    }

    /// The next event of this type. Those before it are passed over.
    async fn hear(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await.unwrap();
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// How the connection is closed, and the last event before that.
    async fn end(&mut self) -> (Closed, Value) {
        let mut last = Value::Null;
        loop {
            match self.next().await {
                Ok(event) => last = event,
                Err(closed) => return (closed, last),
            }
        }
    }

    /// Has the model answer, and waits for the end of it.
    async fn turn(&mut self) -> Value {
        self.say(&json!({"type": "response.create"})).await;
        self.hear("response.done").await
    }
}

/// The only session at the provider.
fn session(simulator: &Simulator) -> SeenCall {
    let mut all = simulator.calls().all();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// What the provider got of the client: all but the broker's first word.
fn received(simulator: &Simulator) -> Vec<Value> {
    session(simulator).received.split_off(1)
}

/// Waits until the provider's session is over, and returns how its connection was closed.
async fn left(simulator: &Simulator) -> Vec<Option<u16>> {
    until("the end of the session", || !session(simulator).is_open).await;
    session(simulator).left
}

/// Waits until the audit log tells of the end of a relay, and returns the reason.
async fn reason(broker: &Broker) -> String {
    until("the end of the relay", || {
        !broker.events("call_ended").is_empty()
    })
    .await;
    broker.events("call_ended")[0]["details"]["reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
