//! Bounds connections: in total, for each address, and those that hold memory for an incomplete request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::{Clock, Tick};
use crate::config::Server;
use crate::domain::{Network, canonical, is_private};
use std::time::Duration;

/// Connections that are still accepted from private addresses when `server.max_connections` is reached, for probes only.
/// Orchestrators and balancers probe from there, and they restart or drop a broker that does not answer.
const PROBES: usize = 64;

/// Connections that may hold an incomplete request for longer than a moment. Each takes up to 40 KiB, so that all of
/// them together stay below 40 MiB, however many connections there are.
const INCOMPLETE: usize = 1024;

/// Shortest time between two log lines about refused connections.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// The connections that a listener may have.
pub(super) struct Slots {
    all: Arc<Semaphore>,
    probes: Arc<Semaphore>,
    incomplete: Arc<Semaphore>,
    per_address: usize,
    trusted: Vec<IpNet>,
    by_network: Arc<Mutex<HashMap<Network, usize>>>,
    refused: Mutex<Refused>,
    clock: Arc<dyn Clock>,
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
    _permit: OwnedSemaphorePermit,
    _counted: Option<Counted>,
}

impl Slots {
    pub(super) fn new(settings: &Server, clock: Arc<dyn Clock>) -> Self {
        Self {
            all: Arc::new(Semaphore::new(settings.max_connections)),
            probes: Arc::new(Semaphore::new(PROBES)),
            incomplete: Arc::new(Semaphore::new(INCOMPLETE)),
            per_address: settings.max_connections_per_address,
            trusted: settings.trusted_proxies.clone(),
            by_network: Arc::default(),
            refused: Mutex::default(),
            clock,
        }
    }

    /// Reserves a slot for a connection from `address`. `None` when the connection has to be closed.
    pub(super) fn take(&self, address: IpAddr) -> Option<Slot> {
        let address = canonical(address);
        let is_proxy = self.trusted.iter().any(|net| net.contains(&address));
        // A private address may be a gateway or a balancer, with all callers of the world behind it.
        let is_shared = is_proxy || (is_private(address) && !address.is_loopback());
        let counted = if is_shared {
            None
        } else {
            let counted = Counted::below(&self.by_network, Network::of(address), self.per_address);
            if counted.is_none() {
                self.log_refusal(address, "server.max_connections_per_address");
                return None;
            }
            counted
        };
        let slot = |permit, probes_only| Slot {
            probes_only,
            _permit: permit,
            _counted: counted,
        };
        if let Ok(permit) = Arc::clone(&self.all).try_acquire_owned() {
            return Some(slot(permit, false));
        }
        self.log_refusal(address, "server.max_connections");
        let may_probe = is_proxy || is_private(address);
        let permit = may_probe.then(|| Arc::clone(&self.probes).try_acquire_owned().ok());
        Some(slot(permit.flatten()?, true))
    }

    /// Permits a connection to hold an incomplete request for longer than a moment.
    pub(super) fn hold_incomplete(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.incomplete).try_acquire_owned().ok()
    }

    /// Logs at most one line a minute, and how many connections were refused since the last one.
    fn log_refusal(&self, address: IpAddr, limit: &str) {
        let mut refused = self.refused.lock();
        refused.connections += 1;
        let now = self.clock.tick();
        if refused
            .logged
            .is_some_and(|at| now.since(at) < LOG_INTERVAL)
        {
            return;
        }
        let connections = std::mem::take(&mut refused.connections);
        refused.logged = Some(now);
        drop(refused);
        tracing::warn!(%address, limit, connections, "connections are refused: the limit is reached");
    }
}

/// One connection in the count of its network.
struct Counted {
    by_network: Arc<Mutex<HashMap<Network, usize>>>,
    network: Network,
}

impl Counted {
    /// Counts a connection of `network`, unless it has `most` of them.
    fn below(
        by_network: &Arc<Mutex<HashMap<Network, usize>>>,
        network: Network,
        most: usize,
    ) -> Option<Self> {
        let mut counts = by_network.lock();
        let count = counts.entry(network).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Self {
            by_network: Arc::clone(by_network),
            network,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.by_network.lock();
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}
