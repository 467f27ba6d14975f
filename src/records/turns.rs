//! Bounded turns for look-ups: few at once, and fewer for one network, so that one network cannot make all others wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::LookUpError;
use crate::clock::Clock;
use crate::domain::Network;

/// Most turns of one network that are taken or waited for in front of the others.
const OF_ONE: usize = 4;
/// Longest wait for a turn.
const WAIT: Duration = Duration::from_secs(1);

/// The turns of all networks.
pub struct Turns {
    all: Semaphore,
    by_network: Mutex<HashMap<Network, Arc<Semaphore>>>,
}

/// A turn. Dropping it lets the next one in.
pub struct Turn<'a> {
    _theirs: Option<OwnedSemaphorePermit>,
    _one: Option<SemaphorePermit<'a>>,
}

impl Turns {
    /// Returns turns of which `at_once` can be taken at the same time.
    pub fn new(at_once: usize) -> Self {
        Self {
            all: Semaphore::new(at_once),
            by_network: Mutex::default(),
        }
    }

    /// Waits, a second at most, for a turn of somebody in `network`; `None` for work that no stranger can ask for. Further
    /// requests of one network wait behind its own, and not in front of others.
    pub async fn take(
        &self,
        network: Option<Network>,
        clock: &dyn Clock,
    ) -> Result<Turn<'_>, LookUpError> {
        let theirs = network.map(|network| self.of(network));
        let turn = async {
            // Cannot fail: the semaphores are never closed.
            let theirs = match theirs {
                Some(theirs) => theirs.acquire_owned().await.ok(),
                None => None,
            };
            Turn {
                _theirs: theirs,
                _one: self.all.acquire().await.ok(),
            }
        };
        let turn = clock.timeout(WAIT, turn).await;
        turn.map_err(|_| LookUpError::Crowded)
    }

    /// Returns the turns of one network. They are kept as long as somebody from there has one or waits for one.
    fn of(&self, network: Network) -> Arc<Semaphore> {
        let mut by_network = self.by_network.lock();
        by_network.retain(|_, turns| Arc::strong_count(turns) > 1);
        let turns = by_network.entry(network);
        Arc::clone(turns.or_insert_with(|| Arc::new(Semaphore::new(OF_ONE))))
    }
}
