//! The simulated provider over a real socket: as strict as the published schema, and failing as it is told to.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed; clients of tests are their own"
)]

mod faults;
mod schema;
mod strict;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use token_broker::clock::{Clock, ManualClock, Timestamp};
use token_broker::simulator::{Planned, SecretState, Settings, Simulator};

const KEY: &str = "sk-simulated-0123456789";
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
        let simulator = Simulator::start(settings("127.0.0.1:0", clock.clone(), faults));
        Self {
            simulator: simulator.await.unwrap(),
            clock,
            client: client(),
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

fn settings(listen: &str, clock: Arc<dyn Clock>, faults: &[&str]) -> Settings {
    let planned = |text: &&str| text.parse::<Planned>().unwrap();
    Settings {
        listen: listen.parse().unwrap(),
        api_key: KEY.into(),
        clock,
        faults: faults.iter().map(planned).collect(),
    }
}

fn client() -> Client {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(20))
        .no_proxy()
        .build()
        .unwrap()
}

async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    (
        status,
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
    )
}
