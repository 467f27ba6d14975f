//! Alerts: which conditions hold, and who tells operators.

mod conditions;
mod seen;

use std::sync::Arc;
use std::time::Duration;

use self::conditions::Judge;
pub(super) use self::seen::Sightings;
use super::{Broker, Inner};
use crate::config::Alerts;
use crate::domain::Money;
use crate::records::AlertTimes;
use crate::webhook::{Notice, Webhook};

/// Time after which an alert is over when its condition held on no replica.
const LASTS: Duration = Duration::from_mins(2);
/// Poll interval for the cost of the last hour's calls.
const COSTS: Duration = Duration::from_mins(5);

/// The fixed properties of an alert.
struct Row {
    name: &'static str,
    runbook: &'static str,
    is_critical: bool,
    /// How long its condition must hold before operators are told.
    holds: Duration,
    /// Returns the facts when the condition holds.
    facts: fn(&mut Judge<'_>) -> Option<String>,
}

const fn row(
    name: &'static str,
    runbook: &'static str,
    (is_critical, minutes): (bool, u64),
    facts: fn(&mut Judge<'_>) -> Option<String>,
) -> Row {
    Row {
        name,
        runbook,
        is_critical,
        holds: Duration::from_mins(minutes),
        facts,
    }
}

/// All alerts: those of config/prometheus/alerts.yml, but for a broker that is down, which tells nobody. Requests are counted over
/// five minutes, and other counts over longer stretches, so that they need no further wait.
static ALERTS: [Row; 17] = [
    row(
        "error_rate",
        "docs/runbook.md#brokererrorrate",
        (true, 0),
        conditions::error_rate,
    ),
    row(
        "upstream",
        "docs/runbook.md#brokerupstreamdown",
        (true, 5),
        conditions::upstream,
    ),
    row(
        "slow",
        "docs/runbook.md#brokerslow",
        (false, 10),
        conditions::slow,
    ),
    row(
        "slow_itself",
        "docs/runbook.md#brokerslowitself",
        (false, 10),
        conditions::slow_itself,
    ),
    row(
        "key_rejected",
        "docs/runbook.md#brokerkeyrejected",
        (true, 1),
        conditions::key_rejected,
    ),
    row(
        "suspicious",
        "docs/runbook.md#brokersuspiciousactivity",
        (false, 0),
        conditions::suspicious,
    ),
    row(
        "blocks",
        "docs/runbook.md#brokerblocks",
        (false, 0),
        conditions::blocks,
    ),
    row(
        "budget",
        "docs/runbook.md#brokerbudgetnearlyspent",
        (false, 0),
        conditions::budget,
    ),
    row(
        "cost",
        "docs/runbook.md#brokercostunusual",
        (false, 15),
        conditions::cost,
    ),
    row(
        "price_missing",
        "docs/runbook.md#brokerpricemissing",
        (false, 0),
        conditions::price_missing,
    ),
    row(
        "hang_ups_owed",
        "docs/runbook.md#brokerhangupsowed",
        (true, 2),
        conditions::hang_ups_owed,
    ),
    row(
        "side_channels",
        "docs/runbook.md#brokersidechannelslost",
        (false, 0),
        conditions::side_channels,
    ),
    row(
        "ledger",
        "docs/runbook.md#brokerledgerdown",
        (true, 1),
        conditions::ledger,
    ),
    row(
        "ledger_behind",
        "docs/runbook.md#brokerledgerbehind",
        (false, 2),
        conditions::ledger_behind,
    ),
    row(
        "limits",
        "docs/runbook.md#brokerlimitsdegraded",
        (false, 10),
        conditions::limits,
    ),
    row(
        "log_lines",
        "docs/runbook.md#brokerloglinesdropped",
        (false, 0),
        conditions::log_lines,
    ),
    row(
        "files",
        "docs/runbook.md#brokerfilesnearlyusedup",
        (false, 5),
        conditions::files,
    ),
];

/// The figures of the last reading of the records, for scrapes and alerts.
#[derive(Clone, Debug, Default)]
pub(super) struct Stock {
    /// Calls whose hang-up is owed.
    pub(super) ending: u64,
    /// The budgets in money: the setting, what is spent, and the limit.
    pub(super) budgets: Vec<(&'static str, Money, Money)>,
}

impl Broker {
    /// Judges every condition, and reports conditions that have begun or ended to operators. Called periodically. The replica
    /// that records the change reports it. While nothing can be recorded, each replica reports for itself.
    pub async fn judge_alerts(&self, settings: &Alerts, webhook: &Arc<Webhook>) {
        let inner = &self.0;
        inner.look_at_costs().await;
        let holding = inner.holding(settings);
        let times = AlertTimes {
            lasts: LASTS,
            cooldown: settings.cooldown,
        };
        for (row, summary) in &holding {
            let raised = inner.parts.records.raise_alert(row.name, times).await;
            let mut seen = inner.sightings.0.lock();
            if seen.is_to_be_told(row.name, raised.ok()) {
                webhook.tell(inner.notice(row, Some(summary.clone())));
            }
        }
        let over = inner.parts.records.end_alerts().await.unwrap_or_default();
        let is_holding = |name: &str| holding.iter().any(|(row, _)| row.name == name);
        let mut seen = inner.sightings.0.lock();
        seen.recorded.retain(|name| is_holding(name));
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
            let facts = (row.facts)(&mut Judge {
                inner: self,
                settings,
                seen: &mut seen,
                now,
            });
            let Some(summary) = facts else {
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

    /// Reads what the calls of the last hour cost, and those of the same hour of the days before, at most every five minutes.
    async fn look_at_costs(&self) {
        let now = self.parts.clock.tick();
        if !self.sightings.0.lock().costs_are_due(now) {
            return;
        }
        let costs = self.parts.records.hour_costs(self.parts.clock.now()).await;
        // A database that is away is an alert of its own.
        if let Ok(costs) = costs {
            self.sightings.0.lock().costs = costs;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_alert_for_prometheus_but_that_of_a_broker_that_is_down_is_told_by_webhook_too() {
        let rules = include_str!("../../../config/prometheus/alerts.yml");
        let sections = rules.lines().map(str::trim);
        let sections = sections.filter_map(|line| line.strip_prefix("runbook_url: "));
        let mut sections: BTreeSet<_> = sections.collect();
        assert!(sections.remove("docs/runbook.md#brokerdown"));
        let ours: BTreeSet<_> = ALERTS.iter().map(|row| row.runbook).collect();
        assert_eq!(ours, sections);
        let names: BTreeSet<_> = ALERTS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ALERTS.len());
    }
}
