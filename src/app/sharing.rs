//! Chooses where limits are kept: in memory, or on a Redis server that replicas share.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};

use crate::clock::Clock;
use crate::config::Config;
use crate::gate::windows::redis::{Link, RedisWindows};
use crate::gate::windows::share::SharedWindows;
use crate::gate::windows::{MemoryWindows, Windows};
use crate::gate::{Gate, Rates};

/// The gate, and where its limits are kept.
pub(super) struct Keeping {
    pub(super) gate: Gate,
    /// The windows in this process's memory.
    pub(super) local: Arc<MemoryWindows>,
    /// The windows that replicas share.
    pub(super) shared: Option<Arc<SharedWindows>>,
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
                shared: None,
            });
        };
        let link = link(url, config.redis.ca_file.as_deref())?;
        let link = Arc::new(link.waiting(config.redis.timeout));
        let local = memory(&rates.clone().share(config.redis.replicas));
        let on_server = RedisWindows::new(rates, rules.clone(), link);
        let windows = SharedWindows::new(on_server, Arc::clone(&local), config.redis.on_failure);
        let windows = Arc::new(windows);
        Ok(Self {
            gate: gate(Arc::<SharedWindows>::clone(&windows)),
            local,
            shared: Some(windows),
        })
    }
}

fn link(url: &SecretString, ca_file: Option<&Path>) -> anyhow::Result<Link> {
    let url = url.expose_secret();
    match ca_file {
        None => Link::new(url).context("redis.url cannot be used"),
        Some(path) => Link::trusting(url, path).context("redis.ca_file cannot be used"),
    }
}

/// Connects to the Redis server of the settings, if they name one, and proves that limits can be kept there.
pub async fn try_redis(config: &Config) -> Option<anyhow::Result<()>> {
    let url = config.redis.url.as_ref()?;
    let joined = match link(url, config.redis.ca_file.as_deref()) {
        Ok(link) => link.join().await.map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    Some(joined)
}
