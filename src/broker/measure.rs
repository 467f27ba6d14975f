//! Writes what the broker and its rooms know at a moment into the series for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use super::alerts::Stock;
use super::{Broker, BrokerError, Grant, Inner};
use crate::clock::Timestamp;
use crate::domain::{
    Account, Budgets, Call, CallUse, Condition, EndReason, Exhausted, KeyFingerprint, Kind, Money,
    Purse, Tokens,
};
use crate::records::{By, RecordsError, UsageQuery};
use crate::telemetry;

/// Most rows of a report that are summed up: the roles of 31 days.
const MOST_ROWS: u32 = 10_000;

impl Broker {
    /// Writes the figures of this moment into the series. Reads no row and sends no request.
    pub fn measure(&self) {
        let (inner, health) = (&self.0, self.health());
        let (parts, series) = (&inner.parts, &inner.parts.vitals.series);
        let draining = u8::from(self.is_draining());
        series.draining.set([], draining.into());
        for (part, condition) in [
            ("upstream", Some(health.upstream)),
            ("limits", Some(health.limits)),
            ("ledger", Some(health.ledger)),
            ("identity", health.identity),
        ] {
            if let Some(condition) = condition {
                series.condition.set([part], level(condition));
            }
        }
        series.sessions.set([], figure(health.live));
        let (calls, relays) = inner.watches.numbers();
        series.calls_open.set([], figure(calls));
        series.relays_open.set([], figure(relays));
        parts.upstream.measure();
        let ledger = parts.records.figures();
        series.ledger_queue.set([], figure(ledger.waiting as u64));
        series.ledger_commits.reach([], ledger.commits);
        series.ledger_written.reach([], ledger.written);
        series.ledger_dropped.reach([], ledger.dropped);
        series.store_errors.reach(["ledger"], ledger.failures);
        if let Some(failures) = parts.gate.redis_failures() {
            series.store_errors.reach(["redis"], failures);
        }
        series.log_dropped.reach([], telemetry::dropped_lines());
    }

    /// Reads what only the records know into the series: hang-ups that are owed, and money that was spent. Called
    /// periodically, so that no scrape asks the database.
    pub async fn take_stock(&self) {
        if let Err(error) = self.0.take_stock().await {
            self.0.note_records(&error);
        }
    }
}

impl Inner {
    async fn take_stock(&self) -> Result<(), RecordsError> {
        let series = &self.parts.vitals.series;
        let stock = Stock {
            ending: self.parts.records.owed_hang_ups().await?,
            budgets: self.ceilings().await?,
        };
        for (name, spent, limit) in &stock.budgets {
            series.budget_spent.set([name], dollars(*spent));
            series.budget_limit.set([name], dollars(*limit));
        }
        series.hang_ups_pending.set([], figure(stock.ending));
        *self.stock.lock() = stock;
        Ok(())
    }

    /// Returns the budgets of everybody and of callers without identity: the setting, what is spent, and the limit.
    async fn ceilings(&self) -> Result<Vec<(&'static str, Money, Money)>, RecordsError> {
        let (agreement, now) = (self.agreement(), self.parts.clock.now());
        let money = &agreement.money;
        let limits = Budgets {
            own: money.anonymous,
            everybody: money.everybody,
        };
        let mut ceilings = Vec::new();
        for (purse, period, limit) in limits.limits(true) {
            let Some(limit) = limit.money else {
                continue;
            };
            let budget = Exhausted {
                purse,
                period,
                is_money: true,
                resets_at: period.end(now),
            };
            let spent = self.spent(purse, period.start(now)).await?;
            ceilings.push((budget.name(), spent, limit));
        }
        Ok(ceilings)
    }

