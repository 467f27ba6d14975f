//! Bounds connections: in total, for each address, and those that hold memory for an incomplete request.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::{Clock, Tick};
use crate::config::Server;
use crate::domain::{Network, canonical, is_private};

/// Connections that are still accepted from private addresses when `server.max_connections` is reached, for probes only.
/// Orchestrators and balancers probe from there, and they restart or drop a broker that does not answer.
const PROBES: usize = 64;

/// Requests that are read at the same moment. Most are complete when they are, and take microseconds.
const TURNS: usize = 1024;

/// Requests of one network that are read at the same moment. Further ones wait, so that a flood delays its own network only.
const TURNS_OF_ONE: usize = 8;

/// Memory for incomplete requests that take longer than a moment to arrive, in bytes, however many connections there are.
const INCOMPLETE: usize = 32 * 1024 * 1024;

/// The part of it that one network may hold. Addresses with many callers behind them may hold all of it.
const INCOMPLETE_OF_ONE: usize = 2560 * 1024;

/// Shortest time between two log lines about refused connections.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// The connections that a listener may have.
pub(super) struct Slots {
    all: Arc<Semaphore>,
    probes: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    per_address: usize,
    trusted: Vec<IpNet>,
    counts: Arc<Mutex<Counts>>,
    refused: Mutex<Refused>,
    clock: Arc<dyn Clock>,
}

/// What is in use.
#[derive(Default)]
struct Counts {
    /// Memory for incomplete requests.
    bytes: usize,
    by_network: HashMap<Network, Count>,
}

/// What one network uses.
struct Count {
    connections: usize,
    bytes: usize,
    turns: Arc<Semaphore>,
}

impl Default for Count {
    fn default() -> Self {
        Self {
            connections: 0,
            bytes: 0,
            turns: Arc::new(Semaphore::new(TURNS_OF_ONE)),
        }
    }
}

/// Connections refused since the last log line.
#[derive(Default)]
struct Refused {
    connections: u64,
    logged: Option<Tick>,
}

/// The slot of one connection. Dropping it frees the slot.
pub(super) struct Slot {
    /// True when only probes are answered on this connection.
    pub(super) probes_only: bool,
    /// The network that the connection is counted for.
    pub(super) network: Option<Network>,
    /// The turns of that network.
    turns: Option<Arc<Semaphore>>,
    counts: Arc<Mutex<Counts>>,
    _permit: OwnedSemaphorePermit,
}

/// The permits to read a request.
pub(super) type Turn = [Option<OwnedSemaphorePermit>; 2];

/// Memory that an incomplete request may take. Dropping it gives it back.
pub(super) struct Held {
    bytes: usize,
    network: Option<Network>,
    counts: Arc<Mutex<Counts>>,
}

impl Slots {
    pub(super) fn new(settings: &Server, clock: Arc<dyn Clock>) -> Self {
        Self {
            all: Arc::new(Semaphore::new(settings.max_connections)),
            probes: Arc::new(Semaphore::new(PROBES)),
            turns: Arc::new(Semaphore::new(TURNS)),
            per_address: settings.max_connections_per_address,
            trusted: settings.trusted_proxies.clone(),
            counts: Arc::default(),
            refused: Mutex::default(),
            clock,
        }
    }

    /// Reserves a slot for a connection from `address`. `None` when the connection has to be closed.
    pub(super) fn take(&self, address: IpAddr) -> Option<Slot> {
        let address = canonical(address);
        let is_proxy = self.trusted.iter().any(|net| net.contains(&address));
        let permit = acquire(&self.all);
        let probes_only = permit.is_none();
        if probes_only {
            self.log_refusal(address, "server.max_connections");
        }
        let may_probe = is_proxy || is_private(address);
        let permit = permit.or_else(|| acquire(&self.probes).filter(|_| may_probe))?;
        // A private address may be a gateway or a balancer, with all callers of the world behind it.
        let is_shared = is_proxy || (is_private(address) && !address.is_loopback());
        let network = (!is_shared).then(|| Network::of(address));
        let turns = network.map(|network| self.count(network));
        if let Some(None) = turns {
            self.log_refusal(address, "server.max_connections_per_address");
            return None;
        }
        Some(Slot {
            probes_only,
            network,
            turns: turns.flatten(),
            counts: Arc::clone(&self.counts),
            _permit: permit,
        })
    }

