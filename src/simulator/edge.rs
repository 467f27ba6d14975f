//! Holds the state of the simulated provider: its key, its plan, and the requests it received.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use secrecy::{ExposeSecret, SecretString};

use super::fault::Fault;
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

/// The state of the simulated provider.
pub(super) struct Edge {
    api_key: SecretString,
    pub(super) clock: Arc<dyn Clock>,
    plan: Mutex<Plan>,
    secrets: Mutex<Secrets>,
    requests: Mutex<VecDeque<Request>>,
    pub(super) seen: Count,
    pub(super) minted: Count,
    pub(super) connections: Count,
}

/// A number that only grows.
#[derive(Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Edge {
    pub(super) fn new(api_key: SecretString, clock: Arc<dyn Clock>, plan: Plan) -> Self {
        Self {
            api_key,
            clock,
            plan: Mutex::new(plan),
            secrets: Mutex::default(),
            requests: Mutex::default(),
            seen: Count::default(),
            minted: Count::default(),
            connections: Count::default(),
        }
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
            return Err(Refusal::no_key());
        }
        if key != self.api_key.expose_secret() {
            return Err(Refusal::wrong_key(key));
        }
        Ok(())
    }

    pub(super) fn next_fault(&self, place: Place) -> Option<Fault> {
        self.plan().take(place)
    }

    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock()
    }

    pub(super) fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock()
    }

    pub(super) fn requests(&self) -> MutexGuard<'_, VecDeque<Request>> {
        self.requests.lock()
    }

    /// Remembers a mint request without its key.
    pub(super) fn remember(&self, mut headers: HeaderMap, body: Bytes) {
        if let Some(given) = headers.get_mut(header::AUTHORIZATION) {
            *given = HeaderValue::from_static("***");
        }
        self.seen.add_one();
        let mut requests = self.requests();
        if requests.len() >= MAX_REQUESTS {
            requests.pop_front();
        }
        requests.push_back(Request { headers, body });
    }
}
