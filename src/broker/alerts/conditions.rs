//! The conditions of alerts: what holds, and the facts of it in a sentence.

use std::time::Duration;

use super::seen::Seen;
use crate::broker::Inner;
use crate::clock::Tick;
use crate::config::Alerts;
use crate::domain::{Condition, Money};
use crate::metrics::{Latency, open_files};
use crate::telemetry;
use crate::upstream::KeyState;

/// Requests within five minutes below which no alert is raised: one failed request at night must wake nobody.
const LEAST_REQUESTS: u64 = 30;
/// Blocks, suspicious requests and what was dropped are counted in stretches of this length.
const QUARTER: Duration = Duration::from_mins(15);
/// Suspicious requests in 15 minutes that raise an alert: 20 a minute, as for Prometheus.
const SUSPICIOUS: u64 = 300;
/// Time from which on an answer of the provider is slow.
const SLOW: Duration = Duration::from_secs(2);
/// Time from which on the broker's own part of an answer is slow.
const SLOW_ITSELF: Duration = Duration::from_millis(250);
/// Cost of an hour's calls, in nano-dollars, below which no alert is raised.
const LEAST_COST: i64 = 1_000_000_000;
/// Factor over the usual cost of an hour from which on the cost is unusual.
const UNUSUAL: i64 = 3;
/// Losses of side channels within ten minutes above which an alert is raised.
const LOSSES: u64 = 20;
/// Commands waiting for the database above which an alert is raised.
const WAITING: usize = 512;
/// The share of file descriptors that may be open, in percent.
const FILES_PERCENT: usize = 80;

/// The facts by which conditions are judged.
pub(super) struct Judge<'a> {
    pub(super) inner: &'a Inner,
    pub(super) settings: &'a Alerts,
    pub(super) seen: &'a mut Seen,
    pub(super) now: Tick,
}

impl Judge<'_> {
    /// Returns how much a count has grown in its stretch.
    fn growth(&mut self, counted: (&'static str, u64), length: Duration) -> u64 {
        self.seen.in_stretch(counted, length, self.now)
    }
}

pub(super) fn error_rate(judge: &mut Judge<'_>) -> Option<String> {
    let reading = judge.inner.parts.vitals.read();
    let percent = reading.error_rate * 100.0;
    let is_high = percent > f64::from(judge.settings.error_percent);
    let number = reading.recent;
    (is_high && number >= LEAST_REQUESTS)
        .then(|| format!("{percent:.1} % of {number} requests failed within five minutes"))
}

/// The provider refuses or does not answer, for another reason than a rejected key.
pub(super) fn upstream(judge: &mut Judge<'_>) -> Option<String> {
    let upstream = &judge.inner.parts.upstream;
    let is_away = upstream.condition() != Condition::Operational;
    let keys = upstream.keys();
    let is_rejected = keys.iter().any(|key| key.state == KeyState::Rejected);
    (is_away && !is_rejected)
        .then(|| "the provider has refused or not answered for five minutes".to_owned())
}

pub(super) fn slow(judge: &mut Judge<'_>) -> Option<String> {
    let latency = judge.inner.parts.upstream.latency();
    let took = latency.filter(|took| *took > SLOW)?.as_secs_f64();
    Some(format!(
        "answers of the provider take longer than two seconds: the last one took {took:.1} s"
    ))
}

pub(super) fn slow_itself(judge: &mut Judge<'_>) -> Option<String> {
    let own = &judge.inner.parts.vitals.series.own_duration;
    let lately = judge.seen.lately(own.counts(), judge.now);
    let bound = Latency::quantile_of(&lately, 0.95);
    let is_slow = bound.is_none_or(|bound| bound > SLOW_ITSELF);
    is_slow.then(|| {
        "one in twenty requests takes the broker itself more than a quarter of a second".to_owned()
    })
}

