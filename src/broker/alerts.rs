//! Alerts: which conditions hold, and who tells operators.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Broker, Inner};
use crate::clock::Tick;
use crate::config::Alerts;
use crate::domain::{Condition, Money};
use crate::records::AlertTimes;
use crate::upstream::KeyState;
use crate::webhook::{Notice, Webhook};

/// An alert is over when its condition held on no replica for so long.
const LASTS: Duration = Duration::from_mins(2);
/// Fewer requests within five minutes raise no alert: one failed request at night wakes nobody.
const LEAST_REQUESTS: u64 = 30;
/// Blocks and suspicious requests are counted in stretches of this length.
const STRETCH: Duration = Duration::from_mins(15);
/// Twenty suspicious requests a minute are too many in a stretch, as they are for Prometheus.
const SUSPICIOUS: u64 = 300;
/// An answer of the provider takes too long from this time on.
const SLOW: Duration = Duration::from_secs(2);

/// A condition that is reported to operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Alert {
    ErrorRate,
    Upstream,
    Slow,
    KeyRejected,
    Suspicious,
    Blocks,
    Budget,
    HangUpsOwed,
    Ledger,
}

/// What is always true of an alert.
struct Row {
    alert: Alert,
    name: &'static str,
    runbook: &'static str,
    is_critical: bool,
    /// How long its condition must hold before operators are told.
    holds: Duration,
}

const fn row(
    alert: Alert,
    (name, runbook): (&'static str, &'static str),
    is_critical: bool,
    minutes: u64,
) -> Row {
    let holds = Duration::from_mins(minutes);
    Row {
        alert,
        name,
        runbook,
        is_critical,
        holds,
    }
}

/// All alerts. Requests are counted over five minutes, so that their share needs no further wait.
static ALERTS: [Row; 9] = [
    row(
        Alert::ErrorRate,
        ("error_rate", "docs/runbook.md#brokererrorrate"),
        true,
        0,
    ),
    row(
        Alert::Upstream,
        ("upstream", "docs/runbook.md#brokerupstreamdown"),
        true,
        5,
    ),
    row(
        Alert::Slow,
        ("slow", "docs/runbook.md#brokerslow"),
        false,
        10,
    ),
    row(
        Alert::KeyRejected,
        ("key_rejected", "docs/runbook.md#brokerkeyrejected"),
        true,
        1,
    ),
    row(
        Alert::Suspicious,
        ("suspicious", "docs/runbook.md#brokersuspiciousactivity"),
        false,
        0,
    ),
    row(
        Alert::Blocks,
        ("blocks", "docs/runbook.md#brokerblocks"),
        false,
        0,
    ),
    row(
        Alert::Budget,
        ("budget", "docs/runbook.md#brokerbudgetnearlyspent"),
        false,
        0,
    ),
    row(
        Alert::HangUpsOwed,
        ("hang_ups_owed", "docs/runbook.md#brokerhangupsowed"),
        true,
        2,
    ),
    row(
        Alert::Ledger,
        ("ledger", "docs/runbook.md#brokerledgerdown"),
        true,
        1,
    ),
];

/// What was seen of the conditions so far.
#[derive(Default)]
pub(super) struct Sightings(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// Since when each condition holds.
    since: HashMap<&'static str, Tick>,
    /// Alerts that this replica told without the records.
    alone: Vec<&'static str>,
    /// The beginning of each stretch, and the count before it.
    stretches: HashMap<&'static str, (Tick, u64)>,
}

impl Seen {
    /// Returns how much `total` has grown in the stretch that `name` counts in.
    fn in_stretch(&mut self, name: &'static str, total: u64, now: Tick) -> u64 {
        let stretch = self.stretches.entry(name).or_insert((now, total));
        let number = total.saturating_sub(stretch.1);
        if now.since(stretch.0) >= STRETCH {
            *stretch = (now, total);
        }
        number
    }
}

/// The figures of the last reading of the records, for scrapes and alerts.
#[derive(Clone, Debug, Default)]
pub(super) struct Stock {
    /// Calls whose hang-up is owed.
    pub(super) ending: u64,
    /// The budgets in money: the setting, what is spent, and the limit.
    pub(super) budgets: Vec<(&'static str, Money, Money)>,
}

impl Broker {
    /// Judges every condition, and reports those that have begun or ended to operators. Called periodically. Of all
    /// replicas, the one that writes the change down tells. While nothing can be written, each replica tells for itself.
    pub async fn judge_alerts(&self, settings: &Alerts, webhook: &Arc<Webhook>) {
        let inner = &self.0;
        let holding = inner.holding(settings);
        let times = AlertTimes {
            lasts: LASTS,
            cooldown: settings.cooldown,
        };
        for (row, summary) in &holding {
            let raised = inner.parts.records.raise_alert(row.name, times).await;
            let mut seen = inner.sightings.0.lock();
            let was_told = seen.alone.contains(&row.name);
            if raised.is_ok() {
                seen.alone.retain(|name| *name != row.name);
            } else if !was_told {
                seen.alone.push(row.name);
            }
            if raised.unwrap_or(true) && !was_told {
                webhook.tell(inner.notice(row, Some(summary.clone())));
            }
        }
        let over = inner.parts.records.end_alerts().await.unwrap_or_default();
        let is_holding = |name: &str| holding.iter().any(|(row, _)| row.name == name);
        let mut seen = inner.sightings.0.lock();
        let alone = seen.alone.extract_if(.., |name| !is_holding(name));
        let alone: Vec<_> = alone.map(str::to_owned).collect();
        for row in &ALERTS {
            if over.iter().chain(&alone).any(|name| name == row.name) {
                webhook.tell(inner.notice(row, None));
            }
        }
    }
}

impl Inner {
    /// Returns the message of an alert with these facts; `None` when it is over.
    fn notice(&self, row: &Row, summary: Option<String>) -> Notice {
        Notice {
            alert: row.name,
            is_over: summary.is_none(),
            is_critical: row.is_critical,
            summary: summary.unwrap_or_else(|| "it is over".to_owned()),
            runbook: row.runbook,
            at: self.parts.clock.now(),
        }
    }

