//! Records in a database: one writer, and connections that only read.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::command::{Answer, Batched};
use super::database::{Bind, Reader};
use super::maintenance::{self, Single};
use super::queue::Queue;
use super::reports::{self, Place};
use super::rows::{IdRow, decode, millis};
use super::sessions::{self, IdleRow};
use super::{
    Advance, AdvanceError, Dated, Recent, Records, RecordsCondition, RecordsError, ReserveError,
    UsageQuery, UsageRow,
};
use crate::clock::{Clock, Timestamp};
use crate::domain::{Account, Intent, Party, SafetyKey, SessionKey, Settlement};

/// Most entries that one call of `forget` removes.
const FORGET: u64 = 1000;

/// Most rows that are removed or given up in one transaction: mints wait for it.
const CHUNK: u32 = 125;

/// Recent entries are read so many at once, and at most so many.
const PAGE: u32 = 10_000;
const RECENT: usize = 1_000_000;

/// The name of the key behind safety identifiers.
const SAFETY_KEY: &str = "safety_identifier";

/// Records in a database.
pub struct SqlRecords {
    queue: Queue,
    reader: Box<dyn Reader>,
    clock: Arc<dyn Clock>,
}

impl SqlRecords {
    /// Returns records that are written through `queue` and read through `reader`.
    pub(super) fn new(queue: Queue, reader: impl Reader + 'static, clock: Arc<dyn Clock>) -> Self {
        Self {
            queue,
            reader: Box::new(reader),
            clock,
        }
    }

    /// Repeats `command` until it changes less than a chunk, or `most` rows were changed. Returns the number of rows.
    async fn in_chunks(&self, command: Single, most: u64) -> Result<u64, RecordsError> {
        let mut total = 0;
        while total < most {
            let number = self.queue.submit(command.clone()).await?;
            total += number;
            if number < u64::from(CHUNK) {
                break;
            }
        }
        Ok(total)
    }

    /// Returns the next ids of the account's entries after `last`.
    async fn ids_of(&self, account: &Account, last: &str) -> Result<Vec<Box<str>>, RecordsError> {
        let binds = [
            Bind::Text(String::from(&*account.issuer)),
            Bind::Text(String::from(&*account.subject)),
            Bind::Text(last.into()),
            Bind::Number(10_000),
        ];
        let text = self.reader.read(&reports::OF_ACCOUNT, &binds).await?;
        let rows: Vec<IdRow> = decode(&text)?;
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    async fn key(&self, name: &'static str) -> Result<Option<SafetyKey>, RecordsError> {
        let binds = [Bind::Text(name.to_owned())];
        let text = self.reader.read(&maintenance::KEY, &binds).await?;
        Ok(maintenance::key(&text)?)
    }
}

#[async_trait]
impl Records for SqlRecords {
    async fn reserve(&self, intent: Intent) -> Result<(), ReserveError> {
        let command = Batched::Reserve(Box::new(intent));
        match self.queue.submit(command).await? {
            Answer::Exceeded(exceeded) => Err(ReserveError::QuotaExceeded(exceeded)),
            Answer::Done(_) | Answer::Refused(_) | Answer::Unknown => Ok(()),
        }
    }

    async fn advance(&self, intent: Intent, asked: Advance) -> Result<Dated, AdvanceError> {
        let command = Batched::Advance(Box::new(intent), asked);
        match self.queue.submit(command).await? {
            Answer::Done(Some(session)) => Ok(session),
            Answer::Refused(refusal) => Err(AdvanceError::Refused(refusal)),
            Answer::Done(None) | Answer::Unknown | Answer::Exceeded(_) => {
                Err(AdvanceError::Unknown)
            }
        }
    }

    async fn settle(&self, settlement: Settlement) -> Result<Option<Dated>, RecordsError> {
        let command = Batched::Settle(Box::new(settlement));
        match self.queue.submit(command).await? {
            Answer::Done(session) => Ok(session),
            Answer::Exceeded(_) | Answer::Refused(_) | Answer::Unknown => Ok(None),
        }
    }

    async fn session(&self, key: SessionKey) -> Result<Option<Dated>, RecordsError> {
        let now = millis(self.clock.now());
        let binds = [Bind::Text(key.to_text()), Bind::Number(now)];
        let text = self.reader.read(&sessions::FIND, &binds).await?;
        Ok(sessions::found(&text)?)
    }

    async fn end_sessions(&self, owner: Party) -> Result<u64, RecordsError> {
        self.queue.submit(Single::End(owner)).await
    }

    async fn sweep_sessions(&self, max_age: Duration, most: u64) -> Result<u64, RecordsError> {
        self.in_chunks(Single::Expire(max_age, CHUNK), u64::MAX)
            .await?;
        let total = self.reader.read(&sessions::TOTAL, &[]).await?;
        let total = sessions::total(&total)?;
        let excess = total.saturating_sub(most);
        if excess == 0 {
            return Ok(total);
        }
        let binds = [Bind::Number(i64::try_from(excess).unwrap_or(i64::MAX))];
        let idlest: Vec<IdleRow> = decode(&self.reader.read(&sessions::IDLEST, &binds).await?)?;
        let mut dropped = 0;
        for idle in idlest.chunks(CHUNK as usize) {
            dropped += self.queue.submit(Single::DropIdle(idle.to_vec())).await?;
        }
        Ok(total.saturating_sub(dropped))
    }

    async fn safety_key(&self) -> Result<SafetyKey, RecordsError> {
        if let Some(key) = self.key(SAFETY_KEY).await? {
            return Ok(key);
        }
        let made = Single::KeepKey(SAFETY_KEY, SafetyKey::random());
        self.queue.submit(made).await?;
        let unreadable = || RecordsError::Failed("the safety key cannot be read".into());
        self.key(SAFETY_KEY).await?.ok_or_else(unreadable)
    }

    async fn give_up(&self, before: Timestamp) -> Result<u64, RecordsError> {
        self.in_chunks(Single::GiveUp(before, CHUNK), u64::MAX)
            .await
    }

    async fn recent(&self, since: Timestamp) -> Result<Vec<Recent>, RecordsError> {
        let (mut place, mut recent) = (Place::end(), Vec::new());
        while recent.len() < RECENT {
            let binds = place.question(millis(since), PAGE.into());
            let text = self.reader.read(&reports::RECENT, &binds).await?;
            let (number, mut rows) = place.rows(&text)?;
            recent.append(&mut rows);
            if number < PAGE as usize {
                break;
            }
        }
        recent.reverse();
        Ok(recent)
    }

    async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, RecordsError> {
        let (statement, binds) = reports::usage_question(query);
        let text = self.reader.read(statement, &binds).await?;
        Ok(reports::usage_rows(query.by, &text)?)
    }

    async fn erase(&self, account: &Account) -> Result<u64, RecordsError> {
        let (mut total, mut last) = (0, Box::default());
        loop {
            let ids = self.ids_of(account, &last).await?;
            let Some(end) = ids.last() else { break };
            last.clone_from(end);
            for some in ids.chunks(CHUNK as usize) {
                total += self.queue.submit(Single::Remove(some.to_vec())).await?;
            }
        }
        let rest = Single::EraseRest(account.clone());
        self.queue.submit(rest).await?;
        Ok(total)
    }

    async fn forget(&self, before: Timestamp) -> Result<u64, RecordsError> {
        self.in_chunks(Single::Forget(before, CHUNK), FORGET).await
    }

    fn condition(&self) -> RecordsCondition {
        self.queue.condition()
    }

    async fn close(&self) {
        self.queue.close().await;
        self.reader.close().await;
    }
}