/// Names the keys that the provider rejects.
pub(super) fn key_rejected(judge: &mut Judge<'_>) -> Option<String> {
    let keys = judge.inner.parts.upstream.keys();
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

pub(super) fn suspicious(judge: &mut Judge<'_>) -> Option<String> {
    let series = &judge.inner.parts.vitals.series;
    let refused = series.auth_failures.sum() + series.origin_rejected.sum();
    let total = refused + series.anomalies.sum();
    let number = judge.growth(("suspicious", total), QUARTER);
    (number >= SUSPICIOUS).then(|| {
        format!("refused credentials, wrong origins and offences within 15 minutes: {number}")
    })
}

pub(super) fn blocks(judge: &mut Judge<'_>) -> Option<String> {
    let total = judge.inner.parts.vitals.series.blocks.sum();
    let number = judge.growth(("blocks", total), QUARTER);
    (number >= judge.settings.blocks)
        .then(|| format!("blocks of addresses and identities within 15 minutes: {number}"))
}

pub(super) fn budget(judge: &mut Judge<'_>) -> Option<String> {
    let stock = judge.inner.stock.lock();
    stock.budgets.iter().find_map(|(name, spent, limit)| {
        let percent = spent.as_nanos().saturating_mul(100) / limit.as_nanos().max(1);
        (percent >= i64::from(judge.settings.budget_percent))
            .then(|| format!("{percent} % of {name} is spent: {spent} of {limit} dollars"))
    })
}

/// The calls of the last hour cost far more than those of the same hour of the days before.
pub(super) fn cost(judge: &mut Judge<'_>) -> Option<String> {
    let costs = judge.seen.costs?;
    let (last, usual) = (costs.last.as_nanos(), costs.usual.as_nanos());
    let is_unusual = last > LEAST_COST && last > usual.saturating_mul(UNUSUAL);
    is_unusual.then(|| {
        let (last, usual) = (cents(costs.last), cents(costs.usual));
        format!(
            "calls of the last hour cost {last} dollars, over three times as much as at this hour of the last seven days: {usual} dollars"
        )
    })
}

/// Returns an amount in whole cents, rounded down.
fn cents(money: Money) -> Money {
    const CENT: i64 = 10_000_000;
    Money::from_nanos(money.as_nanos() / CENT * CENT)
}

pub(super) fn price_missing(judge: &mut Judge<'_>) -> Option<String> {
    let total = judge.inner.parts.vitals.series.price_misses.sum();
    let number = judge.growth(("price_missing", total), Duration::from_hours(1));
    (number > 0).then(|| {
        format!(
            "uses of a model or a kind of token without a price within the hour, so that costs are too low and budgets do not hold: {number}"
        )
    })
}

pub(super) fn hang_ups_owed(judge: &mut Judge<'_>) -> Option<String> {
    let ending = judge.inner.stock.lock().ending;
    (ending > 0).then(|| {
        format!(
            "calls that should be over, and that the provider has not confirmed to be: {ending}"
        )
    })
}

pub(super) fn side_channels(judge: &mut Judge<'_>) -> Option<String> {
    let losses = &judge.inner.parts.vitals.series.side_channel_reconnects;
    let counted = ("side_channels", losses.sum());
    let number = judge.growth(counted, Duration::from_mins(10));
    (number > LOSSES).then(|| {
        format!("side channels that were lost and joined again within ten minutes: {number}")
    })
}

pub(super) fn ledger(judge: &mut Judge<'_>) -> Option<String> {
    (judge.inner.parts.records.condition() == Condition::Down)
        .then(|| "the database cannot be written, so nothing is minted".to_owned())
}

pub(super) fn ledger_behind(judge: &mut Judge<'_>) -> Option<String> {
    let figures = judge.inner.parts.records.figures();
    let dropped = judge.growth(("ledger_behind", figures.dropped), QUARTER);
    if dropped > 0 {
        return Some(format!(
            "the database was away for so long that settlements were dropped: {dropped}"
        ));
    }
    let waiting = figures.waiting;
    (waiting > WAITING)
        .then(|| format!("the database is too slow: commands that wait for it: {waiting}"))
}

pub(super) fn limits(judge: &mut Judge<'_>) -> Option<String> {
    (!judge.inner.parts.gate.is_whole()).then(|| {
        "limits are not exact: Redis is away, or a budget of everybody is used up".to_owned()
    })
}

pub(super) fn log_lines(judge: &mut Judge<'_>) -> Option<String> {
    let counted = ("log_lines", telemetry::dropped_lines());
    let number = judge.growth(counted, QUARTER);
    (number > 0)
        .then(|| format!("log lines that were dropped, audit events perhaps among them: {number}"))
}

pub(super) fn files(_: &mut Judge<'_>) -> Option<String> {
    used_up(open_files()?)
}

/// Says that nearly all file descriptors are open, if so. Without a limit, `most` is 0.
fn used_up((open, most): (usize, usize)) -> Option<String> {
    let is_much = open.saturating_mul(100) > most.saturating_mul(FILES_PERCENT);
    (is_much && most > 0).then(|| format!("file descriptors that are open: {open} of {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_descriptors_are_nearly_used_up_beyond_four_in_five() {
        assert_eq!(used_up((80, 100)), None);
        let said = used_up((81, 100)).unwrap();
        assert_eq!(said, "file descriptors that are open: 81 of 100");
        // Where there is no limit, the system says no number.
        assert_eq!(used_up((3, 0)), None);
    }
}
