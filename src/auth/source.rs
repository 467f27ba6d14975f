//! Provides the keys of an issuer: those of the settings, or those that the issuer publishes. Fetches
//! the latter one at a time, seldom, and keeps them while the issuer is unreachable.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use secrecy::ExposeSecret;
use tokio::sync::watch;
use url::Url;

use super::compact::Compact;
use super::http::{FetchError, Fetcher, send};
use super::keys::{KeySet, UNKNOWN_KEY};
use super::{AuthError, KeysCondition, jwk};
use crate::clock::Tick;
use crate::config::{Issuer, KeySource};
use crate::domain::Algorithm;

/// Shortest time between the starts of two fetches, whether the first succeeded or not.
const COOLDOWN: Duration = Duration::from_secs(30);
/// Age from which [`Source::keep_fresh`] fetches keys again, off the request path.
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

/// The keys of one entry of the settings.
pub(super) struct Source {
    issuer: Arc<str>,
    /// Where the issuer publishes them; `None` for keys that the settings hold.
    url: Option<Url>,
    allowed: Vec<Algorithm>,
    fetcher: Fetcher,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// Start of the last fetch.
    began: Option<Tick>,
    /// True when the last completed fetch failed.
    failed: bool,
    /// Closes when the last fetch ends, however it ends.
    end: Option<watch::Receiver<()>>,
}

impl State {
    fn is_fetching(&self) -> bool {
        self.end
            .as_ref()
            .is_some_and(|end| end.has_changed().is_ok())
    }
}

/// The keys of the settings, or of the last document.
#[derive(Clone)]
struct Held {
    set: Arc<KeySet>,
    since: Tick,
}

