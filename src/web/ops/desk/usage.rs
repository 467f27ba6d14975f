//! The page on usage: by day, role and persona.

use super::asked::Asked;
use super::chart::{Chart, Point};
use super::cost::mark;
use super::view::{Cell, Choice, Column, Row, Table, View};
use super::words::{dollars, grouped, span};
use crate::broker::BrokerError;
use crate::clock::Timestamp;
use crate::domain::Mark::{Estimated, Measured};
use crate::records::{By, Sums, UsageQuery, UsageRow};
use crate::web::error::ApiError;
use crate::web::ops::OpsState;

/// Upper bound on the rows of one table.
pub(super) const MOST: u32 = 10_000;
/// Upper bound on the users of a page. Their files have more.
pub(super) const MOST_SHOWN: u32 = 200;

/// A measure that a chart can show: its name, its value and how that is written.
type Shown = (&'static str, fn(&Sums) -> u64, fn(u64) -> String);

const SHOWN: [Shown; 4] = [
    ("sessions", |sums| sums.get("sessions"), grouped),
    ("minutes", |sums| sums.get("seconds"), span),
    ("tokens", tokens, grouped),
    ("cost", |sums| sums.get("nanodollars"), dollars),
];

const IN: [&str; 3] = ["fresh_text", "fresh_audio", "fresh_image"];
const CACHED: [&str; 3] = ["cached_text", "cached_audio", "cached_image"];
const OUT: [&str; 2] = ["output_text", "output_audio"];

fn sum(sums: &Sums, names: &[&str]) -> u64 {
    names.iter().map(|name| sums.get(name)).sum()
}

/// Returns all tokens.
pub(super) fn tokens(sums: &Sums) -> u64 {
    sum(sums, &IN) + sum(sums, &CACHED) + sum(sums, &OUT)
}

/// Returns the sum of one measure over all rows.
pub(super) fn total(rows: &[UsageRow], name: &str) -> u64 {
    rows.iter().map(|row| row.sums.get(name)).sum()
}

/// Reads a report from the records.
pub(super) async fn report(
    ops: &OpsState,
    by: By,
    since: Timestamp,
) -> Result<Vec<UsageRow>, ApiError> {
    first(ops, (by, MOST), since).await
}

/// Reads the first rows of a report from the records.
pub(super) async fn first(
    ops: &OpsState,
    (by, most): (By, u32),
    since: Timestamp,
) -> Result<Vec<UsageRow>, ApiError> {
    let rows = ops.records.usage(UsageQuery { by, since, most }).await;
    Ok(rows.map_err(BrokerError::NotRead)?)
}

/// Returns how the tokens and the money of these rows came to be known.
pub(super) fn mark_of(rows: &[UsageRow]) -> &'static str {
    mark(
        total(rows, "nanodollars"),
        total(rows, "estimated_nanodollars"),
    )
}

