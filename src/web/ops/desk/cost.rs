//! The page on cost: by model and kind, what a call costs, and where the month is heading.

use std::time::Duration;

use super::asked::Asked;
use super::usage::{named, report, share, total};
use super::view::{Card, Cell, Column, Row, Table, View};
use super::words::dollars;
use crate::clock::Timestamp;
use crate::domain::Mark::{Estimated, Measured};
use crate::domain::{Card as Prices, Period, Usage};
use crate::records::{By, UsageRow};
use crate::web::error::ApiError;
use crate::web::ops::OpsState;

/// A kind of tokens: its name, the measure, and its place in a usage.
type TokenKind = (&'static str, &'static str, fn(&mut Usage) -> &mut u64);

const KINDS: [TokenKind; 8] = [
    ("text in", "fresh_text", |used| &mut used.fresh.text),
    ("audio in", "fresh_audio", |used| &mut used.fresh.audio),
    ("image in", "fresh_image", |used| &mut used.fresh.image),
    ("text cached", "cached_text", |used| &mut used.cached.text),
    ("audio cached", "cached_audio", |used| {
        &mut used.cached.audio
    }),
    ("image cached", "cached_image", |used| {
        &mut used.cached.image
    }),
    ("text out", "output_text", |used| &mut used.output.text),
    ("audio out", "output_audio", |used| &mut used.output.audio),
];
const BY_DURATION: &str = "audio by duration, ms";

/// Returns how a sum of money came to be known, a part of which is estimated.
pub(super) const fn mark(money: u64, estimated: u64) -> &'static str {
    if estimated == 0 {
        "measured"
    } else if estimated >= money {
        "estimated"
    } else {
        "partly estimated"
    }
}

pub(super) async fn view(ops: &OpsState, asked: &Asked) -> Result<View, ApiError> {
    let now = ops.app.face.clock.now();
    let since = asked.since(now);
    let models = report(ops, By::Model, since).await?;
    let days = report(ops, By::Day, since).await?;
    let mut cards = month(ops, now).await?;
    cards.extend(units(&days));
    let kinds = kinds(ops, &models, now);
    Ok(View {
        title: "Cost",
        lead: "Cost is the provider's own figures of use at the prices of money.prices. The table by kind has today's prices."
            .to_owned(),
        query: vec![("days", asked.days().to_string())],
        choices: asked.periods(),
        cards,
        chart: super::usage::chart(&days, "cost", (since, now)),
        tables: vec![by_model(&models), kinds],
        ..View::default()
    })
}

/// Returns the cards on this month: the cost so far, and where it is heading at this pace.
pub(super) async fn month(ops: &OpsState, now: Timestamp) -> Result<Vec<Card>, ApiError> {
    let (start, end) = (Period::Month.start(now), Period::Month.end(now));
    let rows = report(ops, By::Day, start).await?;
    let (cost, estimated) = (
        total(&rows, "nanodollars"),
        total(&rows, "estimated_nanodollars"),
    );
    let limit = ops.app.broker.money().everybody.month.money;
    let of_limit = |money: u64| {
        limit.map_or_else(
            || "no budget: money.per_month is not set".to_owned(),
            |limit| {
                let (limit, share) = (limit.as_count(), money.saturating_mul(100));
                format!("{} % of {}", share / limit.max(1), dollars(limit))
            },
        )
    };
    let forecast = forecast(cost, now.since(start), end.since(start));
    Ok(vec![
        Card {
            name: "Cost this month",
            value: dollars(cost),
            note: of_limit(cost),
            mark: mark(cost, estimated),
        },
        Card {
            name: "Forecast of the month",
            value: dollars(forecast),
            note: format!("at this month's pace: {}", of_limit(forecast)),
            mark: "estimated",
        },
    ])
}

/// Returns what the whole period costs at the pace so far. The first hour counts as a whole one, so that one call at
/// midnight is no forecast of a fortune.
fn forecast(cost: u64, passed: Duration, whole: Duration) -> u64 {
    let passed = passed.max(Duration::from_hours(1)).as_millis();
    let forecast = u128::from(cost) * whole.as_millis() / passed;
    u64::try_from(forecast).unwrap_or(u64::MAX)
}

