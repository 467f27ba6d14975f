//! Reports: how use is summed up, and how recent entries are listed.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::database::{Bind, Fault};
use super::measures::{self, Sums};
use super::rows::{account, decode};
use super::state::{Known, parse_kind};
use super::statement::{Statement, list, number, text};
use super::{By, Recent, UsageQuery, UsageRow};
use crate::clock::Timestamp;
use crate::domain::day_of;

/// The day of an entry, and the entry.
pub(super) struct Line {
    day: String,
    known: Known,
}

impl Line {
    pub(super) fn of(known: &Known) -> Self {
        Self {
            day: day_of(known.at),
            known: known.clone(),
        }
    }

    fn group(&self, by: By) -> (String, String) {
        let known = &self.known;
        let role = || known.role.as_deref().unwrap_or_default().to_owned();
        match by {
            By::Day => (self.day.clone(), role()),
            By::Role => (role(), String::new()),
            By::Persona => (known.persona.clone().into(), String::new()),
            By::User => known
                .account
                .as_ref()
                .map_or_else(Default::default, |account| {
                    (
                        String::from(&*account.issuer),
                        String::from(&*account.subject),
                    )
                }),
        }
    }
}

/// Sums up entries in memory.
pub(super) fn sum_up(lines: impl Iterator<Item = Line>, query: UsageQuery) -> Vec<UsageRow> {
    let since = day_of(query.since);
    let mut groups: HashMap<_, Sums> = HashMap::new();
    for line in lines.filter(|line| line.day >= since) {
        let sums = Sums::of(&line.known);
        groups.entry(line.group(query.by)).or_default().add(sums);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    let use_of = |sums: &Sums| (sums.get("sessions"), sums.get("refreshes"));
    groups.sort_unstable_by(|(one, a), (two, b)| match query.by {
        By::Day => two.0.cmp(&one.0).then_with(|| one.1.cmp(&two.1)),
        By::Role | By::Persona | By::User => use_of(b).cmp(&use_of(a)).then_with(|| one.cmp(two)),
    });
    groups.truncate(usize::try_from(query.most).unwrap_or(usize::MAX));
    groups
        .into_iter()
        .map(|((one, two), sums)| row(query.by, (one, two), sums))
        .collect()
}

fn row(by: By, (one, two): (String, String), sums: Sums) -> UsageRow {
    let row = UsageRow {
        sums,
        ..UsageRow::default()
    };
    match by {
        By::Day => UsageRow {
            day: Some(one),
            role: Some(two),
            ..row
        },
        By::Role => UsageRow {
            role: Some(one),
            ..row
        },
        By::Persona => UsageRow {
            persona: Some(one),
            ..row
        },
        By::User => UsageRow {
            issuer: Some(one),
            subject: Some(two),
            ..row
        },
    }
}

/// Returns the expressions that sum up all measures.
fn summed() -> String {
    let mut summed: Vec<_> = measures::measures()
        .map(|name| format!("CAST(SUM({name}) AS BIGINT) AS {name}"))
        .collect();
    summed.push("MAX(last_at) AS last_at".to_owned());
    summed.join(", ")
}

/// Returns a statement that lists a report.
fn report(rows: &str) -> Statement {
    let mut columns = vec![text("one"), text("two")];
    columns.extend(measures::columns());
    columns.push(number("last_at"));
    list(&columns, rows)
}

/// Returns a report over `daily` since the day `$1`, at most `$2` rows.
fn daily(one: &str, two: &str, (groups, order): (&str, &str)) -> Statement {
    report(&format!(
        "SELECT {one} AS one, {two} AS two, {} FROM daily WHERE day >= $1 GROUP BY {groups} ORDER BY {order} LIMIT $2",
        summed()
    ))
}

static BY_DAY: LazyLock<Statement> =
    LazyLock::new(|| daily("day", "role", ("day, role", "day DESC, role")));

static BY_ROLE: LazyLock<Statement> = LazyLock::new(|| {
    daily(
        "role",
        "''",
        ("role", "sessions DESC, refreshes DESC, role"),
    )
});

static BY_PERSONA: LazyLock<Statement> = LazyLock::new(|| {
    let order = "sessions DESC, refreshes DESC, persona";
    daily("persona", "''", ("persona", order))
});

static BY_USER: LazyLock<Statement> = LazyLock::new(|| {
    let (names, summed) = (
        measures::measures().collect::<Vec<_>>().join(", "),
        summed(),
    );
    report(&format!(
        "SELECT issuer AS one, subject AS two, {names}, last_at FROM \
         (SELECT account, {summed} FROM daily_accounts WHERE day >= $1 GROUP BY account) AS summed \
         JOIN accounts ON accounts.account = summed.account \
         ORDER BY sessions DESC, refreshes DESC, issuer, subject LIMIT $2"
    ))
});

/// Since `$1` the latest `$3` before the entry (`$2`, `$4`) that count, latest first.
pub(super) static RECENT: LazyLock<Statement> = LazyLock::new(|| {
    list(
        &[
            text("id"),
            number("at"),
            text("kind"),
            text("issuer"),
            text("subject"),
        ],
        "SELECT id, at, kind, issuer, subject FROM entries \
         WHERE at >= $1 AND (at < $2 OR (at = $2 AND id < $4)) AND outcome <> 'failed' \
         ORDER BY at DESC, id DESC LIMIT $3",
    )
});

/// The ids of the account `$1`, `$2` after the id `$3`, at most `$4`.
pub(super) static OF_ACCOUNT: LazyLock<Statement> = LazyLock::new(|| {
    list(
        &[text("id")],
        "SELECT id FROM entries WHERE issuer = $1 AND subject = $2 AND id > $3 ORDER BY id LIMIT $4",
    )
});

/// Returns the statement of a report, and its parameters.
pub(super) fn usage_question(query: UsageQuery) -> (&'static Statement, [Bind; 2]) {
    let statement = match query.by {
        By::Day => &BY_DAY,
        By::Role => &BY_ROLE,
        By::Persona => &BY_PERSONA,
        By::User => &BY_USER,
    };
    let binds = [
        Bind::Text(day_of(query.since)),
        Bind::Number(query.most.into()),
    ];
    (statement, binds)
}

/// Decodes a report.
pub(super) fn usage_rows(by: By, text: &str) -> Result<Vec<UsageRow>, Fault> {
    #[derive(Deserialize)]
    struct Row {
        one: String,
        two: String,
        #[serde(flatten)]
        sums: Sums,
    }
    let rows: Vec<Row> = decode(text)?;
    let read = |Row { one, two, sums }| row(by, (one, two), sums);
    Ok(rows.into_iter().map(read).collect())
}

/// The place that a list of recent entries, read backwards, has come to.
pub(super) struct Place {
    at: i64,
    id: String,
}

/// A recent entry as it is read.
#[derive(Deserialize)]
struct RecentRow {
    id: String,
    at: i64,
    kind: String,
    issuer: Option<Box<str>>,
    subject: Option<Box<str>>,
}

impl Place {
    /// Returns the place after the last entry.
    pub(super) const fn end() -> Self {
        Self {
            at: i64::MAX,
            id: String::new(),
        }
    }

    /// Returns the parameters that list at most `most` entries before this place.
    pub(super) fn question(&self, since: i64, most: i64) -> [Bind; 4] {
        [
            Bind::Number(since),
            Bind::Number(self.at),
            Bind::Number(most),
            Bind::Text(self.id.clone()),
        ]
    }

    /// Decodes a list, and moves on to its end. Returns the number of rows, and the entries, latest first.
    pub(super) fn rows(&mut self, text: &str) -> Result<(usize, Vec<Recent>), Fault> {
        let rows: Vec<RecentRow> = decode(text)?;
        if let Some(last) = rows.last() {
            (self.id, self.at) = (last.id.clone(), last.at);
        }
        let read = |row: RecentRow| {
            Some(Recent {
                at: Timestamp::from_millis(u64::try_from(row.at).unwrap_or_default()),
                kind: parse_kind(&row.kind)?,
                account: account(row.issuer, row.subject),
            })
        };
        // The windows of this version do not count kinds that it does not know.
        Ok((rows.len(), rows.into_iter().filter_map(read).collect()))
    }
}
