//! A whole broker in process: the router, a scripted minter, a clock turned by hand, and callers for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::Value;
use token_broker::app::{App, World};
use token_broker::audit::Line;
use token_broker::clock::{ManualClock, Timestamp};
use token_broker::config::{Config, Mode, SettingsFile, Sources};
use token_broker::records::{MemoryRecords, Records};
use token_broker::web::layers::Onion;
use token_broker::web::layers::arrival::Peer;

use super::PAGE;
use super::answer::Answer;
use super::calls::ScriptedCalls;
use super::issuer::{claims_at, sign};
use super::minter::ScriptedMinter;

/// The longest pause before a second attempt.
const PAUSE: Duration = Duration::from_millis(200);
/// When every test begins: 2022-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_seconds(1_640_995_200);

pub struct TestApp {
    pub app: App,
    pub clock: Arc<ManualClock>,
    pub minter: Arc<ScriptedMinter>,
    pub calls: ScriptedCalls,
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
        let config = config(file, settings);
        let minter = Arc::new(ScriptedMinter::new(Arc::clone(&clock)));
        let calls = ScriptedCalls::default();
        let events = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&events);
        let sink = move |line: &Line<'_>| {
            written
                .lock()
                .unwrap()
                .push(serde_json::to_value(line).unwrap());
        };
        let world = World {
            clock: Arc::<ManualClock>::clone(&clock),
            minter: Arc::<ScriptedMinter>::clone(&minter),
            calls: Arc::new(calls.clone()),
            records: Arc::clone(&ledger),
            audit: Box::new(sink),
        };
        let app = App::assemble(&config, world).unwrap();
        let onion = app.onion();
        Self {
            app,
            clock,
            minter,
            calls,
            ledger,
            onion,
            events,
        }
    }

    /// Takes this settings file over, and these settings over it.
    pub fn adopt(&self, file: &str, settings: &[(&str, &str)]) {
        self.app.adopt(&config(file, settings)).unwrap();
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
        assert_eq!(answer.status, 200, "{:?}", answer.json);
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

/// Returns the settings that every test has, with this file and these settings over them.
fn config(file: &str, settings: &[(&str, &str)]) -> Config {
    let usual = [
        ("upstream.api_key", "sk-test"),
        ("cors.allowed_origins", PAGE),
        ("personas.file", PERSONAS),
        ("ledger.url", "memory"),
        // Other tests prove that the default is a hash.
        ("log.identity", "clear"),
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
    Config::from_sources(Mode::Serve, &sources).unwrap().config
}

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

    /// Sends the request, and returns the answer before its body is read.
    pub async fn stream(self) -> axum::response::Response {
        self.onion.answer(self.request).await
    }

    pub async fn send(self) -> Answer {
        let response = tokio::select! {
            response = self.onion.answer(self.request) => response,
            never = turn_through_pauses(&self.clock) => never,
        };
        Answer::read(response).await
    }
}

/// Turns the clock whenever something pauses briefly, as the upstream's second attempts do. Never returns.
async fn turn_through_pauses<T>(clock: &ManualClock) -> T {
    loop {
        clock.awaited(PAUSE).await;
        clock.advance(PAUSE);
    }
}

/// Returns what the issuer says of somebody, for forty days from the beginning of the test.
pub fn claims(subject: &str, role: &str) -> Value {
    claims_at(START.as_seconds(), 40, (subject, role))
}

/// Returns a good credential of a student.
pub fn student(subject: &str) -> String {
    sign(&claims(subject, "student"))
}

/// Returns a good credential of a teacher.
pub fn teacher(subject: &str) -> String {
    sign(&claims(subject, "teacher"))
}