    /// Waits until a request may be read. Probes wait for nobody.
    pub(super) async fn turn(&self, slot: &Slot) -> Turn {
        if slot.probes_only {
            return Turn::default();
        }
        let own = match &slot.turns {
            Some(turns) => Arc::clone(turns).acquire_owned().await.ok(),
            None => None,
        };
        [own, Arc::clone(&self.turns).acquire_owned().await.ok()]
    }

    /// Reserves `bytes` for an incomplete request on a connection of `network`.
    pub(super) fn hold(&self, network: Option<Network>, bytes: usize) -> Option<Held> {
        self.counts.lock().hold(network, bytes).then(|| Held {
            bytes,
            network,
            counts: Arc::clone(&self.counts),
        })
    }

    /// Counts a connection of `network`, and returns the turns of that network. `None` when it has too many connections.
    fn count(&self, network: Network) -> Option<Arc<Semaphore>> {
        let mut counts = self.counts.lock();
        let count = counts.by_network.entry(network).or_default();
        (count.connections < self.per_address).then(|| {
            count.connections += 1;
            Arc::clone(&count.turns)
        })
    }

    /// Logs at most one line a minute, and how many connections were refused since the last one.
    fn log_refusal(&self, address: IpAddr, limit: &str) {
        let now = self.clock.tick();
        let is_recent = |at| now.since(at) < LOG_INTERVAL;
        let mut refused = self.refused.lock();
        refused.connections += 1;
        if refused.logged.is_some_and(is_recent) {
            return;
        }
        let connections = std::mem::take(&mut refused.connections);
        refused.logged = Some(now);
        drop(refused);
        tracing::warn!(%address, limit, connections, "connections are refused: the limit is reached");
    }
}

fn acquire(permits: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(permits).try_acquire_owned().ok()
}

impl Counts {
    /// Notes that an incomplete request of `network` uses `bytes`. Returns false when that is too much.
    fn hold(&mut self, network: Option<Network>, bytes: usize) -> bool {
        if self.bytes + bytes > INCOMPLETE {
            return false;
        }
        if let Some(network) = network {
            let count = self.by_network.entry(network).or_default();
            if count.bytes + bytes > INCOMPLETE_OF_ONE {
                return false;
            }
            count.bytes += bytes;
        }
        self.bytes += bytes;
        true
    }

    /// Notes that `network` uses this much less.
    fn free(&mut self, network: Option<Network>, connections: usize, bytes: usize) {
        self.bytes -= bytes;
        let Some(Entry::Occupied(mut entry)) =
            network.map(|network| self.by_network.entry(network))
        else {
            return;
        };
        let count = entry.get_mut();
        count.connections -= connections;
        count.bytes -= bytes;
        if count.connections == 0 && count.bytes == 0 {
            entry.remove();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.counts.lock().free(self.network, 0, self.bytes);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.counts.lock().free(self.network, 1, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a06_memory_for_incomplete_requests_is_bounded_for_each_network_and_for_all() {
        const BODY: usize = 152 * 1024;
        let mut counts = Counts::default();
        let mut held = [0; 200];
        for (last, held) in (0_u8..).zip(&mut held) {
            let network = Some(Network::of(IpAddr::from([192, 0, 2, last])));
            while counts.hold(network, BODY) {
                *held += 1;
            }
        }
        assert_eq!(held[0], INCOMPLETE_OF_ONE / BODY);
        assert_eq!(held.iter().sum::<usize>(), INCOMPLETE / BODY);
        assert!(!counts.hold(None, BODY), "all of it is held");

        for (last, held) in (0_u8..).zip(held) {
            let network = Some(Network::of(IpAddr::from([192, 0, 2, last])));
            (0..held).for_each(|_| counts.free(network, 0, BODY));
        }
        assert!(counts.by_network.is_empty());
        let behind_a_proxy = (0..1000).take_while(|_| counts.hold(None, BODY));
        assert_eq!(behind_a_proxy.count(), INCOMPLETE / BODY);
    }
}
