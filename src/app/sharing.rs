//! Chooses where limits are kept: in memory, or on a Redis server that replicas share.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};

use crate::clock::Clock;
use crate::config::Config;
use crate::gate::windows::redis::{Absence, Link, RedisWindows};
use crate::gate::windows::share::SharedWindows;
use crate::gate::windows::{MemoryWindows, Windows};
use crate::gate::{Gate, Rates};
use crate::telemetry;

/// Short disconnections that are not further apart than this count as an outage.
const OFTEN: Duration = Duration::from_mins(1);

/// The gate, and where its limits are kept.
pub(super) struct Keeping {
    pub(super) gate: Gate,
    /// The windows in this process's memory.
    pub(super) local: Arc<MemoryWindows>,
    pub(super) sharing: Option<Sharing>,
}

/// The Redis server that replicas share, and the windows on it.
#[derive(Clone)]
pub(super) struct Sharing {
    link: Arc<Link>,
    pub(super) windows: Arc<SharedWindows>,
}

impl Keeping {
    /// Returns the kind that `config` names. Connects to nothing.
    pub(super) fn choose(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        let rules = &config.guard.rules;
        let memory =
            |rates: &Rates| Arc::new(MemoryWindows::new(rates, rules.clone(), Arc::clone(clock)));
        let gate = |windows: Arc<dyn Windows>| {
            Gate::new(windows, &config.limits, &config.guard, Arc::clone(clock))
        };
        let rates = Rates::of(&config.limits);
        let Some(url) = &config.redis.url else {
            let local = memory(&rates);
            let gate = gate(Arc::<MemoryWindows>::clone(&local));
            return Ok(Self {
                gate,
                local,
                sharing: None,
            });
        };
        let link = link(url, config.redis.ca_file.as_deref())?;
        let link = Arc::new(link.waiting(config.redis.timeout));
        let local = memory(&rates.clone().share(config.redis.replicas));
        let on_server = RedisWindows::new(rates, rules.clone(), Arc::clone(&link));
        let windows = SharedWindows::new(on_server, Arc::clone(&local), config.redis.on_failure);
        let windows = Arc::new(windows);
        Ok(Self {
            gate: gate(Arc::<SharedWindows>::clone(&windows)),
            local,
            sharing: Some(Sharing { link, windows }),
        })
    }
}

impl Sharing {
    /// Connects before the first request, if the server can be reached.
    pub(super) async fn join(&self) {
        if let Err(error) = self.link.join().await {
            let cause = telemetry::chain(&error);
            tracing::warn!(
                cause,
                "Redis cannot be reached: until it can, this replica does what redis.on_failure says"
            );
        }
    }

    /// Keeps the connection alive, and calls `joined` after every reconnection. Never returns.
    pub(super) async fn keep(&self, clock: &dyn Clock, joined: impl AsyncFn()) {
        let last = Mutex::new(None);
        let back = async |from| {
            let before = last
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .replace(clock.tick());
            // One short disconnection admits as few uncounted requests as the beginning of an outage. Many are an outage.
            let is_often = before.is_some_and(|before| clock.tick().since(before) < OFTEN);
            if from == Absence::Outage || is_often {
                self.windows.note_alone();
            }
            joined().await;
        };
        self.link.keep(back).await;
    }
}

fn link(url: &SecretString, ca_file: Option<&Path>) -> anyhow::Result<Link> {
    let url = url.expose_secret();
    match ca_file {
        None => Link::new(url).context("redis.url cannot be used"),
        Some(path) => Link::trusting(url, path).context("redis.ca_file cannot be used"),
    }
}

/// Returns where limits are kept, for the log.
pub const fn limits_kind(config: &Config) -> &'static str {
    if config.redis.url.is_some() {
        "redis"
    } else {
        "memory"
    }
}
