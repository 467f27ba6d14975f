//! Owns the choice of what replicas share: limits and sessions on a Redis server, or nothing.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};

use crate::clock::Clock;
use crate::config::Config;
use crate::domain::SessionSeal;
use crate::gate::windows::redis::{Absence, Link, RedisWindows};
use crate::gate::windows::share::SharedWindows;
use crate::gate::windows::{MemoryWindows, Windows};
use crate::gate::{Gate, Rates};
use crate::store::kept::KeptStore;
use crate::store::memory::{Bounds, MemoryStore};
use crate::store::redis::RedisStore;
use crate::store::shared::SharedStore;
use crate::store::{SessionStore, Shelf};
use crate::telemetry;

/// How often a replica hears what others have ended.
const HEAR: Duration = Duration::from_secs(2);

/// Moments without the server that are not further apart are as good as an outage.
const OFTEN: Duration = Duration::from_mins(1);

/// What limits and sessions go by.
pub(super) struct Terms {
    pub(super) bounds: Bounds,
    /// Where sessions are written down, if they are to be.
    pub(super) shelf: Option<Arc<dyn Shelf>>,
}

/// Where limits and sessions are kept.
pub(super) struct Keeping {
    pub(super) gate: Gate,
    /// The windows in this process' memory.
    pub(super) local: Arc<MemoryWindows>,
    pub(super) store: Arc<dyn SessionStore>,
    pub(super) sharing: Option<Sharing>,
    /// Sessions that survive a restart of this one replica.
    pub(super) kept: Option<Arc<KeptStore>>,
}

/// The server that replicas share, and what is sent there when it is back.
#[derive(Clone)]
pub(super) struct Sharing {
    link: Arc<Link>,
    pub(super) windows: Arc<SharedWindows>,
    store: Arc<SharedStore>,
}

impl Keeping {
    /// As `config` says, by `terms`. Connects to nothing.
    pub(super) fn choose(
        config: &Config,
        terms: Terms,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let rules = &config.guard.rules;
        let memory =
            |rates: &Rates| Arc::new(MemoryWindows::new(rates, rules.clone(), Arc::clone(clock)));
        let gate = |windows: Arc<dyn Windows>| {
            Gate::new(windows, &config.limits, &config.guard, Arc::clone(clock))
        };
        let rates = Rates::of(&config.limits);
        let sessions = MemoryStore::new(terms.bounds, Arc::clone(clock));
        let Some(url) = &config.redis.url else {
            let local = memory(&rates);
            let gate = gate(Arc::<MemoryWindows>::clone(&local));
            let (store, kept) = alone(sessions, terms.shelf, clock);
            return Ok(Self {
                gate,
                local,
                store,
                sharing: None,
                kept,
            });
        };
        let link = link(url, config.redis.ca_file.as_deref())?;
        let link = Arc::new(link.waiting(config.redis.timeout));
        let local = memory(&rates.clone().share(config.redis.replicas));
        let on_server = RedisWindows::new(rates, rules.clone(), Arc::clone(&link));
        let windows = SharedWindows::new(on_server, Arc::clone(&local), config.redis.on_failure);
        let windows = Arc::new(windows);
        let on_server = RedisStore::new(terms.bounds, Arc::clone(clock), Arc::clone(&link));
        let store = Arc::new(SharedStore::new(on_server, sessions));
        Ok(Self {
            gate: gate(Arc::<SharedWindows>::clone(&windows)),
            local,
            store: Arc::<SharedStore>::clone(&store),
            sharing: Some(Sharing {
                link,
                windows,
                store,
            }),
            kept: None,
        })
    }
}

/// The sessions of a replica without others: written down if there is a shelf.
fn alone(
    sessions: MemoryStore,
    shelf: Option<Arc<dyn Shelf>>,
    clock: &Arc<dyn Clock>,
) -> (Arc<dyn SessionStore>, Option<Arc<KeptStore>>) {
    match shelf {
        None => (Arc::new(sessions), None),
        Some(shelf) => {
            let kept = Arc::new(KeptStore::new(sessions, shelf, Arc::clone(clock)));
            (Arc::<KeptStore>::clone(&kept), Some(kept))
        }
    }
}

impl Sharing {
    /// Connects before the first request, if the server is there.
    pub(super) async fn join(&self) {
        if let Err(error) = self.link.join().await {
            let cause = telemetry::chain(&error);
            tracing::warn!(
                cause,
                "Redis cannot be reached: until it can, this replica goes by what it knows itself (redis.on_failure)"
            );
        }
    }

    /// Keeps the connection alive; never returns. Calls `joined` whenever the server is back.
    pub(super) async fn keep(&self, clock: &dyn Clock, joined: impl AsyncFn()) {
        let last = Mutex::new(None);
        let back = async |from| {
            let before = last
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .replace(clock.tick());
            // What one moment lets through beside the server is as little as when an outage begins; many are an outage.
            let is_often = before.is_some_and(|before| clock.tick().since(before) < OFTEN);
            if from == Absence::Outage || is_often {
                self.windows.note_alone();
            }
            self.store.send().await;
            joined().await;
        };
        let hearing = async {
            let mut turns = clock.every(HEAR);
            loop {
                turns.turn().await;
                self.store.send().await;
            }
        };
        tokio::join!(self.link.keep(back), hearing);
    }
}

fn link(url: &SecretString, ca_file: Option<&Path>) -> anyhow::Result<Link> {
    let url = url.expose_secret();
    match ca_file {
        None => Link::new(url).context("redis.url cannot be used"),
        Some(path) => Link::trusting(url, path).context("redis.ca_file cannot be used"),
    }
}

/// Where sessions are kept, for the log.
pub const fn sessions_kind(config: &Config) -> &'static str {
    match (config.redis.url.is_some(), config.session.persist) {
        (true, _) => "redis",
        (false, true) => "memory, written down in the ledger's database",
        (false, false) => "memory",
    }
}

/// Where limits are kept, for the log.
pub const fn limits_kind(config: &Config) -> &'static str {
    if config.redis.url.is_some() {
        "redis"
    } else {
        "memory"
    }
}

/// What sessions are stored under: everybody's who knows the secret, or this process' own.
pub(super) fn seal(config: &Config) -> SessionSeal {
    let secret = config.session.secret.as_ref();
    secret.map_or_else(SessionSeal::random, |secret| {
        SessionSeal::keyed(secret.expose_secret().as_bytes())
    })
}
