//! Fetches and caches the keys that an issuer publishes: one fetch at a time, seldom, and kept while
//! the issuer is unreachable.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use url::Url;

use super::compact::Compact;
use super::http::{FetchError, Get, Headers, Http};
use super::keys::{KeySet, UNKNOWN_KEY};
use super::{AuthError, KeysCondition, jwk};
use crate::clock::{Clock, Tick};
use crate::config::Issuer;
use crate::domain::Algorithm;

/// Shortest time between the starts of two fetches, whether the first succeeded or not.
const COOLDOWN: Duration = Duration::from_secs(30);
/// Age from which [`Jwks::keep_fresh`] fetches keys again, off the request path.
const AGEING: Duration = Duration::from_mins(4);
/// Age from which a request starts a fetch, without waiting for it.
const STALE: Duration = Duration::from_mins(5);
/// Age from which requests wait for a fetch, unless the last one failed. A key that the issuer
/// withdrew is refused from then on at the latest.
const OLD: Duration = Duration::from_mins(10);
/// Age until which keys are used while the issuer is unreachable.
const USABLE: Duration = Duration::from_hours(24);
/// Longest time of one fetch.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest accepted document of keys, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// Client, clock and tasks of all requests to issuers.
#[derive(Clone)]
pub(super) struct Fetcher {
    pub(super) http: Http,
    pub(super) clock: Arc<dyn Clock>,
    /// Tracks fetches, which outlive the callers that wait for them.
    pub(super) tasks: TaskTracker,
}

/// The keys at one address.
pub(super) struct Jwks {
    issuer: Arc<str>,
    url: Url,
    allowed: Vec<Algorithm>,
    fetcher: Fetcher,
    state: Mutex<State>,
}

impl fmt::Debug for Jwks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Jwks({})", self.url)
    }
}

#[derive(Default)]
struct State {
    fetched: Option<FetchedKeys>,
    /// Start of the last fetch.
    began: Option<Tick>,
    /// True when the last completed fetch failed.
    failed: bool,
    /// Set while a fetch runs.
    running: Option<FetchEnd>,
}

/// Closes when a fetch ends.
type FetchEnd = watch::Receiver<()>;

/// The keys of the last document.
#[derive(Clone)]
pub(super) struct FetchedKeys {
    pub(super) set: Arc<KeySet>,
    /// Number of the document. Tokens are verified again when it changes.
    pub(super) generation: u64,
    since: Tick,
}

/// A running fetch. Wakes everybody who waits for it, however it ends.
struct RunningFetch {
    jwks: Arc<Jwks>,
    _end: watch::Sender<()>,
}

impl RunningFetch {
    async fn run(self) {
        // The state holds the outcome.
        let _ = self.jwks.fetch().await;
    }
}

impl Drop for RunningFetch {
    fn drop(&mut self) {
        self.jwks.state.lock().running = None;
    }
}

impl Jwks {
    /// Returns the keys at `url` that `issuer` may sign with. Fetches nothing yet.
    pub(super) fn new(issuer: &Issuer, url: &Url, fetcher: Fetcher) -> Arc<Self> {
        Arc::new(Self {
            issuer: Arc::clone(&issuer.issuer),
            url: url.clone(),
            allowed: issuer.algorithms.clone(),
            fetcher,
            state: Mutex::default(),
        })
    }

    /// Returns the keys, unless they are too old to be used.
    pub(super) fn usable(&self) -> Option<FetchedKeys> {
        let now = self.fetcher.clock.tick();
        let keys = self.state.lock().fetched.clone();
        keys.filter(|keys| now.since(keys.since) < USABLE)
    }

    /// Rejects `token` when its key id is unknown and a fetch that could bring it is not due.
    pub(super) fn screen(&self, token: &Compact<'_>) -> Result<(), AuthError> {
        let usable = self.usable();
        let now = self.fetcher.clock.tick();
        let can_fetch = {
            let state = self.state.lock();
            state.running.is_some() || state.began.is_none_or(|began| now.since(began) >= COOLDOWN)
        };
        match usable {
            Some(keys) if keys.set.knows(token) => Ok(()),
            _ if can_fetch => Ok(()),
            Some(_) => Err(UNKNOWN_KEY),
            None => Err(AuthError::Unavailable {
                retry_after: self.rest(),
            }),
        }
    }

