//! The first page: how today compares with yesterday.

use super::asked::since;
use super::usage::{report, tokens, total};
use super::view::{Card, View};
use super::words::{dollars, grouped, span};
use super::{cost, usage};
use crate::domain::day_of;
use crate::records::{By, Sums, UsageRow};
use crate::web::error::ApiError;
use crate::web::ops::OpsState;

/// The days of the chart.
const DAYS: u32 = 30;

pub(super) async fn view(ops: &OpsState) -> Result<View, ApiError> {
    let now = ops.app.face.clock.now();
    let since = since(DAYS, now);
    let days = report(ops, By::Day, since).await?;
    let of = |day: String| -> Vec<UsageRow> {
        let rows = days.iter().filter(|row| row.day.as_ref() == Some(&day));
        rows.cloned().collect()
    };
    let today = of(day_of(now));
    let yesterday = of(day_of(now.minus(std::time::Duration::from_hours(24))));
    let mut cards = live(ops).await?;
    cards.extend(compared(&today, &yesterday));
    cards.extend(cost::month(ops, now).await?);
    Ok(View {
        title: "Today",
        lead: format!(
            "{} in UTC, on all replicas. The last five minutes are those of this replica.",
            day_of(now)
        ),
        cards,
        chart: usage::chart(&days, "cost", (since, now)),
        ..View::default()
    })
}

/// Returns the cards on this moment.
async fn live(ops: &OpsState) -> Result<Vec<Card>, ApiError> {
    let (calls, health) = (
        ops.app.broker.sum_up_calls().await?,
        ops.app.broker.health(),
    );
    let card = |name, value, note: String| Card {
        name,
        value,
        note,
        mark: "measured",
    };
    let reading = health.reading;
    Ok(vec![
        card(
            "Live calls",
            grouped(calls.live),
            "at this moment".to_owned(),
        ),
        card(
            "Sessions that can be refreshed",
            grouped(health.live),
            "at this moment".to_owned(),
        ),
        card(
            "Requests that failed",
            format!("{:.1} %", reading.error_rate * 100.0),
            "through us or the provider, in the last five minutes".to_owned(),
        ),
        card(
            "Mean time of a request",
            format!("{:.0} ms", reading.mean_millis),
            "in the last five minutes".to_owned(),
        ),
    ])
}

/// Returns the cards that compare today with the whole of yesterday.
fn compared(today: &[UsageRow], yesterday: &[UsageRow]) -> Vec<Card> {
    let card = |name, of: fn(&Sums) -> u64, write: fn(u64) -> String, mark| {
        let sum = |rows: &[UsageRow]| write(rows.iter().map(|row| of(&row.sums)).sum());
        Card {
            name,
            value: sum(today),
            note: format!("{} yesterday, the whole day", sum(yesterday)),
            mark,
        }
    };
    let (cost, estimated) = (
        total(today, "nanodollars"),
        total(today, "estimated_nanodollars"),
    );
    vec![
        card(
            "Sessions today",
            |sums| sums.get("sessions"),
            grouped,
            "measured",
        ),
        card(
            "Time in calls today",
            |sums| sums.get("seconds"),
            span,
            "measured",
        ),
        card("Tokens today", tokens, grouped, cost::mark(cost, estimated)),
        card(
            "Cost today",
            |sums| sums.get("nanodollars"),
            dollars,
            cost::mark(cost, estimated),
        ),
    ]
}
