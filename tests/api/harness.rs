//! A whole broker in memory, and callers for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use token_broker::app::{App, World};
use token_broker::clock::{ManualClock, Timestamp};
use token_broker::config::{Config, Mode, SettingsFile, Sources};
use token_broker::records::{MemoryRecords, Records};
use token_broker::web::layers::Onion;
use token_broker::web::layers::arrival::Peer;

use crate::minter::ScriptedMinter;

/// The page that may call in every test.
pub const PAGE: &str = "https://app.example.com";
/// The longest pause before a second attempt.
const PAUSE: Duration = Duration::from_millis(200);
/// When every test begins: 2022-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_seconds(1_640_995_200);

pub struct TestApp {
    pub app: App,
    pub clock: Arc<ManualClock>,
    pub minter: Arc<ScriptedMinter>,
    pub ledger: Arc<dyn Records>,
    pub onion: Onion,
    events: Arc<Mutex<Vec<Value>>>,
}

impl TestApp {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With these settings over those that every test has.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        Self::of("", settings)
    }

    /// With this settings file, and these settings over it.
    pub fn of(file: &str, settings: &[(&str, &str)]) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let ledger = MemoryRecords::new(100_000, Arc::<ManualClock>::clone(&clock));
        Self::over(Arc::new(ledger), clock, (file, settings))
    }

    /// Over a ledger that may have seen other brokers before, at the time that `clock` says.
    pub fn over(
        ledger: Arc<dyn Records>,
        clock: Arc<ManualClock>,
        (file, settings): (&str, &[(&str, &str)]),
    ) -> Self {
        let usual = [
            ("upstream.api_key", "sk-test"),
            ("cors.allowed_origins", PAGE),
            ("personas.file", PERSONAS),
            ("ledger.url", "memory"),
            // The pace has tests of its own; here time stands still.
            ("upstream.mints_per_second", "100000"),
        ];
        let flags = usual.iter().chain(settings);
        let flags = flags.map(|&(name, text)| (name.into(), text.into()));
        let sources = Sources {
            file: Some(SettingsFile {
                path: "broker.toml".into(),
                text: file.into(),
            }),
            flags: flags.collect(),
            ..Sources::default()
        };
        let config = Config::from_sources(Mode::Serve, &sources).unwrap().config;
        let minter = Arc::new(ScriptedMinter::new(Arc::clone(&clock)));
        let events = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&events);
        let sink = move |line: &str| {
            written
                .lock()
                .unwrap()
                .push(serde_json::from_str(line).unwrap());
        };
        let world = World {
            clock: Arc::<ManualClock>::clone(&clock),
            minter: Arc::<ScriptedMinter>::clone(&minter),
            records: Arc::clone(&ledger),
            audit: Box::new(sink),
        };
        let app = App::assemble(&config, world).unwrap();
        let onion = app.onion();
        Self {
            app,
            clock,
            minter,
            ledger,
            onion,
            events,
        }
    }

    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub fn call(&self, method: Method, path: &str) -> Call {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        request
            .extensions_mut()
            .insert(Peer(SocketAddr::from(([203, 0, 113, 7], 50_000))));
        Call {
            onion: self.onion.clone(),
            clock: Arc::clone(&self.clock),
            request,
        }
        .header("host", "broker.example.com")
    }

    /// Opens a session and gives its id.
    pub async fn open(&self) -> String {
        let answer = self.post("/token").send().await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.json);
        answer.json["sessionId"].as_str().unwrap().to_owned()
    }

    pub async fn refresh(&self, session_id: &str) -> Answer {
        self.post("/refresh-token")
            .json(&serde_json::json!({ "sessionId": session_id }))
            .send()
            .await
    }

    /// The audit events so far that are called `event`.
    pub fn events(&self, event: &str) -> Vec<Value> {
        self.events
            .lock()
            .unwrap()
            .iter()
            .filter(|line| line["event"] == event)
            .cloned()
            .collect()
    }

    /// The personas that were minted for, in order.
    pub fn personas(&self) -> Vec<String> {
        let events = self.events("token_minted");
        let personas = events.iter().map(|event| &event["details"]["persona"]);
        personas
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    }

    pub fn all_events(&self) -> Vec<Value> {
        self.events.lock().unwrap().clone()
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

/// Personas that only tests know.
const PERSONAS: &str = "tests/api/personas.toml";

/// A request on its way.
pub struct Call {
    onion: Onion,
    clock: Arc<ManualClock>,
    request: Request<Body>,
}

impl Call {
    pub fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.request
            .headers_mut()
            .append(name, value.as_ref().try_into().unwrap());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.request.headers_mut().remove(name);
        self
    }

    /// On behalf of whom `credential` stands for.
    pub fn bearer(self, credential: &str) -> Self {
        self.header("authorization", format!("Bearer {credential}"))
    }

    pub fn origin(self, origin: &str) -> Self {
        self.header("origin", origin)
    }

    pub fn from(mut self, address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap();
        self.request
            .extensions_mut()
            .insert(Peer(SocketAddr::new(address, 50_000)));
        self
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into();
        if content_type.is_empty() {
            self
        } else {
            self.header("content-type", content_type)
        }
    }

    /// Through this one instead.
    pub fn through(self, onion: Onion) -> Self {
        Self { onion, ..self }
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub async fn send(self) -> Answer {
        let response = tokio::select! {
            response = self.onion.answer(self.request) => response,
            never = turn_through_pauses(&self.clock) => never,
        };
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer {
            status: parts.status,
            headers: parts.headers,
            text,
            json,
        }
    }
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn code(&self) -> &str {
        self.json["error"]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no code in {}", self.text))
    }

    /// The body, without what is different for every request.
    pub fn anonymised(&self) -> String {
        let id = self.json["error"]["request_id"].as_str().unwrap();
        self.text.replace(id, "req_…")
    }

    pub fn retry_after(&self) -> u64 {
        self.header("retry-after").unwrap().parse().unwrap()
    }

    /// Asserts status and code at once.
    #[track_caller]
    pub fn is(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.code()),
            (status, code),
            "{}",
            self.text
        );
    }
}

/// Turns the clock whenever something pauses briefly, as the upstream's second attempts do. Never returns.
async fn turn_through_pauses<T>(clock: &ManualClock) -> T {
    loop {
        clock.awaited(PAUSE).await;
        clock.advance(PAUSE);
    }
}