    /// Returns the money that everybody, or callers without identity, spent since a moment.
    async fn spent(&self, purse: Purse, since: Timestamp) -> Result<Money, RecordsError> {
        let records = &self.parts.records;
        let rows = if purse == Purse::Anonymous {
            records.usage_of(&Account::default(), since).await?
        } else {
            let (by, most) = (By::Day, MOST_ROWS);
            records.usage(UsageQuery { by, since, most }).await?
        };
        let spent = rows.iter().map(|row| row.sums.get("nanodollars"));
        Ok(Money::from_nanos(
            i64::try_from(spent.sum::<u64>()).unwrap_or(i64::MAX),
        ))
    }

    /// Counts a mint or a refresh for a caller of `role`.
    pub(super) fn count_grant(
        &self,
        (kind, role): (Kind, Option<&str>),
        granted: &Result<Arc<Grant>, BrokerError>,
    ) {
        let (model, outcome) = match granted {
            Ok(grant) => (grant.secret.upstream_session.model.as_deref(), "minted"),
            Err(error) => (None, error.outcome()),
        };
        let series = &self.parts.vitals.series;
        let family = match kind {
            Kind::Refresh => &series.refreshed,
            Kind::Mint | Kind::Call | Kind::Redemption | Kind::Transcription => &series.minted,
        };
        family.add(
            [role.unwrap_or_default(), model.unwrap_or_default(), outcome],
            1,
        );
    }

    /// Counts a use of the call in `row`.
    pub(super) fn count_use_of(&self, row: &Call, used: &CallUse) {
        let key = row.upstream.as_ref().map(|call| &call.key);
        self.count_use(used, row.role.as_deref().unwrap_or_default(), key);
    }

    /// Counts the use of one response or transcription by a caller of `role`. The API key of the fingerprint pays for it, if
    /// that is known.
    pub(super) fn count_use(&self, used: &CallUse, role: &str, key: Option<&KeyFingerprint>) {
        let series = &self.parts.vitals.series;
        let (model, source, usage) = (&*used.model, used.mark.as_str(), &used.usage);
        for (direction, cache, tokens) in [
            ("input", "miss", usage.fresh),
            ("input", "hit", usage.cached),
            ("output", "", usage.output),
        ] {
            let Tokens { text, audio, image } = tokens;
            for (modality, number) in [("text", text), ("audio", audio), ("image", image)] {
                if number > 0 {
                    let labels = [direction, modality, cache, model, role, source];
                    series.usage_tokens.add(labels, number);
                }
            }
        }
        if usage.transcribed > Duration::ZERO {
            let nanos = u64::try_from(usage.transcribed.as_nanos()).unwrap_or_default();
            series.usage_audio.add([model, role, source], nanos);
        }
        let cost = used.cost.as_count();
        series.usage_cost.add([model, role, source], cost);
        let alias = key.map(|key| self.parts.upstream.alias_of(key));
        series
            .key_cost
            .add([alias.as_deref().unwrap_or_default(), source], cost);
    }

    /// Counts the end of a call.
    pub(super) fn count_end(&self, call: &Call) {
        let role = call.role.as_deref().unwrap_or_default();
        let reason = call.end_reason.map_or("", EndReason::as_str);
        let lasted = Duration::from_secs(call.used.seconds);
        let durations = &self.parts.vitals.series.call_duration;
        durations.observe([role, reason], lasted);
    }
}

impl BrokerError {
    /// Returns the outcome of a mint that failed with this error, as a label.
    const fn outcome(&self) -> &'static str {
        match self {
            Self::Upstream { facts, .. } => facts.code,
            Self::QuotaExceeded { .. } | Self::Exhausted { .. } => "quota_exceeded",
            Self::NotRecorded(_) | Self::NotRead(_) | Self::NotSettled(_) => "ledger_unavailable",
            _ => "refused",
        }
    }
}

const fn level(condition: Condition) -> f64 {
    match condition {
        Condition::Operational => 0.0,
        Condition::Degraded => 1.0,
        Condition::Down => 2.0,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus computes with floats"
)]
const fn figure(count: u64) -> f64 {
    count as f64
}

fn dollars(money: Money) -> f64 {
    figure(money.as_count()) / 1e9
}
