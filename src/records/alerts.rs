//! Alerts that were raised, one row each, so that only one of all replicas reports each alert to operators.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;

use super::RecordsError;
use super::database::Bind;
use super::sql::SqlRecords;
use super::statement::{NO_PAGE, Statement};
use crate::clock::Timestamp;

/// How long alerts last, and how often they are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertTimes {
    /// Time without any replica raising an alert after which the alert is over.
    pub lasts: Duration,
    /// Shortest time from a message about an alert to the next message that it is raised.
    pub cooldown: Duration,
}

/// Prolongs the alert `$1` by `$3` milliseconds, if it is on.
static PROLONG: Statement = Statement::change(
    NO_PAGE,
    "UPDATE alerts SET until = {now} + $3 WHERE name = $1 AND is_on = 1",
);

/// Turns the alert `$1` on for `$3` milliseconds, unless it is on already or was reported in the last `$4` milliseconds.
static RAISE: Statement = Statement::change(
    NO_PAGE,
    "INSERT INTO alerts (name, is_on, until, told_at) VALUES ($1, 1, {now} + $3, {now}) \
     ON CONFLICT (name) DO UPDATE SET is_on = 1, until = excluded.until, told_at = excluded.told_at \
     WHERE alerts.is_on = 0 AND alerts.told_at <= excluded.told_at - $4",
);

/// Lists the alerts that no replica has raised for their time. `$1` is empty.
static OVER: Statement = Statement::list(
    NO_PAGE,
    "name",
    "SELECT name FROM alerts WHERE is_on = 1 AND name <> $1 AND until <= {now}",
);

/// Turns the alert `$1` off, if no replica has raised it for its time.
static END: Statement = Statement::change(
    NO_PAGE,
    "UPDATE alerts SET is_on = 0, told_at = {now} WHERE name = $1 AND is_on = 1 AND until <= {now}",
);

#[derive(Deserialize)]
struct NameRow {
    name: String,
}

impl SqlRecords {
    pub(super) async fn raise(&self, name: &str, times: AlertTimes) -> Result<bool, RecordsError> {
        let binds: [Bind; 4] = [
            name.into(),
            self.clock.now().into(),
            times.lasts.into(),
            times.cooldown.into(),
        ];
        let is_on = self.run(&PROLONG, &binds[..3]).await? > 0;
        Ok(!is_on && self.run(&RAISE, &binds).await? > 0)
    }

    pub(super) async fn end_over(&self) -> Result<Vec<String>, RecordsError> {
        let now = self.clock.now();
        let over: Vec<NameRow> = self.reader.rows(&OVER, &["".into(), now.into()]).await?;
        let mut ended = Vec::new();
        for NameRow { name } in over {
            if self.run(&END, &[name.as_str().into(), now.into()]).await? > 0 {
                ended.push(name);
            }
        }
        Ok(ended)
    }
}

/// Alerts in memory.
#[derive(Debug, Default)]
pub(super) struct Raised(HashMap<String, Row>);

#[derive(Debug)]
struct Row {
    is_on: bool,
    until: Timestamp,
    told_at: Timestamp,
}

impl Raised {
    pub(super) fn raise(&mut self, name: &str, times: AlertTimes, now: Timestamp) -> bool {
        let (until, told_at) = (now.plus(times.lasts), now);
        let is_new = self
            .0
            .get(name)
            .is_none_or(|row| !row.is_on && now.since(row.told_at) >= times.cooldown);
        if is_new {
            let is_on = true;
            self.0.insert(
                name.to_owned(),
                Row {
                    is_on,
                    until,
                    told_at,
                },
            );
        } else if let Some(row) = self.0.get_mut(name).filter(|row| row.is_on) {
            row.until = until;
        }
        is_new
    }

    pub(super) fn end_over(&mut self, now: Timestamp) -> Vec<String> {
        let over = self.0.iter_mut();
        let over = over.filter(|(_, row)| row.is_on && row.until <= now);
        over.map(|(name, row)| {
            (row.is_on, row.told_at) = (false, now);
            name.clone()
        })
        .collect()
    }
}
