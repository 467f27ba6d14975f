//! Connections to a SQLite file.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqlitePool};
use sqlx::{ConnectOptions, Connection as _, Executor, Row, Sqlite};

use super::file::{OpenFile, beside};
use super::schema::code;
use crate::clock::{Clock, Timestamp};
use crate::records::OpenError;
use crate::records::database::{Base, Bind, Connection, Fault, Reader, Severity};
use crate::records::statement::Statement;

/// Changed rows after which the write-ahead log is moved into the database file. A mint changes about eight rows.
const CHECKPOINT: u64 = 16_000;

/// A database file, as the writer opens it.
pub(super) struct SqliteFile {
    pub(super) options: SqliteConnectOptions,
    pub(super) clock: Arc<dyn Clock>,
    /// The file that was opened first. No other file is written in its place.
    pub(super) opened: OpenFile,
    /// True when the write-ahead log was removed under an open connection. Readers may still hold the removed one.
    pub(super) has_lost_log: Arc<AtomicBool>,
    /// The lock of a broker that serves, held as long as the writer lives.
    pub(super) _lock: Option<File>,
}

/// The connection that writes.
struct Pen {
    connection: SqliteConnection,
    clock: Arc<dyn Clock>,
    opened: OpenFile,
    /// The write-ahead log, beside the file. It holds what was committed lately.
    log: OpenFile,
    has_lost_log: Arc<AtomicBool>,
    /// The rows changed since the log was moved.
    rows: u64,
}

/// Connections that read.
pub(super) struct Pool(pub(super) SqlitePool);

fn fault(error: sqlx::Error) -> Fault {
    let severity = match (&error, code(&error).map(|code| code & 0xff)) {
        // Too big, a constraint, a wrong type: the value is at fault, not the database.
        (_, Some(18..=20)) | (sqlx::Error::Encode(_), _) => Severity::Command,
        _ => Severity::Broken,
    };
    Fault::new(severity, error)
}

