//! The pages on the service itself: errors with limits, and latency, since this replica started.

use std::time::Duration;

use super::view::{Card, Cell, Column, Row, Table, View};
use super::words::moment_of;
use crate::domain::Mark::{Estimated, Measured};
use crate::metrics::{Family, Latency, Total};
use crate::web::ops::OpsState;

const NOTHING: &str = "Nothing was counted since this replica started.";

/// Returns a sentence about the time that the counts cover.
pub(super) fn lead(ops: &OpsState) -> String {
    ops.app.broker.measure();
    let uptime = ops.app.broker.health().reading.uptime;
    let started = ops.app.face.clock.now().minus(uptime);
    format!("Counted by this replica since {} UTC.", moment_of(started))
}

/// Returns a table of counts, the largest first.
pub(super) fn counts<const N: usize>(
    (name, title): (&'static str, &'static str),
    labels: [&'static str; N],
    family: &Family<N, Total>,
) -> Table {
    let mut counts = family.read(Total::count);
    counts.retain(|(_, count)| *count > 0);
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let row = |(values, count): &([Box<str>; N], u64)| Row {
        cells: cells(values, [Cell::count(*count)]),
        ..Row::default()
    };
    let figure = Column::figure("Count", Measured);
    Table {
        name,
        title,
        columns: labels
            .map(Column::name)
            .into_iter()
            .chain([figure])
            .collect(),
        rows: counts.iter().map(row).collect(),
        empty: NOTHING,
    }
}

fn cells(names: &[Box<str>], figures: impl IntoIterator<Item = Cell>) -> Vec<Cell> {
    let names = names.iter().map(|name| Cell::text(&**name));
    names.chain(figures).collect()
}

pub(super) fn errors(ops: &OpsState) -> View {
    let lead = lead(ops);
    let series = &ops.app.face.vitals.series;
    let reading = ops.app.broker.health().reading;
    View {
        title: "Errors and limits",
        lead,
        cards: vec![Card {
            name: "Requests that failed",
            value: format!("{:.1} %", reading.error_rate * 100.0),
            note: "through us or the provider, in the last five minutes".to_owned(),
            mark: "measured",
        }],
        tables: vec![
            counts(
                ("errors", "Failed requests, by error code"),
                ["Code", "Route"],
                &series.refusals,
            ),
            counts(
                ("limits", "Refusals by a limit, a quota or a budget"),
                ["Setting", "Route"],
                &series.rate_limited,
            ),
            counts(
                ("upstream", "Failures of the provider"),
                ["Operation", "Kind"],
                &series.upstream_errors,
            ),
            counts(
                ("stores", "Failures of the ledger and of Redis"),
                ["Store"],
                &series.store_errors,
            ),
        ],
        ..View::default()
    }
}

pub(super) fn latency(ops: &OpsState) -> View {
    let series = &ops.app.face.vitals.series;
    View {
        title: "Latency",
        lead: lead(ops) + " A percentile is the bound of its bucket: at most so long.",
        tables: vec![
            times(
                ("requests", "From a request to its answer"),
                ["Route", "Method"],
                &series.http_duration,
            ),
            times(
                ("own", "Our own part of it"),
                ["Route"],
                &series.own_duration,
            ),
            times(
                ("provider", "The provider's part of it"),
                ["Operation", "Outcome"],
                &series.upstream_duration,
            ),
        ],
        ..View::default()
    }
}

/// Returns a table of durations.
fn times<const N: usize>(
    (name, title): (&'static str, &'static str),
    labels: [&'static str; N],
    family: &Family<N, Latency>,
) -> Table {
    let read = family.read(|times| {
        let bounds = [0.5, 0.95, 0.99].map(|share| times.quantile(share));
        (times.count(), times.mean(), bounds)
    });
    let read = read.iter().filter(|(_, (count, ..))| *count > 0);
    let rows = read.map(|(values, (count, mean, bounds))| {
        let mean = format!("{:.1}", crate::clock::millis(*mean));
        let figures = [Cell::count(*count), Cell::text(mean)];
        Row {
            cells: cells(values, figures.into_iter().chain(bounds.map(bound))),
            ..Row::default()
        }
    });
    let bounds = ["p50, ms", "p95, ms", "p99, ms"];
    let bounds = bounds.map(|name| Column::figure(name, Estimated));
    let figures = [
        Column::figure("Count", Measured),
        Column::figure("Mean, ms", Measured),
    ];
    let names = labels.map(Column::name).into_iter();
    Table {
        name,
        title,
        columns: names.chain(figures).chain(bounds).collect(),
        rows: rows.collect(),
        empty: NOTHING,
    }
}

fn bound(bound: Option<Duration>) -> Cell {
    let millis = bound.map(|bound| format!("≤ {}", bound.as_millis()));
    Cell::text(millis.unwrap_or_else(|| "> 10000".to_owned()))
}
