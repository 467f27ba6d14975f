//! Holds the state of the simulated provider: its key, its plan, and the requests it received.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use secrecy::{ExposeSecret, SecretString};

use super::fault::Twist;
use super::plan::{Place, Plan};
use super::refusal::Refusal;
use super::secrets::Secrets;
use crate::clock::Clock;

/// Most mint requests that are remembered. The oldest is evicted.
const MAX_REQUESTS: usize = 64;

/// A received request for a client secret.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its headers. The value of `Authorization` is masked.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// The simulated provider, as its routes see it.
pub(super) struct Edge {
    api_key: SecretString,
    pub(super) clock: Arc<dyn Clock>,
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
}

impl Edge {
    pub(super) fn new(api_key: SecretString, clock: Arc<dyn Clock>, plan: Plan) -> Self {
        let state = State {
            plan,
            ..State::default()
        };
        Self {
            api_key,
            clock,
            state: Mutex::new(state),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Admits a request that carries the API key.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let given = headers
            .get(header::AUTHORIZATION)
            .map(HeaderValue::as_bytes);
        let given = String::from_utf8_lossy(given.unwrap_or_default());
        let (scheme, key) = given.split_once(' ').unwrap_or_default();
        let key = key.trim();
        if !scheme.eq_ignore_ascii_case("bearer") || key.is_empty() {
            let message = "You didn't provide an API key. You need to provide your API key in an Authorization header \
                 using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
            return Err(Refusal::new(401, None, message));
        }
        if key != self.api_key.expose_secret() {
            return Err(Refusal::wrong_key(key));
        }
        Ok(())
    }

    /// Remembers a mint request without its key.
    pub(super) fn remember(&self, mut headers: HeaderMap, body: Bytes) {
        if let Some(given) = headers.get_mut(header::AUTHORIZATION) {
            *given = HeaderValue::from_static("***");
        }
        let mut state = self.state();
        state.seen += 1;
        if state.requests.len() >= MAX_REQUESTS {
            state.requests.pop_front();
        }
        state.requests.push_back(Request { headers, body });
    }

    /// Fails as planned, or returns the change of the ordinary answer.
    pub(super) async fn suffer(&self, place: Place) -> Result<Option<Twist>, Response> {
        let fault = self.state().plan.take(place);
        match fault {
            Some(fault) => fault.happen(&*self.clock).await,
            None => Ok(None),
        }
    }
}
