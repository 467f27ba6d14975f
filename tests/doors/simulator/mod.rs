//! The simulated provider over a real socket: as strict as the published schema, and failing as it is told to.

mod calls;
mod events;
mod faults;
mod live;
mod responses;
mod schema;
mod strict;
mod switches;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use token_broker::clock::{Clock, ManualClock, Timestamp};
use token_broker::simulator::{SecretState, Simulator};

use crate::kit::http::keeping_client;
use crate::kit::provider::{KEY, provider};

const NOW: u64 = 1_800_000_000;
/// How long a test waits for what never comes.
const PATIENCE: Duration = Duration::from_millis(400);

struct Bench {
    simulator: Simulator,
    clock: Arc<ManualClock>,
    client: Client,
}

impl Bench {
    async fn new() -> Self {
        Self::with_faults(&[]).await
    }

    async fn with_faults(faults: &[&str]) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(NOW)));
        let settings = provider("127.0.0.1:0", clock.clone(), faults);
        Self {
            simulator: Simulator::start(settings).await.unwrap(),
            clock,
            client: keeping_client(),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.simulator.address());
        self.client.request(method, url).bearer_auth(KEY)
    }

    fn asking(&self, body: &Value) -> RequestBuilder {
        self.request(Method::POST, "/v1/realtime/client_secrets")
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    async fn mint(&self) -> reqwest::Result<Response> {
        self.asking(&json!({"session": {"type": "realtime"}}))
            .send()
            .await
    }

    /// Sends the body; the answer's status and JSON.
    async fn ask(&self, body: &Value) -> (StatusCode, Value) {
        read(self.asking(body).send().await.unwrap()).await
    }

    async fn faults(&self, method: Method, body: &Value) -> (StatusCode, Value) {
        let request = self
            .request(method, "/_simulator/faults")
            .body(body.to_string());
        read(
            request
                .header("content-type", "application/json")
                .send()
                .await
                .unwrap(),
        )
        .await
    }
}

async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    (
        status,
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
    )
}
