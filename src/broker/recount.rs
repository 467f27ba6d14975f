//! Counts recorded use in the windows again, so that a restart gives nobody a new allowance.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::Account;
use crate::gate::windows::MemoryWindows;
use crate::gate::windows::share::SharedWindows;
use crate::gate::{Claims, Purpose, Subject};
use crate::records::{Recent, Records, RecordsError};
use crate::telemetry;

/// Longest window that is counted again from the ledger.
const LONGEST_WINDOW: Duration = Duration::from_hours(24);

/// The windows, and the ledger that remembers what they counted.
pub struct Recount {
    /// The windows in this process's memory.
    pub local: Arc<MemoryWindows>,
    /// The windows that replicas share.
    pub shared: Option<Arc<SharedWindows>>,
    /// The number of replicas that record into the ledger.
    pub shares: usize,
    /// The ledger.
    pub records: Arc<dyn Records>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Recount {
    /// Counts the recorded use of the last day in this process's windows.
    pub async fn remember(&self) -> Result<(), RecordsError> {
        let now = self.clock.now();
        // These limits are this replica's share of the limits, and the ledger holds the use of all replicas: of each key,
        // one use in `shares` counts.
        let mut seen: HashMap<_, usize> = HashMap::new();
        for used in self.recent().await? {
            let mut claims = claims(&used);
            claims.retain(|limit, key| {
                let number = seen.entry((*limit, *key)).or_default();
                *number += 1;
                (*number - 1).is_multiple_of(self.shares)
            });
            self.local.remember(&claims, now.since(used.at));
        }
        Ok(())
    }

    /// Connects to what replicas share, before the first request.
    pub async fn join(&self) {
        let Some(shared) = &self.shared else {
            return;
        };
        if let Err(error) = shared.join().await {
            let cause = telemetry::chain(&error);
            tracing::warn!(
                cause,
                "Redis is unreachable at the start: this replica applies redis.on_failure until it is back"
            );
        }
        self.count_back().await;
    }

    /// Keeps the connection to what replicas share. Never returns.
    pub async fn keep(&self) {
        match &self.shared {
            Some(shared) => shared.keep(async || self.count_back().await).await,
            None => std::future::pending().await,
        }
    }

    /// Counts the recorded use in the windows on Redis when Redis has started empty.
    pub async fn count_back(&self) {
        let Some(shared) = &self.shared else {
            return;
        };
        // An unreachable server is asked again later.
        if !matches!(shared.on_redis().is_counted().await, Ok(false)) {
            return;
        }
        let recent = match self.recent().await {
            Ok(recent) => recent,
            Err(error) => {
                let cause = telemetry::chain(&error);
                tracing::warn!(
                    cause,
                    "Redis was empty, and the ledger cannot be read to fill its windows; retrying in ten seconds"
                );
                return;
            }
        };
        let used = recent.iter().rev().map(|used| (used.at, claims(used)));
        if shared.on_redis().count_back(used).await.is_ok() {
            tracing::info!(
                entries = recent.len(),
                "Redis was empty: its windows were filled from the ledger"
            );
        }
    }

    async fn recent(&self) -> Result<Vec<Recent>, RecordsError> {
        let since = self.clock.now().minus(LONGEST_WINDOW);
        self.records.recent(since).await
    }
}

/// Returns the windows that an entry of the ledger still counts in.
fn claims(used: &Recent) -> Claims {
    let subject = Subject {
        identity: used.account.as_ref().map(Account::key),
        neighbourhood: used.neighbourhood,
        ..Subject::default()
    };
    Purpose::from(used.kind).claims_of_the_past(&subject)
}
