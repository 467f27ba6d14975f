//! Owns how use is summed up and listed.

use std::collections::HashMap;

use super::database::{Bind, Fault};
use super::page::{account, decode};
use super::state::{Known, Sums, parse_kind};
use super::statements::{self as say, Statement};
use super::{By, Recent, UsageQuery, UsageRow};
use crate::clock::Timestamp;
use crate::domain::day_of;

/// What an entry is summed up by, and what it adds.
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

/// Sums up entries without any database.
pub(super) fn sum_up(lines: impl Iterator<Item = Line>, query: UsageQuery) -> Vec<UsageRow> {
    let since = day_of(query.since);
    let mut groups: HashMap<_, Sums> = HashMap::new();
    for line in lines.filter(|line| line.day >= since) {
        let sums = line.known.sums();
        groups.entry(line.group(query.by)).or_default().add(sums);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_unstable_by(|(one, a), (two, b)| match query.by {
        By::Day => two.0.cmp(&one.0).then_with(|| one.1.cmp(&two.1)),
        By::Role | By::Persona | By::User => (b.sessions, b.refreshes)
            .cmp(&(a.sessions, a.refreshes))
            .then_with(|| one.cmp(two)),
    });
    groups.truncate(usize::try_from(query.most).unwrap_or(usize::MAX));
    groups
        .into_iter()
        .map(|((one, two), sums)| row(query.by, (one, two), sums))
        .collect()
}

fn row(by: By, (one, two): (String, String), sums: Sums) -> UsageRow {
    let number = |sum: i64| u64::try_from(sum).unwrap_or_default();
    let row = UsageRow {
        sessions: number(sums.sessions),
        refreshes: number(sums.refreshes),
        uncertain: number(sums.uncertain),
        failed: number(sums.failed),
        last_at: sums.last_at,
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

/// How a database is asked for it.
pub(super) fn usage_question(query: UsageQuery) -> (&'static Statement, [Bind; 2]) {
    let statement = match query.by {
        By::Day => &say::BY_DAY,
        By::Role => &say::BY_ROLE,
        By::Persona => &say::BY_PERSONA,
        By::User => &say::BY_USER,
    };
    let binds = [
        Bind::Text(day_of(query.since)),
        Bind::Number(query.most.into()),
    ];
    (statement, binds)
}

/// What it answers.
pub(super) fn usage_rows(by: By, text: &str) -> Result<Vec<UsageRow>, Fault> {
    let rows: Vec<(String, String, i64, i64, i64, i64, u64)> = decode(text)?;
    Ok(rows
        .into_iter()
        .map(
            |(one, two, sessions, refreshes, uncertain, failed, last_at)| {
                let sums = Sums {
                    sessions,
                    refreshes,
                    uncertain,
                    failed,
                    last_at,
                };
                row(by, (one, two), sums)
            },
        )
        .collect())
}

/// Where a list of recent entries, read backwards, has come to.
pub(super) struct Place {
    at: i64,
    id: String,
}

impl Place {
    /// After the last one.
    pub(super) const fn end() -> Self {
        Self {
            at: i64::MAX,
            id: String::new(),
        }
    }

    /// How a database is asked for at most `most` before here.
    pub(super) fn question(&self, since: i64, most: i64) -> [Bind; 4] {
        [
            Bind::Number(since),
            Bind::Number(self.at),
            Bind::Number(most),
            Bind::Text(self.id.clone()),
        ]
    }

    /// What it answers, latest first. Goes on to there.
    pub(super) fn rows(&mut self, text: &str) -> Result<Vec<Recent>, Fault> {
        type Row = (String, i64, String, Option<Box<str>>, Option<Box<str>>);
        let rows: Vec<Row> = decode(text)?;
        if let Some((id, at, ..)) = rows.last() {
            (self.id, self.at) = (id.clone(), *at);
        }
        let read = |(_, at, kind, issuer, subject): Row| {
            Some(Recent {
                at: Timestamp::from_millis(u64::try_from(at).unwrap_or_default()),
                kind: parse_kind(&kind)?,
                account: account(issuer, subject),
            })
        };
        // Kinds that this version does not know do not concern its windows.
        Ok(rows.into_iter().filter_map(read).collect())
    }
}
