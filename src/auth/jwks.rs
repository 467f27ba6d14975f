//! Owns an issuer's published keys: fetched by one at a time, seldom, and kept while the issuer is away.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use url::Url;

use super::compact::Compact;
use super::http::{Ask, FetchError, Headers, Http};
use super::keys::{KeySet, UNKNOWN_KEY};
use super::{AuthError, KeysCondition, jwk};
use crate::clock::{Clock, Tick};
use crate::config::{Algorithm, Issuer};

/// Least time between the beginnings of two fetches, whatever became of the first.
const COOLDOWN: Duration = Duration::from_secs(30);
/// Age from which keys are fetched anew on the side, where somebody looks after that ([`Jwks::keep_fresh`]).
const AGEING: Duration = Duration::from_mins(4);
/// Age from which the first to use them has them fetched anew, on the side.
const STALE: Duration = Duration::from_mins(5);
/// Age from which those who use them wait for new ones, unless the last fetch failed: a key that was taken out of the
/// document is refused from then on at the latest.
const OLD: Duration = Duration::from_mins(10);
/// Age until which they can be used while the issuer is away.
const USABLE: Duration = Duration::from_hours(24);
/// Longest time of a fetch.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest document.
const LARGEST: usize = 256 * 1024;

/// What fetching needs.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) http: Arc<Http>,
    pub(super) clock: Arc<dyn Clock>,
    /// Where fetches run: they outlive the callers that wait for them.
    pub(super) tasks: TaskTracker,
}

/// The keys behind one address.
pub(super) struct Jwks {
    issuer: Arc<str>,
    url: Url,
    allowed: Vec<Algorithm>,
    means: Means,
    state: Mutex<State>,
}

impl fmt::Debug for Jwks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Jwks({})", self.url)
    }
}

#[derive(Default)]
struct State {
    had: Option<Had>,
    /// Since when the last fetch is under way or over.
    began: Option<Tick>,
    /// Whether the last fetch that is over failed.
    failed: bool,
    /// Open while a fetch is under way.
    flight: Option<Landing>,
}

/// Closes when a fetch is over.
type Landing = watch::Receiver<()>;

/// Keys that were had.
#[derive(Clone)]
pub(super) struct Had {
    pub(super) keys: Arc<KeySet>,
    /// Different for every document.
    pub(super) generation: u64,
    since: Tick,
}

/// A fetch under way. However it ends, those who wait for it are woken.
struct Flight {
    jwks: Arc<Jwks>,
    _landed: watch::Sender<()>,
}

impl Flight {
    async fn run(self) {
        // What became of it stands in the state.
        let _ = self.jwks.fetch().await;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.jwks.state().flight = None;
    }
}

impl Jwks {
    /// Those at `url` that `issuer` may sign with. Asks nobody yet.
    pub(super) fn new(issuer: &Issuer, url: &Url, means: Means) -> Arc<Self> {
        Arc::new(Self {
            issuer: Arc::clone(&issuer.issuer),
            url: url.clone(),
            allowed: issuer.algorithms.clone(),
            means,
            state: Mutex::default(),
        })
    }

    /// Every change to the state is whole, so a panic elsewhere leaves it usable.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys that can be used now, whatever their age.
    pub(super) fn usable(&self) -> Option<Had> {
        let now = self.means.clock.tick();
        let had = self.state().had.clone();
        had.filter(|had| now.since(had.since) < USABLE)
    }

    /// Rejects `token` when its key id is unknown and a fetch that could bring it is not due.
    pub(super) fn screen(&self, token: &Compact<'_>) -> Result<(), AuthError> {
        let usable = self.usable();
        let now = self.means.clock.tick();
        let can_fetch = {
            let state = self.state();
            state.flight.is_some() || state.began.is_none_or(|began| now.since(began) >= COOLDOWN)
        };
        match usable {
            Some(had) if had.keys.knows(token) => Ok(()),
            _ if can_fetch => Ok(()),
            Some(_) => Err(UNKNOWN_KEY),
            None => Err(AuthError::Unavailable {
                retry_after: self.rest(),
            }),
        }
    }

