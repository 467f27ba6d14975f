//! `reconcile`: compares the money in the ledger with what the provider bills, by day and model.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::ledger::{self, Use};
use super::serve::block_on;
use super::table::{cells, table};
use super::{Given, say};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::{Config, Mode};
use crate::domain::{Money, Prices, day_of, parse_duration};
use crate::records::{By, Records, UsageQuery};
use crate::telemetry::chain;
use crate::upstream::openai::{Billed, Bills};

/// A UTC day.
const DAY: Duration = Duration::from_hours(24);
/// Most models of a day.
const MODELS: u32 = 10_000;
/// Amounts that are no further apart never differ.
const CENT: Money = Money::from_nanos(10_000_000);

/// Why amounts may be apart.
const APART: &str = "The provider bills more: other programs use the same models (set upstream.project to one of its own), \
     or sessions in direct mode, which the ledger cannot measure. It bills less: config/prices.toml is out of date, or the bill is.";

#[derive(Debug, Args)]
pub(super) struct ReconcileFlags {
    /// How far to look back, in whole UTC days that have ended: 7d, 30d
    #[arg(long, default_value = "7d", value_name = "DURATION")]
    since: String,
    /// How far two amounts may be apart, in percent of the larger one. A cent is always allowed
    #[arg(long, default_value_t = 5, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    percent: u32,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// The ledger's money, by the beginning of a day and model.
type Days = Vec<(Timestamp, String, Money)>;

/// The money of each model on each day: the ledger's and the provider's.
type Amounts = BTreeMap<(String, String), (Money, Money)>;

/// A day and a model.
#[derive(Serialize)]
struct Row {
    day: String,
    model: String,
    ledger: String,
    provider: String,
    difference: String,
    differs: bool,
}

/// Compares, and prints what was found. The exit code says whether anything differs.
pub(super) fn reconcile(given: &Given, asked: &ReconcileFlags) -> anyhow::Result<ExitCode> {
    let ago = parse_duration(&asked.since).ok();
    let ago = ago.filter(|ago| *ago >= DAY);
    let ago = ago.context("--since must be a duration of a day or more, like 7d")?;
    // As for `usage`, neither the API key nor origins are needed.
    let config = given.load(Mode::Dev)?.config;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let until = clock.now().start_of_day();
    let since = until.minus(ago).start_of_day();
    let (ledger, billed) = block_on(read(&config, clock, (since, until)))?;
    let prices = &config.money.prices;
    let (amounts, others) = compare(ledger, &billed, prices);
    let rows: Vec<_> = amounts
        .into_iter()
        .map(|((day, model), amounts)| row((day, model), amounts, asked.percent))
        .collect();
    let differing = rows.iter().filter(|row| row.differs).count();
    let days = (day_of(since), day_of(until.minus(DAY)));
    say(&if asked.json {
        let report = json!({
            "ok": differing == 0, "since": days.0, "until": days.1, "rows": rows, "other_items": others.to_string(),
        });
        serde_json::to_string_pretty(&report)?
    } else {
        in_words(&rows, &days, others)
    })?;
    Ok(if differing == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Reads the ledger's money by day and model, and the provider's bills.
async fn read(
    config: &Config,
    clock: Arc<dyn Clock>,
    (since, until): (Timestamp, Timestamp),
) -> anyhow::Result<(Days, Vec<Billed>)> {
    let bills = Bills::new(&config.upstream, Arc::clone(&clock))?;
    let billed = bills.between(since, until).await.map_err(|error| {
        let cause = chain(&error);
        anyhow::anyhow!("the provider's costs cannot be read: {cause}. Check upstream.admin_key")
    })?;
    let is_whole = |billed: &Billed| billed.day >= since && billed.day < until;
    ensure!(
        billed.iter().all(is_whole),
        "the provider billed days that were not asked for"
    );
    let ledger = ledger::open(&config.ledger, Use::Reading, clock).await?;
    let days = days(&*ledger, since, until).await;
    ledger.close().await;
    Ok((days?, billed))
}

/// Returns the ledger's money by day and model. Calls belong to the day on which they began.
async fn days(ledger: &dyn Records, since: Timestamp, until: Timestamp) -> anyhow::Result<Days> {
    let mut days = Vec::new();
    let mut later = since_day(ledger, until).await?;
    let mut day = until;
    while day > since {
        day = day.minus(DAY);
        let sums = since_day(ledger, day).await?;
        for (model, sum) in &sums {
            let money = *sum - later.get(model).copied().unwrap_or_default();
            days.push((day, model.clone(), money));
        }
        later = sums;
    }
    Ok(days)
}

/// Returns the ledger's money by model from the beginning of a day until now.
async fn since_day(
    ledger: &dyn Records,
    since: Timestamp,
) -> anyhow::Result<BTreeMap<String, Money>> {
    let query = UsageQuery {
        by: By::Model,
        since,
        most: MODELS,
    };
    let mut sums = BTreeMap::new();
    for row in ledger.usage(query).await? {
        let nanos = i64::try_from(row.sums.get("nanodollars")).unwrap_or(i64::MAX);
        let sum: &mut Money = sums.entry(row.model.unwrap_or_default()).or_default();
        *sum += Money::from_nanos(nanos);
    }
    Ok(sums)
}

/// Puts the amounts of each model and day beside one another. Returns the sum of the bills for anything else, too: the broker
/// neither uses it nor has a price for it.
fn compare(ledger: Days, billed: &[Billed], prices: &Prices) -> (Amounts, Money) {
    let mut amounts = Amounts::new();
    let mut known: BTreeSet<_> = prices.models().map(undated).collect();
    for (day, model, money) in ledger {
        let model = undated(&model);
        known.insert(model.clone());
        let (ours, _) = amounts.entry((day_of(day), model)).or_default();
        *ours += money;
    }
    let mut others = Money::ZERO;
    for Billed { day, item, money } in billed {
        let model = item.split(',').next().unwrap_or_default();
        let model = undated(&model.trim().to_lowercase());
        if known.contains(&model) {
            let (_, theirs) = amounts.entry((day_of(*day), model)).or_default();
            *theirs += *money;
        } else {
            others += *money;
        }
    }
    amounts.retain(|_, amounts| *amounts != (Money::ZERO, Money::ZERO));
    (amounts, others)
}

/// Returns the name of a model without the date of its version: the provider may bill one under the name of the other.
fn undated(model: &str) -> String {
    let parts: Vec<_> = model.rsplitn(4, '-').collect();
    let is_number = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    match parts.as_slice() {
        [day, month, year, name]
            if is_number(day, 2) && is_number(month, 2) && is_number(year, 4) =>
        {
            (*name).to_owned()
        }
        _ => model.to_owned(),
    }
}

fn row((day, model): (String, String), (ours, theirs): (Money, Money), percent: u32) -> Row {
    let difference = theirs - ours;
    let apart = i128::from(difference.as_nanos()).abs();
    let larger = i128::from(ours.max(theirs).as_nanos());
    let is_within = apart <= CENT.as_nanos().into() || apart * 100 <= larger * i128::from(percent);
    Row {
        day,
        model,
        ledger: ours.to_string(),
        provider: theirs.to_string(),
        difference: difference.to_string(),
        differs: !is_within,
    }
}

fn in_words(rows: &[Row], (since, until): &(String, String), others: Money) -> String {
    const NAMES: [&str; 6] = ["day", "model", "ledger", "provider", "difference", "result"];
    let mut lines = vec![NAMES.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(|row| {
        let mut line = cells(&json!(row), &NAMES[..5]);
        let mark = if row.differs { "differs" } else { "agrees" };
        line.push(mark.to_owned());
        line
    }));
    let head = format!("In US dollars, UTC days from {since} to {until}");
    let found = if rows.is_empty() {
        "Nothing was used, and nothing was billed for the models of the broker.".to_owned()
    } else {
        table(&lines)
    };
    let mut parts = vec![head, found];
    if others != Money::ZERO {
        parts.push(format!(
            "Billed for other items, which the broker has nothing to do with: {others}"
        ));
    }
    if rows.iter().any(|row| row.differs) {
        parts.push(APART.to_owned());
    }
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Card;

    const MONDAY: Timestamp = Timestamp::from_seconds(1_795_996_800);

    fn money(dollars: &str) -> Money {
        Money::parse(dollars).unwrap()
    }

    fn billed(day: Timestamp, item: &str, dollars: &str) -> Billed {
        Billed {
            day,
            item: item.to_owned(),
            money: money(dollars),
        }
    }

    #[test]
    fn items_of_one_model_are_summed_up_whatever_the_date_of_its_version() {
        let mut prices = Prices::default();
        prices.add("gpt-realtime-2.1-mini", MONDAY, Card::default());
        let ledger = vec![(MONDAY, "gpt-realtime-2.1".to_owned(), money("1.50"))];
        let bills = [
            billed(MONDAY, "gpt-realtime-2.1-2026-05-01, audio input", "1.00"),
            billed(MONDAY, "gpt-realtime-2.1, Text output", "0.50"),
            billed(MONDAY, "GPT-Realtime-2.1-mini, audio output", "0.20"),
            billed(MONDAY, "gpt-5, output", "7.00"),
            billed(MONDAY, "", "1.00"),
        ];
        let (amounts, others) = compare(ledger, &bills, &prices);
        let day = day_of(MONDAY);
        let amounts: Vec<_> = amounts.into_iter().collect();
        let expected = [
            ("gpt-realtime-2.1", "1.50", "1.50"),
            ("gpt-realtime-2.1-mini", "0", "0.20"),
        ];
        let expected = expected.map(|(model, ours, theirs)| {
            let key = (day.clone(), model.to_owned());
            (key, (money(ours), money(theirs)))
        });
        assert_eq!(amounts, expected);
        assert_eq!(others, money("8.00"));
    }

    #[test]
    fn amounts_differ_beyond_a_cent_and_the_percentage() {
        let differs = |ours: &str, theirs: &str, percent| {
            let key = ("2026-12-01".to_owned(), "m".to_owned());
            row(key, (money(ours), money(theirs)), percent).differs
        };
        assert!(!differs("0", "0.01", 0));
        assert!(differs("0", "0.011", 0));
        assert!(!differs("95", "100", 5));
        assert!(!differs("100", "95", 5));
        assert!(differs("94.99", "100", 5));
        assert!(differs("0", "0.02", 99));
    }
}
