//! `usage`: reports of use, as tables for people and as JSON or CSV for programs.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;

use super::serve::block_on;
use super::{SettingsFlags, load, say};
use crate::app::records::{self, Use};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::Mode;
use crate::domain::{day_of, parse_duration};
use crate::records::{By, Records, UsageQuery, UsageRow, measures};

#[derive(Debug, Args)]
pub(super) struct UsageFlags {
    /// What to sum up by; all four without it
    #[arg(long, value_enum)]
    by: Option<Column>,
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Column {
    /// UTC days and roles, latest first
    Day,
    /// Roles
    Role,
    /// Personas
    Persona,
    /// Identities, busiest first
    User,
}

impl From<Column> for By {
    fn from(column: Column) -> Self {
        match column {
            Column::Day => Self::Day,
            Column::Role => Self::Role,
            Column::Persona => Self::Persona,
            Column::User => Self::User,
        }
    }
}

/// One report, and the columns that it is summed up by.
struct Report {
    by: By,
    rows: Vec<UsageRow>,
    /// True when there may be more rows than these.
    is_cut: bool,
}

/// Reads the records, beside a broker that may be running, and prints the reports.
pub(super) fn usage(
    flags: &SettingsFlags,
    environment: Vec<(String, String)>,
    asked: &UsageFlags,
) -> anyhow::Result<ExitCode> {
    let ago = parse_duration(&asked.since);
    ensure!(ago.is_ok(), "--since must be a duration, like 24h or 7d");
    // Neither an API key nor origins are needed to read what was used.
    let config = load(Mode::Dev, flags, environment)?.config;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let since = clock.now().minus(ago.unwrap_or_default()).start_of_day();
    let reports = block_on(async {
        let ledger = records::open(&config.ledger, Use::Reading, clock).await?;
        let reports = read(&*ledger, since, asked).await;
        ledger.close().await;
        reports
    })?;
    if asked.json {
        say(&serde_json::to_string_pretty(&in_json(since, &reports))?)?;
    } else if asked.csv {
        for report in &reports {
            say(in_csv(report).trim_end())?;
        }
    } else {
        say(&in_tables(since, &reports))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn read(
    ledger: &dyn Records,
    since: Timestamp,
    asked: &UsageFlags,
) -> anyhow::Result<Vec<Report>> {
    let wanted = match asked.by {
        Some(column) => vec![column.into()],
        None if asked.csv => vec![By::Day],
        None => By::ALL.to_vec(),
    };
    let mut reports = Vec::with_capacity(wanted.len());
    for by in wanted {
        let query = UsageQuery {
            by,
            since,
            most: asked.most,
        };
        let rows = ledger.usage(query).await?;
        let is_cut = rows.len() >= asked.most as usize;
        reports.push(Report { by, rows, is_cut });
    }
    Ok(reports)
}

fn in_json(since: Timestamp, reports: &[Report]) -> Value {
    let named = reports
        .iter()
        .map(|report| (report.by.as_str().to_owned(), json!(report.rows)));
    let mut answer = Map::from_iter([("since".to_owned(), since.as_millis().into())]);
    answer.extend(named);
    Value::Object(answer)
}

/// Returns the names of a report's own columns.
fn columns(by: By) -> &'static [&'static str] {
    match by {
        By::Day => &["day", "role"],
        By::Role => &["role"],
        By::Persona => &["persona"],
        By::User => &["issuer", "subject"],
    }
}

/// The columns of every report after its own: all measures, and the time of the last use.
fn counts() -> Vec<&'static str> {
    measures().chain(["last_at"]).collect()
}

fn cells(report: &Report, row: &UsageRow) -> Vec<String> {
    let text = |name: &&str| {
        let value = match *name {
            "day" => &row.day,
            "role" => &row.role,
            "persona" => &row.persona,
            "issuer" => &row.issuer,
            _ => &row.subject,
        };
        value.clone().unwrap_or_default()
    };
    let mut cells: Vec<_> = columns(report.by).iter().map(text).collect();
    cells.extend(row.sums.values().map(|sum| sum.to_string()));
    cells.push(moment(row.sums.last_at));
    cells
}

/// Formats a moment as `2026-11-22T05:06:07Z`.
fn moment(millis: u64) -> String {
    let seconds = i64::try_from(millis / 1000).unwrap_or(i64::MAX);
    // Beyond the year 9999 it stays that year.
    let at = UtcDateTime::from_unix_timestamp(seconds).unwrap_or(UtcDateTime::MAX);
    at.format(&Rfc3339).unwrap_or_default()
}

fn header(report: &Report) -> Vec<String> {
    let names = columns(report.by).iter().copied().chain(counts());
    names.map(ToOwned::to_owned).collect()
}

/// Formats a report as CSV (RFC 4180). A cell that a spreadsheet would read as a formula is written as text.
fn in_csv(report: &Report) -> String {
    let quoted = |cell: String| {
        let cell = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) {
            format!("'{cell}")
        } else {
            cell
        };
        if cell.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    };
    let line = |cells: Vec<String>| {
        let cells: Vec<_> = cells.into_iter().map(quoted).collect();
        cells.join(",") + "\r\n"
    };
    let rows = report.rows.iter().map(|row| cells(report, row));
    std::iter::once(header(report))
        .chain(rows)
        .map(line)
        .collect()
}

