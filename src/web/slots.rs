//! Bounds connections: in total, for each address, and those that hold memory for an incomplete request.

use std::collections::HashMap;
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
    by_network: Arc<ByNetwork>,
    refused: Mutex<Refused>,
    clock: Arc<dyn Clock>,
}

/// The number of open connections of each network.
type ByNetwork = Mutex<HashMap<Network, usize>>;

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
    network: Option<Network>,
    by_network: Arc<ByNetwork>,
    _permit: OwnedSemaphorePermit,
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
        if network.is_some_and(|network| !self.count(network)) {
            self.log_refusal(address, "server.max_connections_per_address");
            return None;
        }
        Some(Slot {
            probes_only,
            network,
            by_network: Arc::clone(&self.by_network),
            _permit: permit,
        })
    }

    /// Permits a connection to hold an incomplete request for longer than a moment.
    pub(super) fn hold_incomplete(&self) -> Option<OwnedSemaphorePermit> {
        acquire(&self.incomplete)
    }

    /// Counts a connection of `network`. Returns false when the network has too many.
    fn count(&self, network: Network) -> bool {
        let mut counts = self.by_network.lock();
        let count = counts.entry(network).or_default();
        let fits = *count < self.per_address;
        *count += usize::from(fits);
        fits
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

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(network) = self.network else { return };
        let mut counts = self.by_network.lock();
        if let Some(count) = counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&network);
            }
        }
    }
}