impl Source {
    /// Returns the keys that `rules` describe. Fetches nothing yet.
    pub(super) fn new(rules: &Issuer, fetcher: &Fetcher) -> Result<Arc<Self>, &'static str> {
        let allowed = &rules.algorithms;
        let (url, set) = match &rules.keys {
            KeySource::Hmac(secret) => {
                let set = KeySet::from_secret(secret.expose_secret(), allowed)?;
                (None, Some(set))
            }
            KeySource::Pem(text) => (None, Some(KeySet::from_pem(text, allowed)?)),
            KeySource::Jwks(url) => {
                fetcher.admit(url)?;
                (Some(url.clone()), None)
            }
        };
        let held = set.map(|set| Held {
            set: Arc::new(set),
            since: fetcher.clock.tick(),
        });
        Ok(Arc::new(Self {
            issuer: Arc::clone(&rules.issuer),
            url,
            allowed: allowed.clone(),
            fetcher: fetcher.clone(),
            state: Mutex::new(State {
                held,
                ..State::default()
            }),
        }))
    }

    /// Returns the keys, unless they are too old to be used.
    fn usable(&self) -> Option<Held> {
        let held = self.state.lock().held.clone();
        held.filter(|held| self.age(held) < USABLE)
    }

    /// Returns the time since the keys were fetched. Keys of the settings do not age.
    fn age(&self, held: &Held) -> Duration {
        let age = || self.fetcher.clock.tick().since(held.since);
        self.url.as_ref().map_or(Duration::ZERO, |_| age())
    }

    /// Returns whether `set` are the keys in use.
    pub(super) fn is_current(&self, set: &Arc<KeySet>) -> bool {
        self.usable()
            .is_some_and(|held| Arc::ptr_eq(&held.set, set))
    }

    /// Rejects `token` when its key id is unknown and a fetch that could bring it is not due.
    pub(super) fn screen(&self, token: &Compact<'_>) -> Result<(), AuthError> {
        let usable = self.usable();
        let can_fetch = self.rest().is_zero() || self.state.lock().is_fetching();
        match usable {
            Some(held) if held.set.knows(token) => Ok(()),
            _ if can_fetch => Ok(()),
            Some(_) => Err(UNKNOWN_KEY),
            None => Err(self.unavailable()),
        }
    }

    /// Verifies the signature of `token`. Returns the keys that it was verified with.
    pub(super) async fn verify(
        self: &Arc<Self>,
        token: &Compact<'_>,
        algorithm: Algorithm,
    ) -> Result<Arc<KeySet>, AuthError> {
        let set = self.keys_for(token).await?.set;
        let verified = set.verify(token, algorithm);
        if verified.is_err() && token.kid.is_none() {
            // Without a key id, a failure is the only sign of a new key.
            self.begin();
        }
        verified.map(|()| set)
    }

    /// Returns the keys to verify `token` with. Waits once for a fetch when there are no keys, when
    /// the key id of `token` is unknown, or when the keys are old; never while no fetch is due.
    async fn keys_for(self: &Arc<Self>, token: &Compact<'_>) -> Result<Held, AuthError> {
        let known = self.usable().filter(|held| held.set.knows(token));
        let age = known.as_ref().map(|held| self.age(held));
        if age.is_none_or(|age| age >= STALE) {
            self.begin();
        }
        if let Some(held) = known.filter(|held| self.age(held) < OLD || self.state.lock().failed) {
            return Ok(held);
        }
        self.wait().await;
        self.usable().ok_or_else(|| self.unavailable())
    }

    /// Starts a fetch of published keys, unless one is running or started within the cooldown.
    fn begin(self: &Arc<Self>) {
        let is_due = self.url.is_some() && self.rest().is_zero();
        let mut state = self.state.lock();
        if !is_due || state.is_fetching() {
            return;
        }
        let (running, end) = watch::channel(());
        state.began = Some(self.fetcher.clock.tick());
        state.end = Some(end);
        drop(state);
        let source = Arc::clone(self);
        self.fetcher.tasks.spawn(async move {
            // The state holds the outcome.
            let _ = source.fetch().await;
            drop(running);
        });
    }

    /// Waits until the running fetch ends, if there is one.
    pub(super) async fn wait(&self) {
        let end = self.state.lock().end.clone();
        if let Some(mut end) = end {
            // Nothing is ever sent: the channel closes when the fetch ends.
            let _ = end.changed().await;
        }
    }

    /// Fetches published keys now. Returns the number of usable ones.
    pub(super) async fn fetch(&self) -> Result<usize, FetchError> {
        let Some(url) = &self.url else {
            return Ok(self.usable().map_or(0, |held| held.set.len()));
        };
        let since = self.fetcher.clock.tick();
        let document = send(self.fetcher.get(url.clone(), TIMEOUT), MAX_BYTES).await;
        let keys = document.and_then(|document| {
            jwk::read(&document, &self.allowed).ok_or(FetchError::NotUnderstood)
        });
        let mut state = self.state.lock();
        state.failed = keys.is_err();
        let issuer = &*self.issuer;
        let keys = keys.inspect_err(|error| {
            tracing::warn!(
                issuer,
                %error,
                "fetching an issuer's keys failed; known keys stay in use for a day"
            );
        })?;
        let count = keys.len();
        let set = Arc::new(KeySet::Published(keys));
        state.held = Some(Held { set, since });
        drop(state);
        if count == 0 {
            tracing::warn!(
                issuer,
                "an issuer publishes no usable key; all of its tokens are refused; check jwks_url and \
                 algorithms"
            );
        }
        Ok(count)
    }

    /// Returns the time until a fetch may start.
    fn rest(&self) -> Duration {
        let now = self.fetcher.clock.tick();
        let began = self.state.lock().began;
        began.map_or(Duration::ZERO, |began| {
            COOLDOWN.saturating_sub(now.since(began))
        })
    }

    fn unavailable(&self) -> AuthError {
        AuthError::Unavailable {
            retry_after: self.rest().max(Duration::from_secs(1)),
        }
    }

    /// Starts a fetch when keys are missing or ageing and a fetch is due.
    pub(super) fn keep_fresh(self: &Arc<Self>) {
        if self.usable().is_none_or(|held| self.age(&held) >= AGEING) {
            self.begin();
        }
    }

    /// Returns whether the keys are available and fresh.
    pub(super) fn condition(&self) -> KeysCondition {
        match self.usable() {
            Some(held) if held.set.len() == 0 => KeysCondition::Down,
            Some(_) if self.state.lock().failed => KeysCondition::Degraded,
            Some(_) => KeysCondition::Operational,
            None => KeysCondition::Down,
        }
    }
}
