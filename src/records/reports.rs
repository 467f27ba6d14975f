//! Reports: how use is summed up.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::book::Book;
use super::calls::UsedRow;
use super::entry::Entry;
use super::measures::Sums;
use super::statement::{NO_PAGE, Statement};
use super::{By, Records, RecordsError, UsageQuery, UsageRow};
use crate::clock::Timestamp;
use crate::domain::{Account, Kind, Used, day_of};

/// Sums up a book in memory.
pub(super) fn sum_up(book: &Book, query: UsageQuery) -> Vec<UsageRow> {
    let since = query.since.start_of_day();
    let mut groups: HashMap<_, Sums> = HashMap::new();
    let mut add = |group, entry: &Entry| groups.entry(group).or_default().add(Sums::of(entry));
    if query.by == By::Model {
        for (group, entry) in by_model(book) {
            if entry.at() >= since {
                add(group, &entry);
            }
        }
    } else {
        for entry in book.entries.values().filter(|entry| entry.at() >= since) {
            add(group(entry, query.by), entry);
        }
    }
    let rows = groups
        .into_iter()
        .map(|((one, two), sums)| ReportRow { one, two, sums });
    first(rows.collect(), query)
}

/// Puts the rows of a report in order. Returns as many as are asked for.
pub(super) fn first(mut rows: Vec<ReportRow>, query: UsageQuery) -> Vec<UsageRow> {
    let use_of = |sums: &Sums| (sums.get("sessions"), sums.get("refreshes"));
    rows.sort_unstable_by(|one, two| {
        let by_name = || (&one.one, &one.two).cmp(&(&two.one, &two.two));
        let (a, b) = (&one.sums, &two.sums);
        match query.by {
            By::Day => two.one.cmp(&one.one).then_with(by_name),
            By::Role | By::Persona | By::User => use_of(b).cmp(&use_of(a)).then_with(by_name),
            By::Model => {
                let (a, b) = (a.get("nanodollars"), b.get("nanodollars"));
                b.cmp(&a).then_with(by_name)
            }
        }
    });
    rows.truncate(usize::try_from(query.most).unwrap_or(usize::MAX));
    rows.into_iter().map(|row| row.read(query.by)).collect()
}

/// Sums up the use of one account by days, the latest first.
pub(super) fn days_of(book: &Book, account: &Account, since: Timestamp) -> Vec<UsageRow> {
    let since = since.start_of_day();
    let name = (account.issuer.to_string(), account.subject.to_string());
    let is_meant = |entry: &&Entry| entry.at() >= since && group(entry, By::User) == name;
    let mut days: BTreeMap<_, Sums> = BTreeMap::new();
    for entry in book.entries.values().filter(is_meant) {
        days.entry(day_of(entry.at()))
            .or_default()
            .add(Sums::of(entry));
    }
    let two = String::new;
    let days = days.into_iter().rev();
    days.map(|(one, sums)| {
        ReportRow::day(ReportRow {
            one,
            two: two(),
            sums,
        })
    })
    .collect()
}

/// Returns, for each call and each model in it, an entry that has used what the model was used for.
fn by_model(book: &Book) -> impl Iterator<Item = ((String, String), Entry)> {
    let mut used: HashMap<_, Used> = HashMap::new();
    for ((entry, _), more) in &book.uses {
        if let Some(more) = more {
            let key = (*entry, &*more.model, more.mark);
            let sums = used.entry(key).or_default();
            *sums = sums.plus(more);
        }
    }
    used.into_iter().filter_map(|((entry, model, mark), used)| {
        let mut entry = book.entries.get(&entry)?.clone();
        (entry.kind, entry.used) = (Kind::Redemption, UsedRow::new(&used));
        Some(((model.to_owned(), mark.as_str().to_owned()), entry))
    })
}

/// Returns the two columns that the entry is summed up by.
fn group(entry: &Entry, by: By) -> (String, String) {
    let text = |text: &Option<Box<str>>| text.as_deref().unwrap_or_default().to_owned();
    match by {
        By::Day => (day_of(entry.at()), text(&entry.role)),
        By::Role => (text(&entry.role), String::new()),
        By::Persona => (entry.persona.to_string(), String::new()),
        By::User => (text(&entry.issuer), text(&entry.subject)),
        By::Model => (String::new(), String::new()),
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
    /// Returns the row of a report on one account.
    pub(super) fn day(self) -> UsageRow {
        UsageRow {
            day: Some(self.one),
            sums: self.sums,
            ..UsageRow::default()
        }
    }

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
            By::Model => (row.model, row.mark) = (Some(self.one), Some(self.two)),
        }
        row
    }
}

impl dyn Records + '_ {
    /// Reads a report as [`Records::usage`] does. Returns its rows, and true when there are more rows than these.
    pub async fn usage_at_most(
        &self,
        query: UsageQuery,
    ) -> Result<(Vec<UsageRow>, bool), RecordsError> {
        let most = query.most.saturating_add(1);
        let mut rows = self.usage(UsageQuery { most, ..query }).await?;
        let is_cut = rows.len() > query.most as usize;
        rows.truncate(query.most as usize);
        Ok((rows, is_cut))
    }
}

/// The columns of [`ReportRow`].
pub(super) const REPORT: &str = "one, two, {each #}, last_at";

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

/// Sums up the days of the account with the names `$1` and `$2` from the day `$3` on.
pub(super) static DAYS_OF_ACCOUNT: Statement = Statement::list(
    NO_PAGE,
    REPORT,
    "SELECT day AS one, '' AS two, {each #}, last_at FROM daily_accounts \
     JOIN accounts ON accounts.account = daily_accounts.account \
     WHERE issuer = $1 AND subject = $2 AND day >= $3 ORDER BY day DESC",
);

static BY_MODEL: Statement = Statement::list(
    NO_PAGE,
    REPORT,
    "SELECT model AS one, mark AS two, 0 AS sessions, 0 AS refreshes, 0 AS uncertain, 0 AS failed, \
     CAST(SUM(calls) AS BIGINT) AS calls, {used CAST(SUM(#) AS BIGINT) AS #}, MAX(last_at) AS last_at FROM daily_models \
     WHERE day >= $1 GROUP BY model, mark ORDER BY nanodollars DESC, model, mark LIMIT $2",
);

impl By {
    /// Returns the statement that lists the report: since the day `$1`, at most `$2` rows. That of accounts is made in two steps,
    /// which `records/ranking.rs` has.
    pub(super) fn statement(self) -> Option<&'static Statement> {
        match self {
            Self::Day => Some(&BY_DAY),
            Self::Role => Some(&BY_ROLE),
            Self::Persona => Some(&BY_PERSONA),
            Self::Model => Some(&BY_MODEL),
            Self::User => None,
        }
    }
}
