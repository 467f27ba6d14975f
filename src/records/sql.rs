//! Owns the ledger that is kept in a database: its one writer, and the connections that only read.

use async_trait::async_trait;

use super::database::{Bind, Reader};
use super::page::{decode, millis};
use super::queue::Queue;
use super::reports::{self, Place};
use super::statements as say;
use super::transaction::{Answer, Command};
use super::{Recent, Records, RecordsCondition, RecordsError, ReserveError, UsageQuery, UsageRow};
use crate::clock::Timestamp;
use crate::domain::{Account, Intent, Settlement};

/// Most entries that one call of `forget` removes.
const FORGET: u64 = 1000;

/// Most entries that are removed or given up in one transaction: mints wait for it.
const CHUNK: u32 = 125;

/// Recent entries are read so many at once, and at most so many.
const PAGE: u32 = 10_000;
const RECENT: usize = 1_000_000;

/// A ledger in a database.
pub struct SqlRecords {
    pub(super) queue: Queue,
    pub(super) reader: Box<dyn Reader>,
}

impl SqlRecords {
    /// Written through `queue`, read through `reader`.
    pub(super) fn new(queue: Queue, reader: impl Reader + 'static) -> Self {
        Self {
            queue,
            reader: Box::new(reader),
        }
    }

    pub(super) async fn number(&self, command: Command) -> Result<u64, RecordsError> {
        match self.queue.submit(command).await? {
            Answer::Number(number) => Ok(number),
            Answer::Done | Answer::Exceeded(_) => Ok(0),
        }
    }

    /// The next ids of the account's entries after `last`.
    async fn ids_of(&self, account: &Account, last: &str) -> Result<Vec<Box<str>>, RecordsError> {
        let binds = [
            Bind::Text(String::from(&*account.issuer)),
            Bind::Text(String::from(&*account.subject)),
            Bind::Text(last.into()),
            Bind::Number(10_000),
        ];
        let text = self.reader.read(&say::OF_ACCOUNT, &binds).await?;
        let rows: Vec<[Box<str>; 1]> = decode(&text)?;
        Ok(rows.into_iter().map(|[id]| id).collect())
    }
}

#[async_trait]
impl Records for SqlRecords {
    async fn reserve(&self, intent: Intent) -> Result<(), ReserveError> {
        match self
            .queue
            .submit(Command::Reserve(Box::new(intent)))
            .await?
        {
            Answer::Exceeded(exceeded) => Err(ReserveError::QuotaExceeded {
                limit: exceeded.limit,
                resets_at: exceeded.resets_at,
            }),
            Answer::Done | Answer::Number(_) => Ok(()),
        }
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), RecordsError> {
        self.queue.submit(Command::Settle(settlement)).await?;
        Ok(())
    }

    async fn give_up(&self, before: Timestamp) -> Result<u64, RecordsError> {
        let mut total = 0;
        loop {
            let number = self.number(Command::GiveUp(before, CHUNK)).await?;
            total += number;
            if number < u64::from(CHUNK) {
                return Ok(total);
            }
        }
    }

    async fn recent(&self, since: Timestamp) -> Result<Vec<Recent>, RecordsError> {
        let (mut place, mut recent) = (Place::end(), Vec::new());
        while recent.len() < RECENT {
            let binds = place.question(millis(since), PAGE.into());
            let mut rows = place.rows(&self.reader.read(&say::RECENT, &binds).await?)?;
            let number = rows.len();
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
                total += self.number(Command::Remove(some.to_vec())).await?;
            }
        }
        self.number(Command::EraseRest(account.clone())).await?;
        Ok(total)
    }

    async fn forget(&self, before: Timestamp) -> Result<u64, RecordsError> {
        let mut total = 0;
        while total < FORGET {
            let number = self.number(Command::Forget(before, CHUNK)).await?;
            total += number;
            if number < u64::from(CHUNK) {
                break;
            }
        }
        Ok(total)
    }

    fn condition(&self) -> RecordsCondition {
        self.queue.condition()
    }

    async fn close(&self) {
        self.queue.close().await;
        self.reader.close().await;
    }
}