/// Returns the columns of use of these rows, after those of names.
pub(super) fn columns(names: &[&'static str], rows: &[UsageRow]) -> Vec<Column> {
    let mark = mark_of(rows);
    let names = names.iter().map(|name| Column::name(name));
    let counts = ["Sessions", "Refreshes", "Calls", "Time", "Answers"];
    let counts = counts.map(|name| Column::figure(name, Measured));
    let tokens = ["Tokens in", "Tokens cached", "Tokens out"];
    let tokens = tokens.map(|name| Column { name, mark });
    let money = [
        Column::figure("Cost", Measured),
        Column::figure("Cost estimated", Estimated),
    ];
    names.chain(counts).chain(tokens).chain(money).collect()
}

/// Returns the share of a whole in percent.
pub(super) fn share(part: u64, whole: u64) -> Cell {
    let whole = u128::from(whole.max(1));
    let percent = (u128::from(part) * 100 + whole / 2) / whole;
    Cell::count(u64::try_from(percent).unwrap_or(u64::MAX))
}

/// Returns the cells of use, after those of names.
pub(super) fn cells(names: Vec<Cell>, sums: &Sums) -> Row {
    let estimated = sums.get("estimated_nanodollars");
    let figures = [
        Cell::count(sums.get("sessions")),
        Cell::count(sums.get("refreshes")),
        Cell::count(sums.get("calls")),
        Cell::span(sums.get("seconds")),
        Cell::count(sums.get("turns")),
        Cell::count(sum(sums, &IN)),
        Cell::count(sum(sums, &CACHED)),
        Cell::count(sum(sums, &OUT)),
        // The two parts add up to the whole.
        Cell::money(sums.get("nanodollars").saturating_sub(estimated)),
        Cell::money(estimated),
    ];
    Row {
        cells: names.into_iter().chain(figures).collect(),
        ..Row::default()
    }
}

/// Returns a name that may be absent.
pub(super) fn named(name: Option<&str>, nobody: &'static str) -> Cell {
    let name = name.filter(|name| !name.is_empty());
    Cell::text(name.unwrap_or(nobody))
}

/// Draws one measure of a report by day, and by role if anybody has one.
pub(super) fn chart(
    rows: &[UsageRow],
    measure: &str,
    period: (Timestamp, Timestamp),
) -> Option<Chart> {
    let shown = SHOWN.iter().find(|(name, ..)| *name == measure);
    let (name, of, write) = shown?;
    let role = |row: &UsageRow| row.role.clone().filter(|role| !role.is_empty());
    let point = |row: &UsageRow| -> Option<Point> {
        let role = role(row).unwrap_or_else(|| "no role".to_owned());
        Some((row.day.clone()?, role, of(&row.sums)))
    };
    let points: Vec<_> = rows.iter().filter_map(point).collect();
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let title: String = first.into_iter().chain(letters).collect();
    if rows.iter().any(|row| role(row).is_some()) {
        let title = format!("{title} per day, by role");
        return Some(Chart::daily(title, &points, period, *write));
    }
    let mut chart = Chart::daily(format!("{title} per day"), &points, period, *write);
    chart.legend.clear();
    Some(chart)
}

/// Returns a table of a report.
fn table(
    (name, title): (&'static str, &'static str),
    names: &[&'static str],
    rows: &[UsageRow],
    of: fn(&UsageRow) -> Vec<Cell>,
) -> Table {
    Table {
        name,
        title,
        columns: columns(names, rows),
        rows: rows.iter().map(|row| cells(of(row), &row.sums)).collect(),
        empty: "Nothing was used in this period.",
    }
}

pub(super) async fn view(ops: &OpsState, asked: &Asked) -> Result<View, ApiError> {
    let now = ops.app.face.clock.now();
    let since = asked.since(now);
    let show = asked.show.as_deref().unwrap_or("sessions");
    let (days, roles, personas) = (
        report(ops, By::Day, since).await?,
        report(ops, By::Role, since).await?,
        report(ops, By::Persona, since).await?,
    );
    let chart = chart(&days, show, (since, now)).ok_or(ApiError::at("show"))?;
    let shown = SHOWN.iter().map(|(name, ..)| Choice {
        label: (*name).to_owned(),
        name: "show",
        value: (*name).to_owned(),
        is_chosen: *name == show,
    });
    Ok(View {
        title: "Usage",
        lead: "Days are days in UTC. Cost is what the provider's figures come to; the part that nobody measured is apart."
            .to_owned(),
        query: vec![("days", asked.days().to_string()), ("show", show.to_owned())],
        choices: asked.periods().into_iter().chain(shown).collect(),
        chart: Some(chart),
        tables: vec![
            table(("days", "By day and role"), &["Day", "Role"], &days, |row| {
                vec![named(row.day.as_deref(), ""), named(row.role.as_deref(), "no role")]
            }),
            table(("roles", "By role"), &["Role"], &roles, |row| {
                vec![named(row.role.as_deref(), "no role")]
            }),
            table(("personas", "By persona"), &["Persona"], &personas, |row| {
                vec![named(row.persona.as_deref(), "")]
            }),
        ],
        ..View::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_and_a_whole_of_nothing_has_none() {
        let share = |part, whole| share(part, whole).text;
        assert_eq!(share(96, 10_000), "1");
        assert_eq!((share(1, 3), share(2, 3)), ("33".into(), "67".into()));
        assert_eq!((share(0, 0), share(7, 7)), ("0".into(), "100".into()));
        assert_eq!(share(u64::MAX, u64::MAX), "100");
    }
}