fn in_tables(since: Timestamp, reports: &[Report]) -> String {
    let day = day_of(since);
    let mut parts = vec![format!(
        "Use since {day} (UTC days). Sessions and refreshes count uncertain ones."
    )];
    for report in reports {
        let title = match report.by {
            By::Day => "By day and role",
            By::Role => "By role",
            By::Persona => "By persona",
            By::User => "By user, busiest first",
        };
        let table = if report.rows.is_empty() {
            "  nothing was used".to_owned()
        } else {
            in_table(report)
        };
        let more = if report.is_cut {
            "\n  … and more: raise --most"
        } else {
            ""
        };
        parts.push(format!("{title}\n{table}{more}"));
    }
    parts.join("\n\n")
}

fn in_table(report: &Report) -> String {
    let shown = |cell: String| {
        if cell.is_empty() {
            "(none)".to_owned()
        } else {
            printable(&cell)
        }
    };
    let rows = report
        .rows
        .iter()
        .map(|row| cells(report, row).into_iter().map(shown).collect());
    let lines: Vec<Vec<String>> = std::iter::once(header(report)).chain(rows).collect();
    let named = columns(report.by).len();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<_> = (0..named + counts().len()).map(width).collect();
    let padded = |(column, (cell, &width)): (usize, (&String, &usize))| {
        // Names are aligned left, numbers right.
        let is_number = column >= named && column < widths.len() - 1;
        if is_number {
            format!("{cell:>width$}")
        } else {
            format!("{cell:<width$}")
        }
    };
    let lines = lines.iter().map(|line| {
        let cells: Vec<_> = line.iter().zip(&widths).enumerate().map(padded).collect();
        format!("  {}", cells.join("  ")).trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Replaces control characters. Issuers choose names freely, and no name may move the cursor of a terminal.
fn printable(cell: &str) -> String {
    cell.chars()
        .map(|letter| {
            if letter.is_control() {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect()
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
        let csv = in_csv(&report("=cmd|' /C calc'!A0"));
        assert!(csv.contains(",'=cmd|' /C calc'!A0,"), "{csv}");
        let csv = in_csv(&report("a,\"b\"\r\nc"));
        assert!(csv.contains("\"a,\"\"b\"\"\r\nc\""), "{csv}");
        assert!(!in_table(&report("\u{1b}[2Jana")).contains('\u{1b}'));
    }

    #[test]
    fn tables_say_when_in_utc() {
        let table = in_table(&report("ana"));
        assert!(table.contains("ana"), "{table}");
        assert!(table.contains("2022-01-01T00:00:01Z"), "{table}");
        assert!(in_tables(Timestamp::from_seconds(0), &[]).contains("1970-01-01"));
    }
}