/// Returns the cards on unit costs.
fn units(days: &[UsageRow]) -> Vec<Card> {
    let (cost, estimated) = (
        total(days, "nanodollars"),
        total(days, "estimated_nanodollars"),
    );
    let card = |name, count: u64, unit: u64, note: &str| {
        let each = u128::from(cost) * u128::from(unit) / u128::from(count.max(1));
        Card {
            name,
            value: dollars(u64::try_from(each).unwrap_or(u64::MAX)),
            note: note.to_owned(),
            mark: mark(cost, estimated),
        }
    };
    vec![
        card("Per call", total(days, "calls"), 1, "in this period"),
        card(
            "Per minute",
            total(days, "seconds"),
            60,
            "of calls in this period",
        ),
    ]
}

fn by_model(models: &[UsageRow]) -> Table {
    let whole = total(models, "nanodollars");
    let row = |row: &UsageRow| {
        let cost = row.sums.get("nanodollars");
        Row {
            cells: vec![
                named(row.model.as_deref(), "unknown"),
                named(row.mark.as_deref(), ""),
                Cell::count(row.sums.get("calls")),
                Cell::count(row.sums.get("turns")),
                Cell::count(super::usage::tokens(&row.sums)),
                Cell::money(cost),
                share(cost, whole),
            ],
            ..Row::default()
        }
    };
    Table {
        name: "models",
        title: "By model",
        columns: vec![
            Column::name("Model"),
            Column::name("Source"),
            Column::figure("Calls", Measured),
            Column::figure("Answers", Measured),
            Column::by_row("Tokens"),
            Column::by_row("Cost"),
            Column::by_row("Share, %"),
        ],
        rows: models.iter().map(row).collect(),
        empty: "No model was used in calls in this period.",
    }
}

/// Returns the table by model and kind, at today's prices.
fn kinds(ops: &OpsState, models: &[UsageRow], now: Timestamp) -> Table {
    let prices = &ops.app.broker.money().prices;
    let rows = models.iter().flat_map(|row| {
        let model = row.model.as_deref().unwrap_or_default();
        let card = prices.card(model, now).copied().unwrap_or_default();
        let tokens = KINDS.iter().map(|(name, measure, place)| {
            let (number, mut usage) = (row.sums.get(measure), Usage::default());
            *place(&mut usage) = number;
            (*name, number, usage)
        });
        let millis = row.sums.get("transcribed_ms");
        let heard = Usage {
            transcribed: Duration::from_millis(millis),
            ..Usage::default()
        };
        let used = tokens.chain([(BY_DURATION, millis, heard)]);
        let used = used.filter(|(_, number, _)| *number > 0);
        used.map(move |kind| kind_row(row, kind, &card))
    });
    Table {
        name: "kinds",
        title: "By model and kind, at today's prices",
        columns: vec![
            Column::name("Model"),
            Column::name("Source"),
            Column::name("Kind"),
            Column::by_row("Tokens"),
            Column::figure("Cost", Estimated),
            Column::figure("Saved by the cache", Estimated),
        ],
        rows: rows.collect(),
        empty: "No model was used in calls in this period.",
    }
}

fn kind_row(
    row: &UsageRow,
    (name, number, usage): (&'static str, u64, Usage),
    prices: &Prices,
) -> Row {
    let uncached = Usage {
        fresh: usage.cached,
        ..Usage::default()
    };
    let [cost, uncached] = [usage, uncached].map(|usage| prices.cost(&usage).money.as_count());
    Row {
        cells: vec![
            named(row.model.as_deref(), "unknown"),
            named(row.mark.as_deref(), ""),
            Cell::text(name),
            Cell::count(number),
            Cell::money(cost),
            Cell::money(uncached.saturating_sub(cost)),
        ],
        ..Row::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_goes_on_at_the_pace_so_far() {
        let days = |days: u64| Duration::from_hours(24 * days);
        assert_eq!(forecast(10, days(10), days(30)), 30);
        assert_eq!(forecast(0, days(10), days(30)), 0);
        assert_eq!(forecast(1, Duration::ZERO, days(30)), 720);
        assert_eq!(forecast(u64::MAX, days(1), days(30)), u64::MAX);
    }

    #[test]
    fn money_says_how_it_came_to_be_known() {
        assert_eq!(mark(0, 0), "measured");
        assert_eq!(mark(5, 0), "measured");
        assert_eq!(mark(5, 2), "partly estimated");
        assert_eq!(mark(5, 5), "estimated");
    }
}