    /// The keys to verify `token` with. Waits for a fetch when there are none, when `token` names another, or when they
    /// are old; but nobody waits twice, nor while a fetch is not due.
    pub(super) async fn keys_for(self: &Arc<Self>, token: &Compact<'_>) -> Result<Had, AuthError> {
        if let Some(had) = self.usable().filter(|had| had.keys.knows(token)) {
            let age = self.means.clock.tick().since(had.since);
            let landing = (age >= STALE).then(|| self.begin()).flatten();
            if age < OLD || self.state().failed {
                return Ok(had);
            }
            land(landing).await;
        } else {
            land(self.begin()).await;
        }
        self.usable().ok_or_else(|| AuthError::Unavailable {
            retry_after: self.rest(),
        })
    }

    /// Has keys fetched anew, unless that was done a moment ago.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Landing> {
        let now = self.means.clock.tick();
        let mut state = self.state();
        if state.flight.is_some() {
            return state.flight.clone();
        }
        if state.began.is_some_and(|began| now.since(began) < COOLDOWN) {
            return None;
        }
        let (landed, landing) = watch::channel(());
        state.began = Some(now);
        state.flight = Some(landing.clone());
        drop(state);
        let flight = Flight {
            jwks: Arc::clone(self),
            _landed: landed,
        };
        self.means.tasks.spawn(flight.run());
        Some(landing)
    }

    /// Fetches them now: how many there are.
    pub(super) async fn fetch(&self) -> Result<usize, FetchError> {
        let since = self.means.clock.tick();
        let read = self.read().await;
        let mut state = self.state();
        state.failed = read.is_err();
        let keys = read.inspect_err(|error| {
            let issuer = &*self.issuer;
            tracing::warn!(issuer, %error, "the keys of an issuer could not be fetched");
        })?;
        let count = keys.len();
        state.had = Some(Had {
            keys: Arc::new(keys),
            generation: state.had.as_ref().map_or(1, |had| had.generation + 1),
            since,
        });
        drop(state);
        if count == 0 {
            tracing::warn!(
                issuer = &*self.issuer,
                "an issuer publishes no key that can be used"
            );
        }
        Ok(count)
    }

    async fn read(&self) -> Result<KeySet, FetchError> {
        let ask = Ask {
            url: self.url.clone(),
            credential: None,
            headers: Headers::default(),
            timeout: TIMEOUT,
            most: LARGEST,
        };
        let document = self.means.http.get(ask).await?;
        jwk::read(&document, &self.allowed).ok_or(FetchError::NotUnderstood)
    }

    /// Until it is worth asking for them again: whole seconds, at least one.
    fn rest(&self) -> Duration {
        let now = self.means.clock.tick();
        let rested = self
            .state()
            .began
            .map_or(COOLDOWN, |began| now.since(began));
        COOLDOWN.saturating_sub(rested).max(Duration::from_secs(1))
    }

    /// Has keys fetched that are missing or not fresh any more, when that is due.
    pub(super) fn keep_fresh(self: &Arc<Self>) -> Option<Landing> {
        let now = self.means.clock.tick();
        let is_fresh = |had: Had| now.since(had.since) < AGEING;
        if self.usable().is_some_and(is_fresh) {
            return None;
        }
        self.begin()
    }

    /// Whether they are at hand.
    pub(super) fn condition(&self) -> KeysCondition {
        match self.usable() {
            Some(had) if had.keys.len() == 0 => KeysCondition::Down,
            Some(_) if self.state().failed => KeysCondition::Degraded,
            Some(_) => KeysCondition::Operational,
            None => KeysCondition::Down,
        }
    }
}

/// Waits until a fetch is over, if there is one.
pub(super) async fn land(landing: Option<Landing>) {
    if let Some(mut landing) = landing {
        // Nothing is ever sent: it ends when the sender does.
        let _ = landing.changed().await;
    }
}