fn bound(statement: &'static Statement, binds: &[Bind]) -> Query<'static, Sqlite, SqliteArguments> {
    let query = sqlx::query(statement.sqlite());
    binds.iter().fold(query, |query, bind| match bind {
        Bind::Text(text) => query.bind(text.clone()),
        Bind::Number(number) => query.bind(*number),
    })
}

fn lost_log() -> Fault {
    let why = "the write-ahead log beside the ledger's file was moved, removed or replaced. What it held was moved into the \
         file. Restart the broker";
    Fault::new(Severity::Broken, why)
}

/// Rejects a file system on which SQLite cannot keep its promises.
pub(super) async fn assert_fit(options: &SqliteConnectOptions) -> Result<(), OpenError> {
    let mut connection = options.connect().await?;
    let question = "SELECT journal_mode, synchronous FROM pragma_journal_mode, pragma_synchronous";
    let found = sqlx::query_as(question).fetch_one(&mut connection).await?;
    connection.close().await?;
    let (journal, synchronous): (String, i64) = found;
    let unfit = |name, found, needed| {
        Err(OpenError::Unfit {
            name,
            found,
            needed,
        })
    };
    if journal != "wal" {
        return unfit("journal_mode", journal, "wal");
    }
    if synchronous != 2 {
        return unfit("synchronous", synchronous.to_string(), "2 (FULL)");
    }
    Ok(())
}

#[async_trait]
impl Base for SqliteFile {
    async fn connect(&self) -> Result<Box<dyn Connection>, Fault> {
        self.opened.assert_kept()?;
        if self.has_lost_log.load(Ordering::Relaxed) {
            return Err(lost_log());
        }
        let mut connection = self.options.connect().await.map_err(fault)?;
        // The log exists from the first transaction on.
        let begun = connection.execute("BEGIN IMMEDIATE; COMMIT").await;
        begun.map_err(fault)?;
        let log = OpenFile::of(&beside(self.opened.path(), "-wal"));
        let mut pen: Box<dyn Connection> = Box::new(Pen {
            connection,
            clock: Arc::clone(&self.clock),
            opened: self.opened.clone(),
            log: log.map_err(|error| Fault::new(Severity::Broken, error))?,
            has_lost_log: Arc::clone(&self.has_lost_log),
            rows: 0,
        });
        pen.probe().await?;
        Ok(pen)
    }
}

impl Pen {
    async fn say(&mut self, words: &'static str) -> Result<(), Fault> {
        let said = sqlx::query(words).execute(&mut self.connection).await;
        said.map(drop).map_err(fault)
    }
}

#[async_trait]
impl Connection for Pen {
    async fn begin(&mut self) -> Result<Timestamp, Fault> {
        self.assert_lasting().await?;
        // Here, and not in the commit: the callers of the last transaction have their answers.
        if self.rows >= CHECKPOINT {
            self.rows = 0;
            self.say("PRAGMA wal_checkpoint(PASSIVE)").await?;
        }
        self.say("BEGIN IMMEDIATE").await?;
        Ok(self.clock.now())
    }

    async fn commit(&mut self) -> Result<(), Fault> {
        self.say("COMMIT").await
    }

    async fn rollback(&mut self) -> Result<(), Fault> {
        self.say("ROLLBACK").await
    }

    async fn change(
        &mut self,
        statement: &'static Statement,
        binds: &[Bind],
    ) -> Result<u64, Fault> {
        let changed = bound(statement, binds).execute(&mut self.connection).await;
        let rows = changed.map_err(fault)?.rows_affected();
        self.rows += rows;
        Ok(rows)
    }

    async fn list(
        &mut self,
        statement: &'static Statement,
        binds: &[Bind],
    ) -> Result<String, Fault> {
        let listed = bound(statement, binds)
            .fetch_one(&mut self.connection)
            .await;
        listed.and_then(|row| row.try_get(0)).map_err(fault)
    }

    async fn assert_lasting(&mut self) -> Result<(), Fault> {
        self.opened.assert_kept()?;
        if self.log.is_kept() {
            return Ok(());
        }
        self.has_lost_log.store(true, Ordering::Relaxed);
        // This connection still has the removed log open, and nobody else will.
        self.say("PRAGMA wal_checkpoint(TRUNCATE)").await?;
        Err(lost_log())
    }

    async fn close(mut self: Box<Self>) {
        // Until then erased rows are still in the file and in the log.
        if let Err(fault) = self.say("PRAGMA wal_checkpoint(TRUNCATE)").await {
            // The log stays beside the database file and belongs to it.
            tracing::warn!(cause = %fault, "the write-ahead log was not moved into the ledger's file: keep both files together");
        }
        if let Err(error) = self.connection.close().await {
            tracing::warn!(cause = %error, "the ledger's file was not closed properly");
        }
    }
}

#[async_trait]
impl Reader for Pool {
    async fn list(&self, statement: &'static Statement, binds: &[Bind]) -> Result<String, Fault> {
        let listed = bound(statement, binds).fetch_one(&self.0).await;
        listed.and_then(|row| row.try_get(0)).map_err(fault)
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first version without the race that damages a log which two connections write or move at the same moment.
    const SAFE: [u32; 3] = [3, 51, 3];

    #[tokio::test]
    async fn the_library_is_compiled_in_a_version_that_damages_no_log_and_without_memory_maps() {
        let options = SqliteConnectOptions::new().in_memory(true);
        let mut connection = options.connect().await.unwrap();
        let version = sqlx::query_scalar("SELECT sqlite_version()");
        let version: String = version.fetch_one(&mut connection).await.unwrap();
        let numbers: Vec<u32> = version.split('.').flat_map(str::parse).collect();
        assert!(numbers.as_slice() >= SAFE.as_slice(), "{version}");
        let mapped = sqlx::query_scalar("PRAGMA mmap_size");
        let mapped: Option<i64> = mapped.fetch_optional(&mut connection).await.unwrap();
        assert_eq!(mapped.unwrap_or_default(), 0);
    }
}
