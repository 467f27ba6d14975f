//! Records in a database: one writer, and connections that only read.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::book::Done;
use super::command::{Command, Paid, Upkeep};
use super::database::{Bind, Reader, page};
use super::entries::{self, CHUNK, IdRow};
use super::entry::{ENDED, Entry, LEFT_PENDING};
use super::queue::Queue;
use super::reports::{self, DAYS_OF_ACCOUNT, ReportRow};
use super::sessions::{self, FoundRow, IdleRow};
use super::statement::{NO_PAGE, Statement};
use super::tickets;
use super::{
    Advance, AlertTimes, Announcement, Dated, DatedTicket, Figures, HourCosts, Recent, Records,
    RecordsCondition, RecordsError, ReserveError, Settled, UsageQuery, UsageRow,
};
use crate::clock::{Clock, Timestamp};
use crate::domain::{Account, Intent, Month, Party, SafetyKey, SessionKey, Settlement, day_of};

/// Most entries that one call of `forget` removes.
const FORGET: u64 = 1000;

/// Longest time that a broker works on an intent, with the error of its clock.
const AT_WORK: Duration = Duration::from_hours(1);

/// Recent entries are read in pages of `PAGE`, and at most `RECENT` in total.
const PAGE: usize = 10_000;
const RECENT: usize = 1_000_000;

/// The name of the key behind safety identifiers.
const SAFETY_KEY: &str = "safety_identifier";

/// Lists the `$4` latest entries that count since `$1`, and before the entry `$3` at `$2`, latest first. What a later
/// version of this program has written of another kind is left out.
static LATEST: Statement = Statement::list(
    NO_PAGE,
    "id, at, kind, outcome, issuer, subject, role, persona, network, code",
    "SELECT {columns} FROM entries WHERE at >= $1 AND (at < $2 OR (at = $2 AND id < $3)) AND outcome <> 'failed' \
     AND kind IN ('mint', 'refresh', 'call', 'redemption') \
     ORDER BY at DESC, id DESC LIMIT $4",
);

/// Lists `$4` ids of the account `$1`, `$2` after the id `$3`.
static OF_ACCOUNT: Statement = Statement::list(
    NO_PAGE,
    "id",
    "SELECT id FROM entries WHERE issuer = $1 AND subject = $2 AND id > $3 ORDER BY id LIMIT $4",
);

/// Keeps the secret `$2` under the name `$1`, unless there is one.
static KEEP_KEY: Statement = Statement::change(
    NO_PAGE,
    "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
);

/// Lists the secret of the name `$1`. No report shows it.
static KEY: Statement = Statement::list(
    NO_PAGE,
    "value",
    "SELECT value FROM secrets WHERE name = $1",
);

/// A secret that the records keep.
#[derive(Deserialize)]
struct KeyRow {
    value: String,
}

/// A number of rows.
#[derive(Deserialize)]
pub(super) struct TotalRow {
    pub(super) total: u64,
}

/// Records in a database.
pub struct SqlRecords {
    queue: Queue,
    pub(super) reader: Box<dyn Reader>,
    /// Bounds the reports at the same time, so that connections stay free for look-ups of sessions.
    reports: Semaphore,
    pub(super) clock: Arc<dyn Clock>,
}

impl SqlRecords {
    /// Returns records that are written through `queue` and read through `reader`.
    pub(super) fn new(queue: Queue, reader: impl Reader + 'static, clock: Arc<dyn Clock>) -> Self {
        Self {
            queue,
            reader: Box::new(reader),
            reports: Semaphore::new(1),
            clock,
        }
    }

    pub(super) async fn paid(&self, command: Paid) -> Result<Done, ReserveError> {
        self.queue.submit(Command::Paid(command)).await?
    }

    /// Carries out a command that the records do not refuse.
    pub(super) async fn certain(&self, command: Command) -> Result<Done, RecordsError> {
        let answer = self.queue.submit(command).await?;
        Ok(answer.unwrap_or_default())
    }

    /// Carries out a command off the paid path. Returns the number of rows that were changed.
    async fn upkeep(&self, command: Upkeep) -> Result<u64, RecordsError> {
        Ok(self.certain(Command::Upkeep(command)).await?.rows)
    }

    /// Runs one statement. Returns the number of rows that were changed.
    pub(super) async fn run(
        &self,
        statement: &'static Statement,
        binds: &[Bind],
    ) -> Result<u64, RecordsError> {
        self.upkeep(Upkeep::Run(statement, binds.to_vec())).await
    }

