//! The work outside of requests: periodic sweeps and probes, closing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use crate::broker::Recount;
use crate::config::Alerts;
use crate::telemetry;
use crate::web::state::AppState;
use crate::webhook::Webhook;

/// How often expired entries are swept out.
const SWEEP: Duration = Duration::from_secs(10);
/// Poll interval for refreshing issuers' signing keys. It only adds to the keys' own refresh interval.
const KEYS: Duration = Duration::from_secs(1);
/// How often owed hang-ups, and calls that nobody watches any more, are looked for.
const CALLS: Duration = Duration::from_secs(1);
/// How often the conditions of alerts are judged.
const ALERTS: Duration = Duration::from_secs(10);
/// How often old entries of the ledger are deleted, and how often intents of replicas that have ended are given up.
const LEDGER: Duration = Duration::from_mins(1);

/// The periodic work, and the rooms that it needs.
pub(super) struct Upkeep {
    pub(super) recount: Recount,
    pub(super) retention: Duration,
    pub(super) probe_interval: Duration,
    /// How alerts are sent to operators, if they are.
    pub(super) alerts: RwLock<Option<Alarm>>,
}

/// When and how alerts are sent.
pub(super) type Alarm = (Alerts, Arc<Webhook>);

impl Upkeep {
    /// Does the periodic work. Never returns.
    pub(super) async fn run(&self, state: &AppState) {
        let (broker, clock) = (&state.broker, &self.recount.clock);
        let sweep = async || {
            self.recount.local.sweep();
            state.gate.sweep();
            broker.sweep().await;
            broker.take_stock().await;
            self.recount.count_back().await;
            state.sum_up(false);
        };
        let tidy = async || {
            let tidied = self.recount.records.tidy(clock.now(), self.retention);
            if let Err(error) = tidied.await {
                let cause = telemetry::chain(&error);
                tracing::warn!(
                    cause,
                    "old rows could not be removed from the ledger; retrying in a minute"
                );
            }
        };
        let tidying = async {
            // At the start there is other work.
            clock.sleep(LEDGER).await;
            self.every(LEDGER, tidy).await;
        };
        let alerts = async || {
            let alarm = self.alerts.read().clone();
            if let Some((settings, webhook)) = alarm {
                broker.judge_alerts(&settings, &webhook).await;
            }
        };
        tokio::join!(
            self.every(SWEEP, sweep),
            self.every(self.probe_interval, async || {
                broker.look_upstream(self.probe_interval).await;
            }),
            self.every(CALLS, async || broker.tend_calls().await),
            self.every(CALLS, async || broker.judge_announcements().await),
            self.every(ALERTS, alerts),
            self.every(KEYS, async || state.auth.keep_fresh().await),
            tidying,
            clock.log_jumps(),
            self.recount.keep()
        );
    }

    /// Does `work` once in each period. Never returns.
    async fn every(&self, period: Duration, work: impl AsyncFn()) {
        let mut turns = self.recount.clock.every(period);
        loop {
            turns.turn().await;
            work().await;
        }
    }
}
