//! `usage`: reports of use, as tables for people and as JSON or CSV for programs.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;

use super::ledger::{self, Use};
use super::serve::block_on;
use super::table::{cells, table};
use super::{Given, say};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::Mode;
use crate::domain::{csv_cell, day_of, parse_duration};
use crate::records::{By, UsageQuery, UsageRow, measures};

#[derive(Debug, Args)]
pub(super) struct UsageFlags {
    /// What to sum up by; all five without it
    #[arg(long, value_parser = By::ALL.map(By::as_str))]
    by: Option<String>,
    /// How far to look back, in whole UTC days: 24h, 7d, 30d
    #[arg(long, default_value = "7d", value_name = "DURATION")]
    since: String,
    /// Most rows of each table
    #[arg(long, default_value_t = 1000, value_name = "ROWS")]
    most: u32,
    /// Answer in JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Answer in CSV (RFC 4180); one table, by day unless --by says otherwise
    #[arg(long)]
    csv: bool,
}

/// One report, and the columns that it is summed up by.
struct Report {
    by: By,
    rows: Vec<UsageRow>,
    /// True when there are more rows than these.
    is_cut: bool,
}

/// Reads the records, beside a broker that may be running, and prints the reports.
pub(super) fn usage(given: &Given, asked: &UsageFlags) -> anyhow::Result<ExitCode> {
    let ago = parse_duration(&asked.since);
    let ago = ago
        .ok()
        .context("--since must be a duration, like 24h or 7d")?;
    // Dev mode needs no API key and no origins: neither is needed to read what was used.
    let config = given.load(Mode::Dev)?.config;
    let clock = Arc::new(SystemClock::new());
    let since = clock.now().minus(ago).start_of_day();
    let wanted = match &asked.by {
        Some(word) => By::parse(word).into_iter().collect(),
        None if asked.csv => vec![By::Day],
        None => By::ALL.to_vec(),
    };
    let most = asked.most;
    let reports = block_on(async {
        let ledger = ledger::open(&config.ledger, Use::Reading, clock).await?;
        let mut reports = Vec::new();
        for by in wanted {
            let query = UsageQuery { by, since, most };
            let (rows, is_cut) = ledger.usage_at_most(query).await?;
            reports.push(Report { by, rows, is_cut });
        }
        ledger.close().await;
        Ok(reports)
    })?;
    if asked.json {
        let rows = reports
            .iter()
            .map(|report| (report.by.as_str(), json!(report.rows)));
        let since = [("since", json!(since.as_millis()))];
        let answer: BTreeMap<_, _> = since.into_iter().chain(rows).collect();
        say(&serde_json::to_string_pretty(&answer)?)
    } else if asked.csv {
        say(reports.iter().map(in_csv).collect::<String>().trim_end())
    } else {
        say(&in_tables(since, &reports))
    }
}

/// Returns the title of a report, and the columns that it is summed up by.
fn shape(by: By) -> (&'static str, &'static [&'static str]) {
    match by {
        By::Day => ("By day and role", &["day", "role"]),
        By::Role => ("By role", &["role"]),
        By::Persona => ("By persona", &["persona"]),
        By::User => ("By user, busiest first", &["issuer", "subject"]),
        By::Model => ("By model, dearest first", &["model", "mark"]),
    }
}

/// Returns the head of a report and its rows: the columns that it is summed up by, all measures, and the last use.
fn lines(report: &Report) -> Vec<Vec<String>> {
    let measures: Vec<_> = measures().collect();
    let names = [shape(report.by).1, &measures, &["last_at"]].concat();
    let mut lines = vec![names.iter().map(ToString::to_string).collect()];
    for row in &report.rows {
        let mut fields = json!(row);
        fields["last_at"] = moment(row.sums.last_at).into();
        lines.push(cells(&fields, &names));
    }
    lines
}

/// Formats a moment as `2026-11-22T05:06:07Z`.
fn moment(millis: u64) -> String {
    let seconds = i64::try_from(millis / 1000).unwrap_or(i64::MAX);
    // Beyond the year 9999 it stays that year.
    let at = UtcDateTime::from_unix_timestamp(seconds).unwrap_or(UtcDateTime::MAX);
    at.format(&Rfc3339).unwrap_or_default()
}

/// Formats a report as CSV. Plain words, numbers and addresses stand without quotes.
fn in_csv(report: &Report) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte);
    let written = |cell: &String| {
        if cell.bytes().all(is_plain) && !cell.starts_with('-') {
            cell.clone()
        } else {
            csv_cell(cell)
        }
    };
    let line = |cells: Vec<String>| {
        let cells: Vec<_> = cells.iter().map(written).collect();
        cells.join(",") + "\r\n"
    };
    lines(report).into_iter().map(line).collect()
}

fn in_tables(since: Timestamp, reports: &[Report]) -> String {
    let day = day_of(since);
    let mut text =
        format!("Use since {day} (UTC days). Sessions and refreshes count uncertain ones.");
    for report in reports {
        let mut part = shape(report.by).0.to_owned() + "\n";
        part += &match report.rows.as_slice() {
            [] => "nothing was used".to_owned(),
            _ => table(&without_unused(lines(report))),
        };
        if report.is_cut {
            part += "\n… and more: raise --most";
        }
        text = text + "\n\n" + &part.replace('\n', "\n  ");
    }
    text
}

/// Removes the columns of measures that are zero in all rows. The first four stay: they count sessions.
fn without_unused(mut lines: Vec<Vec<String>>) -> Vec<Vec<String>> {
    for name in measures().skip(4) {
        let head = lines.first().into_iter().flatten();
        let place = head.enumerate().find(|(_, head)| *head == name);
        let Some((place, _)) = place else { continue };
        if lines.iter().skip(1).all(|line| line[place] == "0") {
            for line in &mut lines {
                line.remove(place);
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Sums;

    fn report(subject: &str) -> Report {
        let sums = serde_json::json!({ "sessions": 12, "last_at": 1_640_995_201_000_u64 });
        let sums: Sums = serde_json::from_value(sums).unwrap();
        let row = UsageRow {
            issuer: Some("https://id.example.com/".into()),
            subject: Some(subject.into()),
            sums,
            ..UsageRow::default()
        };
        Report {
            by: By::User,
            rows: vec![row],
            is_cut: false,
        }
    }

    #[test]
    fn a_cell_cannot_break_out_of_its_line_or_become_a_formula() {
        for (subject, cell) in [
            ("ana", ",ana,"),
            ("-1", ",\"'-1\","),
            ("=cmd|' /C calc'!A0", ",\"'=cmd|' /C calc'!A0\","),
            ("|calc", ",\"'|calc\","),
            ("＝1", ",\"'＝1\","),
            ("a,\"b\"\r\nc", ",\"a,\"\"b\"\"\r\nc\","),
            ("a;=1", ",\"a;=1\","),
        ] {
            let csv = in_csv(&report(subject));
            assert!(csv.contains(cell), "{csv}");
        }
        assert!(
            !in_tables(Timestamp::from_seconds(0), &[report("\u{1b}[2Jana")]).contains('\u{1b}')
        );
    }

    #[test]
    fn tables_say_when_in_utc() {
        let table = in_tables(Timestamp::from_seconds(0), &[report("ana")]);
        assert!(table.contains("ana"), "{table}");
        assert!(table.contains("2022-01-01T00:00:01Z"), "{table}");
        assert!(in_tables(Timestamp::from_seconds(0), &[]).contains("1970-01-01"));
    }
}
