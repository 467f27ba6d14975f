//! GPT-Live sessions that the provider has announced, one row each, so that one replica judges each webhook once.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;

use super::RecordsError;
use super::command::Upkeep;
use super::database::Bind;
use super::entries::CHUNK;
use super::sql::SqlRecords;
use super::statement::{NO_PAGE, Statement};
use crate::clock::Timestamp;
use crate::domain::UpstreamCallId;

/// How long announcements are kept after they were received, as calls are after their end. Longer than a webhook may be
/// repeated under its signature.
pub const ANNOUNCED: Duration = Duration::from_hours(1);
/// Time that a replica has to judge an announcement. Then another replica judges it.
const JUDGING: Duration = Duration::from_secs(30);
/// Most announcements that are judged at a time.
const MOST: u64 = 100;

/// A GPT-Live session that the provider has announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The id of the webhook.
    pub webhook: Box<str>,
    /// The session.
    pub session: UpstreamCallId,
    /// When the session was created, on the provider's clock.
    pub created_at: Timestamp,
    /// When the webhook was received, on the database's clock.
    pub received_at: Timestamp,
}

/// Records the session `$3` of the webhook `$1`, which was created at `$4`.
static ANNOUNCE: Statement = Statement::change(
    NO_PAGE,
    "INSERT INTO announcements (webhook, session, created_at, received_at, due_at) VALUES ($1, $3, $4, {now}, {now}) \
     ON CONFLICT (webhook) DO NOTHING",
);

/// Lists the `$3` announcements that are due for the longest time. `$1` is empty.
static DUE: Statement = Statement::list(
    NO_PAGE,
    "webhook, session, created_at, received_at",
    "SELECT {columns} FROM announcements WHERE due_at <= {now} AND webhook <> $1 ORDER BY due_at LIMIT $3",
);

/// Postpones the webhook `$1` by `$3` milliseconds, if it is due.
static TAKE: Statement = Statement::change(
    NO_PAGE,
    "UPDATE announcements SET due_at = {now} + $3 WHERE webhook = $1 AND due_at <= {now}",
);

/// Postpones the webhook `$1` by `$3` milliseconds.
static POSTPONE: Statement = Statement::change(
    NO_PAGE,
    "UPDATE announcements SET due_at = {now} + $3 WHERE webhook = $1",
);

/// Notes that the webhook `$1` was judged.
static JUDGED: Statement = Statement::change(
    NO_PAGE,
    "UPDATE announcements SET due_at = NULL WHERE webhook = $1",
);

/// Removes `$3` announcements that were received `$1` milliseconds ago.
static FORGET: Statement = Statement::change(
    NO_PAGE,
    "DELETE FROM announcements WHERE webhook IN (SELECT webhook FROM announcements \
     WHERE received_at < {now} - $1 ORDER BY webhook LIMIT $3 FOR UPDATE SKIP LOCKED)",
);

#[derive(Deserialize)]
struct AnnouncementRow {
    webhook: Box<str>,
    session: String,
    created_at: u64,
    received_at: u64,
}

impl AnnouncementRow {
    /// Returns the announcement, or `None` when a later version of this program has written it.
    fn read(self) -> Option<Announcement> {
        Some(Announcement {
            webhook: self.webhook,
            session: UpstreamCallId::parse(&self.session)?,
            created_at: Timestamp::from_millis(self.created_at),
            received_at: Timestamp::from_millis(self.received_at),
        })
    }
}

impl SqlRecords {
    pub(super) async fn write_announced(&self, new: &Announcement) -> Result<bool, RecordsError> {
        let binds: [Bind; 4] = [
            (*new.webhook).into(),
            self.clock.now().into(),
            new.session.as_str().into(),
            new.created_at.into(),
        ];
        Ok(self.run(&ANNOUNCE, &binds).await? > 0)
    }

    pub(super) async fn take_announced(&self) -> Result<Vec<Announcement>, RecordsError> {
        let now = self.clock.now();
        let binds = ["".into(), now.into(), MOST.into()];
        let due: Vec<AnnouncementRow> = self.reader.rows(&DUE, &binds).await?;
        let mut taken = Vec::new();
        for announcement in due.into_iter().filter_map(AnnouncementRow::read) {
            let binds = [(*announcement.webhook).into(), now.into(), JUDGING.into()];
            if self.run(&TAKE, &binds).await? > 0 {
                taken.push(announcement);
            }
        }
        Ok(taken)
    }

    pub(super) async fn judge_announced(
        &self,
        webhook: &str,
        again: Option<Duration>,
    ) -> Result<(), RecordsError> {
        match again {
            Some(wait) => {
                let binds = [webhook.into(), self.clock.now().into(), wait.into()];
                self.run(&POSTPONE, &binds).await.map(drop)
            }
            None => self.run(&JUDGED, &[webhook.into()]).await.map(drop),
        }
    }

    /// Removes announcements that were received long ago.
    pub(super) async fn forget_announced(&self) -> Result<(), RecordsError> {
        let binds = vec![ANNOUNCED.into(), self.clock.now().into(), CHUNK.into()];
        let forget = Upkeep::Run(&FORGET, binds);
        self.in_chunks(forget, u64::MAX).await.map(drop)
    }
}

/// Announcements in memory, each with the time at which it is due.
#[derive(Debug, Default)]
pub(super) struct Announced(HashMap<Box<str>, (Announcement, Option<Timestamp>)>);

impl Announced {
    pub(super) fn write(&mut self, new: &Announcement, now: Timestamp) -> bool {
        let is_new = !self.0.contains_key(&new.webhook);
        if is_new {
            let announcement = Announcement {
                received_at: now,
                ..new.clone()
            };
            self.0
                .insert(new.webhook.clone(), (announcement, Some(now)));
        }
        is_new
    }

    pub(super) fn take(&mut self, now: Timestamp) -> Vec<Announcement> {
        let rows = self.0.values_mut();
        let due = rows.filter(|(_, due)| due.is_some_and(|due| due <= now));
        due.map(|(announcement, due)| {
            *due = Some(now.plus(JUDGING));
            announcement.clone()
        })
        .collect()
    }

    pub(super) fn judge(&mut self, webhook: &str, again: Option<Timestamp>) {
        if let Some((_, due)) = self.0.get_mut(webhook) {
            *due = again;
        }
    }

    pub(super) fn forget(&mut self, now: Timestamp) {
        self.0
            .retain(|_, (announcement, _)| now.since(announcement.received_at) <= ANNOUNCED);
    }
}
