//! Reports: how use is summed up.

use std::collections::HashMap;

use serde::Deserialize;

use super::entry::Entry;
use super::measures::Sums;
use super::statement::{NO_PAGE, Statement};
use super::{By, UsageQuery, UsageRow};
use crate::domain::day_of;

/// Sums up entries in memory.
pub(super) fn sum_up<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    query: UsageQuery,
) -> Vec<UsageRow> {
    let since = query.since.start_of_day();
    let mut groups: HashMap<_, Sums> = HashMap::new();
    for entry in entries.filter(|entry| entry.at() >= since) {
        let group = groups.entry(group(entry, query.by)).or_default();
        group.add(Sums::of(entry));
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    let use_of = |sums: &Sums| (sums.get("sessions"), sums.get("refreshes"));
    groups.sort_unstable_by(|(one, a), (two, b)| match query.by {
        By::Day => two.0.cmp(&one.0).then_with(|| one.1.cmp(&two.1)),
        By::Role | By::Persona | By::User => use_of(b).cmp(&use_of(a)).then_with(|| one.cmp(two)),
    });
    groups.truncate(usize::try_from(query.most).unwrap_or(usize::MAX));
    let rows = groups
        .into_iter()
        .map(|((one, two), sums)| ReportRow { one, two, sums });
    rows.map(|row| row.read(query.by)).collect()
}

/// Returns the two columns that the entry is summed up by.
fn group(entry: &Entry, by: By) -> (String, String) {
    let text = |text: &Option<Box<str>>| text.as_deref().unwrap_or_default().to_owned();
    match by {
        By::Day => (day_of(entry.at()), text(&entry.role)),
        By::Role => (text(&entry.role), String::new()),
        By::Persona => (entry.persona.to_string(), String::new()),
        By::User => (text(&entry.issuer), text(&entry.subject)),
    }
}

/// A row of a report, with the two columns that it is summed up by.
#[derive(Deserialize)]
pub(super) struct ReportRow {
    one: String,
    two: String,
    #[serde(flatten)]
    sums: Sums,
}

impl ReportRow {
    pub(super) fn read(self, by: By) -> UsageRow {
        let mut row = UsageRow {
            sums: self.sums,
            ..UsageRow::default()
        };
        match by {
            By::Day => (row.day, row.role) = (Some(self.one), Some(self.two)),
            By::Role => row.role = Some(self.one),
            By::Persona => row.persona = Some(self.one),
            By::User => (row.issuer, row.subject) = (Some(self.one), Some(self.two)),
        }
        row
    }
}

/// The columns of [`ReportRow`].
const REPORT: &str = "one, two, {each #}, last_at";

static BY_DAY: Statement = Statement::list(
    NO_PAGE,
    REPORT,
    "SELECT day AS one, role AS two, {each CAST(SUM(#) AS BIGINT) AS #}, MAX(last_at) AS last_at FROM daily \
     WHERE day >= $1 GROUP BY day, role ORDER BY day DESC, role LIMIT $2",
);

static BY_ROLE: Statement = Statement::list(
    NO_PAGE,
    REPORT,
    "SELECT role AS one, '' AS two, {each CAST(SUM(#) AS BIGINT) AS #}, MAX(last_at) AS last_at FROM daily \
     WHERE day >= $1 GROUP BY role ORDER BY sessions DESC, refreshes DESC, role LIMIT $2",
);

static BY_PERSONA: Statement = Statement::list(
    NO_PAGE,
    REPORT,
    "SELECT persona AS one, '' AS two, {each CAST(SUM(#) AS BIGINT) AS #}, MAX(last_at) AS last_at FROM daily \
     WHERE day >= $1 GROUP BY persona ORDER BY sessions DESC, refreshes DESC, persona LIMIT $2",
);

static BY_USER: Statement = Statement::list(
    NO_PAGE,
    REPORT,
    "SELECT issuer AS one, subject AS two, {each #}, last_at FROM \
     (SELECT account, {each CAST(SUM(#) AS BIGINT) AS #}, MAX(last_at) AS last_at FROM daily_accounts \
     WHERE day >= $1 GROUP BY account) AS summed JOIN accounts ON accounts.account = summed.account \
     ORDER BY sessions DESC, refreshes DESC, issuer, subject LIMIT $2",
);

impl By {
    /// Returns the statement that lists the report: since the day `$1`, at most `$2` rows.
    pub(super) fn statement(self) -> &'static Statement {
        match self {
            Self::Day => &BY_DAY,
            Self::Role => &BY_ROLE,
            Self::Persona => &BY_PERSONA,
            Self::User => &BY_USER,
        }
    }
}