    /// Returns the alerts whose condition has held for long enough, with the facts.
    fn holding(&self, settings: &Alerts) -> Vec<(&'static Row, String)> {
        let now = self.parts.clock.tick();
        let mut seen = self.sightings.0.lock();
        let mut holding = Vec::new();
        for row in &ALERTS {
            let Some(summary) = self.facts(row.alert, settings, (&mut seen, now)) else {
                seen.since.remove(row.name);
                continue;
            };
            let since = *seen.since.entry(row.name).or_insert(now);
            if now.since(since) >= row.holds {
                holding.push((row, summary));
            }
        }
        holding
    }

    /// Returns the facts when the condition of `alert` holds.
    fn facts(
        &self,
        alert: Alert,
        settings: &Alerts,
        (seen, now): (&mut Seen, Tick),
    ) -> Option<String> {
        let parts = &self.parts;
        match alert {
            Alert::ErrorRate => {
                let reading = parts.vitals.read();
                let percent = reading.error_rate * 100.0;
                let is_high = percent > f64::from(settings.error_percent);
                let number = reading.recent;
                (is_high && number >= LEAST_REQUESTS).then(|| {
                    format!("{percent:.1} % of {number} requests failed within five minutes")
                })
            }
            Alert::Upstream => self.silence(),
            Alert::Slow => {
                let took = parts.upstream.latency().filter(|took| *took > SLOW)?;
                let took = took.as_secs_f64();
                Some(format!(
                    "answers of the provider take longer than two seconds: the last one took {took:.1} s"
                ))
            }
            Alert::KeyRejected => self.rejected_keys(),
            Alert::Suspicious => {
                let series = &parts.vitals.series;
                let total = series.auth_failures.sum()
                    + series.origin_rejected.sum()
                    + series.anomalies.sum();
                let number = seen.in_stretch("suspicious", total, now);
                (number >= SUSPICIOUS).then(|| {
                    format!("refused credentials, wrong origins and offences within 15 minutes: {number}")
                })
            }
            Alert::Blocks => {
                let total = parts.vitals.series.blocks.sum();
                let number = seen.in_stretch("blocks", total, now);
                (number >= settings.blocks).then(|| {
                    format!("blocks of addresses and identities within 15 minutes: {number}")
                })
            }
            Alert::Budget => {
                let stock = self.stock.lock();
                stock.budgets.iter().find_map(|(name, spent, limit)| {
                    let percent = spent.as_nanos().saturating_mul(100) / limit.as_nanos().max(1);
                    (percent >= i64::from(settings.budget_percent)).then(|| {
                        format!("{percent} % of {name} is spent: {spent} of {limit} dollars")
                    })
                })
            }
            Alert::HangUpsOwed => {
                let ending = self.stock.lock().ending;
                (ending > 0).then(|| {
                    format!("calls that should be over, and that the provider has not confirmed to be: {ending}")
                })
            }
            Alert::Ledger => (parts.records.condition() == Condition::Down)
                .then(|| "the database cannot be written, so nothing is minted".to_owned()),
        }
    }

    /// Says that the provider refuses or does not answer, for another reason than a rejected key.
    fn silence(&self) -> Option<String> {
        let upstream = &self.parts.upstream;
        let is_away = upstream.condition() != Condition::Operational;
        let keys = upstream.keys();
        let is_rejected = keys.iter().any(|key| key.state == KeyState::Rejected);
        (is_away && !is_rejected)
            .then(|| "the provider has refused or not answered for five minutes".to_owned())
    }

    /// Names the keys that the provider rejects.
    fn rejected_keys(&self) -> Option<String> {
        let keys = self.parts.upstream.keys();
        let rejected = keys.iter().filter(|key| key.state == KeyState::Rejected);
        let names: Vec<_> = rejected.map(|key| &*key.alias).collect();
        let serves = keys.iter().any(|key| key.state == KeyState::Accepted);
        (!names.is_empty()).then(|| {
            if serves {
                let names = names.join(", ");
                format!("the provider rejects API keys: {names}. It accepts others")
            } else {
                "the provider rejects the API key, so nothing is minted".to_owned()
            }
        })
    }
}
