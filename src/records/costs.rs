//! What the calls of one hour cost, beside those of the same hour of the days before.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::RecordsError;
use super::book::Book;
use super::database::page;
use super::sql::{SqlRecords, TotalRow};
use super::statement::{NO_PAGE, Statement};
use crate::clock::Timestamp;
use crate::domain::Money;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// The days that an hour is compared with.
const DAYS: u32 = 7;
/// Age of the first entry from which on the records have a history to compare with.
const HISTORY: Duration = Duration::from_hours(6 * 24 + 12);

/// What calls that began in an hour cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourCosts {
    /// The cost of the last hour.
    pub last: Money,
    /// The mean of the same hour of the seven days before.
    pub usual: Money,
}

/// An hour: its beginning and its end, in milliseconds since the Unix epoch.
#[derive(Serialize)]
struct Hour {
    since: u64,
    until: u64,
}

/// What the calls of an hour cost.
#[derive(Deserialize)]
struct HourRow {
    since: u64,
    nanodollars: i64,
}

/// Sums up the hours on the page. An hour without entries has no row.
static BY_HOUR: Statement = Statement::list(
    "since bigint, until bigint",
    "since, nanodollars",
    "SELECT since, CAST(COALESCE(SUM(nanodollars), 0) AS BIGINT) AS nanodollars \
     FROM page JOIN entries ON at >= since AND at < until GROUP BY since",
);

/// Counts the entries from before `$1`: one at most.
static OLD: Statement = Statement::list(
    NO_PAGE,
    "total",
    "SELECT COUNT(*) AS total FROM (SELECT at FROM entries WHERE at < $1 LIMIT 1) AS old",
);

/// Returns the hour before `until`, and the same hour of the days before.
fn hours(until: Timestamp) -> impl Iterator<Item = Hour> {
    (0..=DAYS).map(move |days| {
        let until = until.minus(DAY * days);
        Hour {
            since: until.minus(HOUR).as_millis(),
            until: until.as_millis(),
        }
    })
}

/// Returns the costs of the last hour before `until` and of the others.
fn costs(rows: impl Iterator<Item = HourRow>, until: Timestamp) -> HourCosts {
    let last = until.minus(HOUR).as_millis();
    let (mut now, mut before) = (0_i64, 0_i64);
    for row in rows {
        let is_last = row.since == last;
        let sum = if is_last { &mut now } else { &mut before };
        *sum = sum.saturating_add(row.nanodollars);
    }
    HourCosts {
        last: Money::from_nanos(now),
        usual: Money::from_nanos(before / i64::from(DAYS)),
    }
}

impl SqlRecords {
    pub(super) async fn costs_by_hour(
        &self,
        until: Timestamp,
    ) -> Result<Option<HourCosts>, RecordsError> {
        let begun = until.minus(HISTORY);
        let old: Vec<TotalRow> = self.reader.rows(&OLD, &[begun.into()]).await?;
        if old.first().is_none_or(|old| old.total == 0) {
            return Ok(None);
        }
        let hours: Vec<_> = hours(until).collect();
        let rows: Vec<HourRow> = self.reader.rows(&BY_HOUR, &[page(&hours)?]).await?;
        Ok(Some(costs(rows.into_iter(), until)))
    }
}

impl Book {
    pub(super) fn costs_by_hour(&self, until: Timestamp) -> Option<HourCosts> {
        let begun = until.minus(HISTORY);
        let mut entries = self.entries.values();
        entries.find(|entry| entry.at() < begun)?;
        let sum = |hour: Hour| {
            let of_hour = hour.since..hour.until;
            let entries = self.entries.values();
            let entries = entries.filter(|entry| of_hour.contains(&entry.at().as_millis()));
            let sum = entries.map(|entry| entry.used.nanodollars).sum::<u64>();
            HourRow {
                since: hour.since,
                nanodollars: i64::try_from(sum).unwrap_or(i64::MAX),
            }
        };
        Some(costs(hours(until).map(sum), until))
    }
}