    /// Repeats `command` until it changes less than a chunk, or `most` rows were changed. Returns the number of rows.
    pub(super) async fn in_chunks(&self, command: Upkeep, most: u64) -> Result<u64, RecordsError> {
        let mut total = 0;
        while total < most {
            let number = self.upkeep(command.clone()).await?;
            total += number;
            if number < CHUNK as u64 {
                break;
            }
        }
        Ok(total)
    }

    async fn key(&self) -> Result<Option<SafetyKey>, RecordsError> {
        let rows: Vec<KeyRow> = self.reader.rows(&KEY, &[SAFETY_KEY.into()]).await?;
        Ok(rows.first().and_then(|row| SafetyKey::parse(&row.value)))
    }
}

#[async_trait]
impl Records for SqlRecords {
    async fn reserve(&self, intent: Intent) -> Result<(), ReserveError> {
        self.paid(Paid::Reserve(Box::new(intent), None))
            .await
            .map(drop)
    }

    async fn advance(&self, intent: Intent, asked: Advance) -> Result<Dated, ReserveError> {
        let done = self
            .paid(Paid::Reserve(Box::new(intent), Some(asked)))
            .await?;
        done.session.ok_or(ReserveError::Unknown)
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled, RecordsError> {
        let command = Command::Paid(Paid::Settle(Box::new(settlement)));
        let answer = self.queue.submit(command).await?;
        Ok(answer.map_or(Settled::Ended, Done::settled))
    }

    async fn session(&self, key: SessionKey) -> Result<Option<Dated>, RecordsError> {
        let binds = [Bind::Text(key.to_text()), self.clock.now().into()];
        let rows: Vec<FoundRow> = self.reader.rows(&sessions::FIND, &binds).await?;
        Ok(rows.into_iter().find_map(FoundRow::read))
    }

    async fn ticket(&self, hash: &str) -> Result<Option<DatedTicket>, RecordsError> {
        let binds = [hash.into(), self.clock.now().into()];
        let rows: Vec<tickets::FoundRow> = self.reader.rows(&tickets::FIND, &binds).await?;
        Ok(rows.into_iter().find_map(tickets::FoundRow::read))
    }

    async fn end_sessions(&self, owner: Party) -> Result<u64, RecordsError> {
        let party = [Bind::Text(owner.to_text())];
        self.run(&tickets::END, &party).await?;
        self.run(&sessions::END, &party).await
    }

    async fn sweep_sessions(&self, max_age: Duration, most: u64) -> Result<u64, RecordsError> {
        let binds = vec![max_age.into(), self.clock.now().into(), CHUNK.into()];
        let expire = Upkeep::Run(&sessions::EXPIRE, binds);
        self.in_chunks(expire, u64::MAX).await?;
        let total: Vec<TotalRow> = self.reader.rows(&sessions::TOTAL, &[]).await?;
        let total = total.first().map_or(0, |row| row.total);
        let excess = total.saturating_sub(most);
        if excess == 0 {
            return Ok(total);
        }
        let idlest: Vec<IdleRow> = self
            .reader
            .rows(&sessions::IDLEST, &[excess.into()])
            .await?;
        let mut dropped = 0;
        for idle in idlest.chunks(CHUNK) {
            dropped += self.run(&sessions::DROP_IDLE, &[page(idle)?]).await?;
        }
        Ok(total.saturating_sub(dropped))
    }

    async fn safety_key(&self) -> Result<SafetyKey, RecordsError> {
        if let Some(key) = self.key().await? {
            return Ok(key);
        }
        let made = Bind::Text(SafetyKey::random().expose_text());
        self.run(&KEEP_KEY, &[SAFETY_KEY.into(), made]).await?;
        let unreadable = || RecordsError::Failed("the safety key cannot be read".into());
        self.key().await?.ok_or_else(unreadable)
    }

    async fn give_up(&self, before: Timestamp, of: Option<&Account>) -> Result<u64, RecordsError> {
        let issuer = of.map_or("", |account| &*account.issuer);
        let subject = of.map_or("", |account| &*account.subject);
        let binds = vec![before.into(), CHUNK.into(), issuer.into(), subject.into()];
        let code = of.map_or(LEFT_PENDING, |_| ENDED);
        let number = self.in_chunks(Upkeep::GiveUp(binds, code), u64::MAX);
        let number = number.await?;
        if of.is_some() {
            let since = self.clock.now().minus(AT_WORK).into();
            let again = [
                issuer.into(),
                subject.into(),
                since,
                LEFT_PENDING.into(),
                ENDED.into(),
            ];
            self.run(&entries::GIVE_UP_AGAIN, &again).await?;
        }
        Ok(number)
    }

    async fn recent(&self, since: Timestamp) -> Result<Vec<Recent>, RecordsError> {
        let (mut recent, mut end) = (Vec::new(), [u64::MAX.into(), "".into()]);
        while recent.len() < RECENT {
            let [at, id] = end;
            let entries: Vec<Entry> = self
                .reader
                .rows(&LATEST, &[since.into(), at, id, PAGE.into()])
                .await?;
            recent.extend(entries.iter().map(Entry::recent));
            match entries.last() {
                Some(last) if entries.len() == PAGE => end = [last.at().into(), (*last.id).into()],
                _ => break,
            }
        }
        recent.reverse();
        Ok(recent)
    }

    async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, RecordsError> {
        let _turn = self.reports.acquire().await;
        let binds = [
            Bind::Text(day_of(query.since)),
            u64::from(query.most).into(),
        ];
        let rows = match query.by.statement() {
            Some(statement) => self.reader.rows(statement, &binds).await?,
            None => self.busiest(query).await?,
        };
        Ok(reports::first(rows, query))
    }

    async fn usage_of(
        &self,
        account: &Account,
        since: Timestamp,
    ) -> Result<Vec<UsageRow>, RecordsError> {
        let _turn = self.reports.acquire().await;
        let [issuer, subject]: [Bind; 2] = [(*account.issuer).into(), (*account.subject).into()];
        let binds = [issuer, subject, Bind::Text(day_of(since))];
        let rows: Vec<ReportRow> = self.reader.rows(&DAYS_OF_ACCOUNT, &binds).await?;
        Ok(rows.into_iter().map(ReportRow::day).collect())
    }

    async fn erase(&self, account: &Account) -> Result<u64, RecordsError> {
        let named: [Bind; 2] = [(*account.issuer).into(), (*account.subject).into()];
        let owner = Party::Identity(account.key());
        // First, so that no ticket can open a call from now on.
        self.end_sessions(owner).await?;
        self.erase_calls(owner).await?;
        let (mut total, mut last) = (0, Bind::from(""));
        loop {
            let [issuer, subject] = named.clone();
            let ids: Vec<IdRow> = self
                .reader
                .rows(&OF_ACCOUNT, &[issuer, subject, last, PAGE.into()])
                .await?;
            let Some(end) = ids.last() else { break };
            last = (*end.id).into();
            for some in ids.chunks(CHUNK) {
                let remove = Upkeep::Remove(&entries::READ, vec![page(some)?]);
                total += self.upkeep(remove).await?;
            }
        }
        self.run(&entries::ERASE_COUNTERS, &named).await?;
        // Once more, for sessions that were being opened: their entries may be removed already.
        self.end_sessions(owner).await?;
        self.erase_calls(owner).await?;
        Ok(total)
    }

    async fn forget(&self, before: Timestamp) -> Result<u64, RecordsError> {
        let oldest = Upkeep::Remove(&entries::OLDEST, vec![before.into(), CHUNK.into()]);
        let number = self.in_chunks(oldest, FORGET).await?;
        let month = Bind::Text(Month::of(before).to_string());
        self.run(&entries::FORGET_COUNTERS, &[month]).await?;
        self.forget_calls().await?;
        self.forget_announced().await?;
        Ok(number)
    }

    async fn raise_alert(&self, name: &str, times: AlertTimes) -> Result<bool, RecordsError> {
        self.raise(name, times).await
    }

    async fn end_alerts(&self) -> Result<Vec<String>, RecordsError> {
        self.end_over().await
    }

    async fn hour_costs(&self, until: Timestamp) -> Result<Option<HourCosts>, RecordsError> {
        let _turn = self.reports.acquire().await;
        self.costs_by_hour(until).await
    }

    async fn announce(&self, new: Announcement) -> Result<bool, RecordsError> {
        self.write_announced(&new).await
    }

    async fn due_announcements(&self) -> Result<Vec<Announcement>, RecordsError> {
        self.take_announced().await
    }

    async fn judged(&self, webhook: &str, again: Option<Duration>) -> Result<(), RecordsError> {
        self.judge_announced(webhook, again).await
    }

    fn figures(&self) -> Figures {
        self.queue.figures()
    }

    fn condition(&self) -> RecordsCondition {
        self.queue.condition()
    }

    async fn close(&self) {
        self.queue.close().await;
        self.reader.close().await;
    }
}
