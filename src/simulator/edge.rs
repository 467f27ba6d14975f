//! Holds the state of the simulated provider: its key, its plan, and the requests it received.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::calls::{CallRequest, Registry};
use super::costs::Bill;
use super::fault::Twist;
use super::plan::{Operation, Plan};
use super::refusal::Refusal;
use super::secrets::Secrets;
use crate::clock::Clock;

/// Most mint requests that are remembered. The oldest is evicted.
const MAX_REQUESTS: usize = 64;

/// Largest accepted body, in bytes.
const MAX_BODY: usize = 256 * 1024;

/// The end of the admin key, which begins with the API key.
const ADMIN: &str = "-admin";

/// A received request for a client secret.
#[derive(Clone, Debug)]
pub struct Request {
    /// The headers. The value of `Authorization` is masked.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The simulated provider, as its routes see it.
pub(super) struct Edge {
    api_key: SecretString,
    pub(super) clock: Arc<dyn Clock>,
    /// Shared, because tests hold it too.
    pub(super) calls: Arc<Registry>,
    state: Mutex<State>,
}

/// What changes while the simulated provider runs.
#[derive(Default)]
pub(super) struct State {
    pub(super) plan: Plan,
    pub(super) secrets: Secrets,
    pub(super) requests: VecDeque<Request>,
    /// Number of requests for a client secret.
    pub(super) seen: u64,
    /// Number of minted client secrets.
    pub(super) minted: u64,
    /// Number of accepted connections.
    pub(super) connections: u64,
    /// Accepted keys beside the first one.
    pub(super) more_keys: Vec<String>,
    /// What the organization is billed.
    pub(super) bills: Vec<Bill>,
}

impl Edge {
    pub(super) fn new(api_key: SecretString, calls: Registry, plan: Plan) -> Self {
        let state = State {
            plan,
            ..State::default()
        };
        Self {
            api_key,
            clock: Arc::clone(&calls.clock),
            calls: Arc::new(calls),
            state: Mutex::new(state),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Admits a request that carries an API key. Returns the key.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<String, Refusal> {
        let key = bearer(headers);
        if key.is_empty() {
            let message = "You didn't provide an API key. You need to provide your API key in an Authorization header \
                 using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
            return Err(Refusal::new(401, None, message));
        }
        let is_known = key == self.api_key.expose_secret() || self.state().more_keys.contains(&key);
        if is_known {
            Ok(key)
        } else {
            Err(Refusal::wrong_key(&key))
        }
    }

    /// Admits a request that carries the admin key. Other keys lack the permission.
    pub(super) fn admit_admin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let key = bearer(headers);
        let main = key.strip_suffix(ADMIN);
        if main == Some(self.api_key.expose_secret()) {
            return Ok(());
        }
        self.admit(headers)?;
        Err(Refusal::missing_scope("api.usage.read"))
    }

    /// Returns the session of a live client secret; null when it asked for none.
    pub(super) fn secret_session(&self, value: &str) -> Option<Value> {
        self.state().secrets.session(value, self.clock.now())
    }

    /// Remembers a request about calls without its key.
    pub(super) fn remember_call(&self, uri: &Uri, headers: &HeaderMap, body: Bytes) {
        self.calls.remember(CallRequest {
            path: uri.to_string(),
            headers: masked(headers.clone()),
            body,
            at: self.clock.now(),
        });
    }

    /// Remembers a mint request without its key.
    pub(super) fn remember(&self, headers: HeaderMap, body: Bytes) {
        let headers = masked(headers);
        let mut state = self.state();
        state.seen += 1;
        if state.requests.len() >= MAX_REQUESTS {
            state.requests.pop_front();
        }
        state.requests.push_back(Request { headers, body });
    }

    /// Fails as planned, or returns the change of the ordinary answer.
    pub(super) async fn suffer(&self, operation: Operation) -> Result<Option<Twist>, Response> {
        let fault = self.state().plan.take(operation);
        match fault {
            Some(fault) => fault.happen(&*self.clock).await,
            None => Ok(None),
        }
    }
}

/// Reads a body.
pub(super) async fn read(body: Body) -> Result<Bytes, Refusal> {
    let too_large = |_| Refusal::new(413, None, "The request body is too large.");
    to_bytes(body, MAX_BODY).await.map_err(too_large)
}

/// Refuses a body that does not say that it is `accepted`.
pub(super) fn assert_type(headers: &HeaderMap, accepted: &str) -> Result<(), Refusal> {
    let given = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let given = String::from_utf8_lossy(given.unwrap_or_default());
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(accepted) {
        return Ok(());
    }
    let message = format!(
        "Unsupported content type: '{essence}'. This API method only accepts '{accepted}' requests."
    );
    Err(Refusal::new(400, "unsupported_content_type", message))
}

/// Returns the token of a bearer, or nothing.
pub(super) fn bearer(headers: &HeaderMap) -> String {
    let given = headers
        .get(header::AUTHORIZATION)
        .map(HeaderValue::as_bytes);
    let given = String::from_utf8_lossy(given.unwrap_or_default());
    let (scheme, key) = given.split_once(' ').unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") {
        key.trim().to_owned()
    } else {
        String::new()
    }
}

fn masked(mut headers: HeaderMap) -> HeaderMap {
    if let Some(given) = headers.get_mut(header::AUTHORIZATION) {
        *given = HeaderValue::from_static("***");
    }
    headers
}
