//! Owns what is done off the path of any request: remembering at the start, sweeping, looking, closing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::sharing::Sharing;
use crate::clock::Clock;
use crate::domain::{Account, Kind};
use crate::gate::windows::MemoryWindows;
use crate::gate::{Claims, Gate, Purpose, Subject};
use crate::records::{Recent, Records, RecordsError};
use crate::telemetry;
use crate::web::state::AppState;

/// How often expired entries are swept out.
const SWEEP: Duration = Duration::from_secs(10);
/// How often it is looked whether issuers' keys are due. They have a pace of their own, and looking seldom adds to it.
const KEYS: Duration = Duration::from_secs(1);
/// How often it is looked whether somebody has set the wall clock.
const CLOCK: Duration = Duration::from_secs(1);
/// A jump that is worth a line. Smaller ones are how clocks are kept right.
const JUMP: Duration = Duration::from_secs(10);
/// How often old entries of the ledger are forgotten, and how often the intents of replicas that are gone are given up.
const LEDGER: Duration = Duration::from_mins(1);
/// An intent without outcome for so long has no broker any more that works on it.
const LONGEST_INTENT: Duration = Duration::from_mins(2);
/// The longest window that the ledger is asked about.
const LONGEST_WINDOW: Duration = Duration::from_hours(24);
/// What one turn removes from the ledger at most, so that nobody waits for it.
const MOST_CHUNKS: usize = 60;

/// What is done once in a while.
pub(super) struct Upkeep {
    pub(super) gate: Gate,
    pub(super) local: Arc<MemoryWindows>,
    pub(super) sharing: Option<Sharing>,
    /// Replicas whose use the ledger has.
    pub(super) shares: usize,
    pub(super) records: Arc<dyn Records>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) retention: Duration,
    pub(super) probe_interval: Duration,
}

impl Upkeep {
    /// Counts the recorded use of the last day in the windows, so that a restart gives nobody a new allowance.
    pub(super) async fn remember(&self) -> anyhow::Result<()> {
        let now = self.clock.now();
        let since = now.minus(LONGEST_WINDOW);
        let help = "the ledger cannot be read at the start (see ledger.url)";
        // These limits are this replica's share, and the ledger has what all of them have used: of each key one in so many.
        let mut seen: HashMap<_, usize> = HashMap::new();
        for used in self.records.recent(since).await.context(help)? {
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
    pub(super) async fn join(&self) {
        if let Some(sharing) = &self.sharing {
            sharing.join().await;
            self.count_back().await;
        }
    }

    /// Counts what the ledger says was used within the windows on the server that replicas share, if that has come (back)
    /// empty: it gives nobody a new allowance of the hour or the day.
    async fn count_back(&self) {
        let Some(sharing) = &self.sharing else { return };
        // While it is gone there is nothing to count on.
        if !matches!(sharing.windows.is_counted().await, Ok(false)) {
            return;
        }
        let recent = self.records.recent(self.clock.now().minus(LONGEST_WINDOW));
        let recent = match recent.await {
            Ok(recent) => recent,
            Err(error) => {
                let cause = telemetry::chain(&error);
                tracing::warn!(
                    cause,
                    "Redis began empty, and the ledger cannot be read: tried again in ten seconds"
                );
                return;
            }
        };
        let used = recent.iter().rev().map(|used| (used.at, claims(used)));
        if sharing.windows.count_back(used).await.is_ok() {
            tracing::info!(
                entries = recent.len(),
                "Redis began empty: its windows were told what the ledger knows"
            );
        }
    }

    /// Drops what has expired from the gate and its windows.
    fn sweep(&self) {
        self.local.sweep();
        self.gate.sweep();
    }

    /// Never returns.
    pub(super) async fn run(&self, state: &AppState) {
        let broker = &state.broker;
        let sweeping = async {
            let mut turns = self.clock.every(SWEEP);
            loop {
                turns.turn().await;
                self.sweep();
                broker.sweep().await;
                self.count_back().await;
                state.audit.sum_up(false);
            }
        };
        let looking = async {
            let mut turns = self.clock.every(self.probe_interval);
            loop {
                turns.turn().await;
                broker.look_upstream(self.probe_interval).await;
            }
        };
        let fetching = async {
            let mut turns = self.clock.every(KEYS);
            loop {
                turns.turn().await;
                state.auth.keep_fresh().await;
            }
        };
        let tidying = async {
            loop {
                // First a wait: at the start there is other work.
                self.clock.sleep(LEDGER).await;
                if let Err(error) = self.tidy_ledger().await {
                    let cause = telemetry::chain(&error);
                    tracing::warn!(
                        cause,
                        "the ledger could not be tidied; tried again in a minute"
                    );
                }
            }
        };
        let keeping = async {
            if let Some(sharing) = &self.sharing {
                sharing
                    .keep(&*self.clock, async || self.count_back().await)
                    .await;
            }
        };
        tokio::join!(
            sweeping,
            looking,
            fetching,
            tidying,
            self.watch_the_clock(),
            keeping
        );
    }

    /// Tells when the wall clock has jumped: credentials are judged by it. Never returns.
    async fn watch_the_clock(&self) {
        let mut turns = self.clock.every(CLOCK);
        let (mut wall, mut tick) = (self.clock.now(), self.clock.tick());
        loop {
            turns.turn().await;
            let expected = wall.plus(self.clock.tick().since(tick));
            (wall, tick) = (self.clock.now(), self.clock.tick());
            let (forward, back) = (wall.since(expected), expected.since(wall));
            if forward.max(back) >= JUMP {
                tracing::warn!(
                    forward_s = forward.as_secs(),
                    back_s = back.as_secs(),
                    "the wall clock was set: credentials are judged by it, windows and sessions are as they were"
                );
            }
        }
    }

    /// Forgets what is older than the retention, and gives up what nobody works on any more.
    async fn tidy_ledger(&self) -> Result<(), RecordsError> {
        let now = self.clock.now();
        self.records.give_up(now.minus(LONGEST_INTENT)).await?;
        for _ in 0..MOST_CHUNKS {
            if self.records.forget(now.minus(self.retention)).await? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Writes what is waiting.
    pub(super) async fn close(&self) {
        self.records.close().await;
    }
}

/// Returns the windows that an entry of the ledger still counts in.
fn claims(used: &Recent) -> Claims {
    let subject = Subject {
        identity: used.account.as_ref().map(Account::key),
        neighbourhood: used.neighbourhood,
        ..Subject::default()
    };
    let purpose = match used.kind {
        Kind::Mint => Purpose::Open,
        Kind::Refresh => Purpose::Refresh,
    };
    purpose.claims_of_the_past(&subject)
}
