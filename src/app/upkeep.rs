//! The work outside of requests: counting earlier use at the start, periodic sweeps and probes, closing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::sharing::Keeping;
use crate::clock::Clock;
use crate::domain::{Account, Kind};
use crate::gate::{Claims, Purpose, Subject};
use crate::records::{Recent, Records, RecordsError};
use crate::telemetry;
use crate::web::state::AppState;

/// How often expired entries are swept out.
const SWEEP: Duration = Duration::from_secs(10);
/// Poll interval for refreshing issuers' signing keys. It only adds to the keys' own refresh interval.
const KEYS: Duration = Duration::from_secs(1);
/// Poll interval for changes of the wall clock.
const CLOCK: Duration = Duration::from_secs(1);
/// A jump of the wall clock that is logged. Time synchronization makes smaller ones.
const JUMP: Duration = Duration::from_secs(10);
/// How often owed hang-ups, and calls that nobody watches any more, are looked for.
const CALLS: Duration = Duration::from_secs(1);
/// How often old entries of the ledger are deleted, and how often intents of replicas that have ended are given up.
const LEDGER: Duration = Duration::from_mins(1);
/// Age at which an intent without outcome is given up. A mint may take `upstream.timeout` and twice `ledger.timeout`, and
/// the clocks of replicas may differ. An outcome that is later still counts.
const LONGEST_INTENT: Duration = Duration::from_mins(10);
/// Longest window that is counted again from the ledger.
const LONGEST_WINDOW: Duration = Duration::from_hours(24);
/// Bounds the chunks that one turn deletes from the ledger, so that other transactions do not wait.
const MOST_CHUNKS: usize = 60;

/// The periodic work, and the rooms that it needs.
pub(super) struct Upkeep {
    pub(super) keeping: Keeping,
    /// The number of replicas that record into the ledger.
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
        // These limits are this replica's share of the limits, and the ledger holds the use of all replicas: of each key,
        // one use in `shares` counts.
        let mut seen: HashMap<_, usize> = HashMap::new();
        for used in self.records.recent(since).await.context(help)? {
            let mut claims = claims(&used);
            claims.retain(|limit, key| {
                let number = seen.entry((*limit, *key)).or_default();
                *number += 1;
                (*number - 1).is_multiple_of(self.shares)
            });
            self.keeping.local.remember(&claims, now.since(used.at));
        }
        Ok(())
    }

    /// Connects to what replicas share, before the first request.
    pub(super) async fn join(&self) {
        let Some(shared) = &self.keeping.shared else {
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

    /// Counts the recorded use in the windows on Redis when Redis has started empty, so that nobody gets a new allowance.
    async fn count_back(&self) {
        let Some(shared) = &self.keeping.shared else {
            return;
        };
        // An unreachable server is asked again later.
        if !matches!(shared.on_redis().is_counted().await, Ok(false)) {
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
        if shared.on_redis().count_back(used).await.is_ok() {
            tracing::info!(
                entries = recent.len(),
                "Redis began empty: its windows were told what the ledger knows"
            );
        }
    }

    /// Does the periodic work. Never returns.
    pub(super) async fn run(&self, state: &AppState) {
        let broker = &state.broker;
        let sweep = async || {
            self.keeping.local.sweep();
            self.keeping.gate.sweep();
            broker.sweep().await;
            self.count_back().await;
            state.sum_up(false);
        };
        let tidy = async || {
            if let Err(error) = self.tidy_ledger().await {
                let cause = telemetry::chain(&error);
                tracing::warn!(
                    cause,
                    "the ledger could not be tidied; tried again in a minute"
                );
            }
        };
        let tidying = async {
            // At the start there is other work.
            self.clock.sleep(LEDGER).await;
            self.every(LEDGER, tidy).await;
        };
        let keeping = async {
            if let Some(shared) = &self.keeping.shared {
                shared.keep(async || self.count_back().await).await;
            }
        };
        tokio::join!(
            self.every(SWEEP, sweep),
            self.every(self.probe_interval, async || {
                broker.look_upstream(self.probe_interval).await;
            }),
            self.every(CALLS, async || broker.tend_calls().await),
            self.every(KEYS, async || state.auth.keep_fresh().await),
            tidying,
            self.watch_the_clock(),
            keeping
        );
    }

    /// Does `work` once in each period. Never returns.
    async fn every(&self, period: Duration, work: impl AsyncFn()) {
        let mut turns = self.clock.every(period);
        loop {
            turns.turn().await;
            work().await;
        }
    }

    /// Logs jumps of the wall clock, by which credentials are judged. Never returns.
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

    /// Deletes entries that are older than the retention, and gives up intents that no broker works on any more.
    async fn tidy_ledger(&self) -> Result<(), RecordsError> {
        let now = self.clock.now();
        self.records
            .give_up(now.minus(LONGEST_INTENT), None)
            .await?;
        for _ in 0..MOST_CHUNKS {
            if self.records.forget(now.minus(self.retention)).await? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Writes the entries that wait in the queue.
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
        Kind::Mint | Kind::Call => Purpose::Open,
        Kind::Redemption => Purpose::Look,
        Kind::Refresh => Purpose::Refresh,
        Kind::Transcription => Purpose::Transcribe,
    };
    purpose.claims_of_the_past(&subject)
}