    /// Returns the keys to verify `token` with. Waits once for a fetch when there are no keys, when
    /// the key id of `token` is unknown, or when the keys are old; never while no fetch is due.
    pub(super) async fn keys_for(
        self: &Arc<Self>,
        token: &Compact<'_>,
    ) -> Result<FetchedKeys, AuthError> {
        if let Some(keys) = self.usable().filter(|keys| keys.set.knows(token)) {
            let age = self.fetcher.clock.tick().since(keys.since);
            let end = (age >= STALE).then(|| self.begin()).flatten();
            if age < OLD || self.state.lock().failed {
                return Ok(keys);
            }
            wait_for(end).await;
        } else {
            wait_for(self.begin()).await;
        }
        self.usable().ok_or_else(|| AuthError::Unavailable {
            retry_after: self.rest(),
        })
    }

    /// Starts a fetch, unless one started within the cooldown. Returns the end of the running fetch.
    pub(super) fn begin(self: &Arc<Self>) -> Option<FetchEnd> {
        let now = self.fetcher.clock.tick();
        let mut state = self.state.lock();
        if state.running.is_some() {
            return state.running.clone();
        }
        if state.began.is_some_and(|began| now.since(began) < COOLDOWN) {
            return None;
        }
        let (sender, end) = watch::channel(());
        state.began = Some(now);
        state.running = Some(end.clone());
        drop(state);
        let fetch = RunningFetch {
            jwks: Arc::clone(self),
            _end: sender,
        };
        self.fetcher.tasks.spawn(fetch.run());
        Some(end)
    }

    /// Fetches the keys now. Returns the number of usable ones.
    pub(super) async fn fetch(&self) -> Result<usize, FetchError> {
        let since = self.fetcher.clock.tick();
        let read = self.read().await;
        let mut state = self.state.lock();
        state.failed = read.is_err();
        let keys = read.inspect_err(|error| {
            let issuer = &*self.issuer;
            tracing::warn!(
                issuer,
                %error,
                "fetching an issuer's keys failed; known keys stay in use for a day"
            );
        })?;
        let count = keys.len();
        state.fetched = Some(FetchedKeys {
            set: Arc::new(keys),
            generation: state.fetched.as_ref().map_or(1, |keys| keys.generation + 1),
            since,
        });
        drop(state);
        if count == 0 {
            tracing::warn!(
                issuer = &*self.issuer,
                "an issuer publishes no usable key; all of its tokens are refused; check jwks_url and \
                 algorithms"
            );
        }
        Ok(count)
    }

    async fn read(&self) -> Result<KeySet, FetchError> {
        let get = Get {
            url: self.url.clone(),
            credential: None,
            headers: Headers::new(),
            timeout: TIMEOUT,
            max_bytes: MAX_BYTES,
        };
        let document = self.fetcher.http.get(get).await?;
        jwk::read(&document, &self.allowed).ok_or(FetchError::NotUnderstood)
    }

    /// Returns the time until the next fetch is due, at least one second.
    fn rest(&self) -> Duration {
        let now = self.fetcher.clock.tick();
        let rested = self
            .state
            .lock()
            .began
            .map_or(COOLDOWN, |began| now.since(began));
        COOLDOWN.saturating_sub(rested).max(Duration::from_secs(1))
    }

    /// Starts a fetch when keys are missing or ageing and a fetch is due.
    pub(super) fn keep_fresh(self: &Arc<Self>) -> Option<FetchEnd> {
        let now = self.fetcher.clock.tick();
        let is_fresh = |keys: FetchedKeys| now.since(keys.since) < AGEING;
        if self.usable().is_some_and(is_fresh) {
            return None;
        }
        self.begin()
    }

    /// Returns whether the keys are available and fresh.
    pub(super) fn condition(&self) -> KeysCondition {
        match self.usable() {
            Some(keys) if keys.set.len() == 0 => KeysCondition::Down,
            Some(_) if self.state.lock().failed => KeysCondition::Degraded,
            Some(_) => KeysCondition::Operational,
            None => KeysCondition::Down,
        }
    }
}

/// Waits until the fetch ends, if there is one.
pub(super) async fn wait_for(end: Option<FetchEnd>) {
    if let Some(mut end) = end {
        // Nothing is ever sent: the channel closes when the fetch ends.
        let _ = end.changed().await;
    }
}
