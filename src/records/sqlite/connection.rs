//! Connections to a SQLite file.

use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqlitePool};
use sqlx::{ConnectOptions, Connection as _, Row, Sqlite};

use super::schema::code;
use crate::clock::{Clock, Timestamp};
use crate::records::OpenError;
use crate::records::database::{Base, Bind, Connection, Fault, Reader, Severity};
use crate::records::statement::Statement;

/// The first version without the race that damages a log which two connections write or move at the same moment.
const SAFE: [u32; 3] = [3, 51, 3];

/// After so many rows the write-ahead log is moved into the database file.
const CHECKPOINT: u64 = 4000;

/// A database file, as the writer opens it.
pub(super) struct SqliteFile {
    pub(super) options: SqliteConnectOptions,
    pub(super) clock: Arc<dyn Clock>,
    /// The lock of a broker that serves, held as long as the writer lives.
    pub(super) _lock: Option<File>,
}

/// The connection that writes.
struct Pen {
    connection: SqliteConnection,
    clock: Arc<dyn Clock>,
    /// The rows written since the log was moved.
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

/// Rejects a SQLite library or setting that can lose or damage data.
pub(super) async fn assert_fit(options: &SqliteConnectOptions) -> Result<(), OpenError> {
    let mut connection = options.connect().await?;
    let question = "SELECT sqlite_version(), journal_mode, synchronous FROM pragma_journal_mode, pragma_synchronous";
    let found = sqlx::query_as(question).fetch_one(&mut connection);
    let (version, journal, synchronous): (String, String, i64) = found.await?;
    // A library without memory maps does not answer.
    let mapped = sqlx::query_scalar("PRAGMA mmap_size").fetch_optional(&mut connection);
    let mapped = mapped.await?.unwrap_or(0_i64);
    connection.close().await?;
    let unfit = |name, found, needed| {
        Err(OpenError::Unfit {
            name,
            found,
            needed,
        })
    };
    if !is_safe(&version) {
        return unfit("sqlite_version", version, "3.51.3 or later");
    }
    if journal != "wal" {
        return unfit("journal_mode", journal, "wal");
    }
    if synchronous != 2 {
        return unfit("synchronous", synchronous.to_string(), "2 (FULL)");
    }
    if mapped != 0 {
        return unfit("mmap_size", mapped.to_string(), "0");
    }
    Ok(())
}

fn is_safe(version: &str) -> bool {
    let numbers: Vec<u32> = version.split('.').flat_map(str::parse).collect();
    numbers.as_slice() >= SAFE.as_slice()
}

#[async_trait]
impl Base for SqliteFile {
    async fn connect(&self) -> Result<Box<dyn Connection>, Fault> {
        let mut pen: Box<dyn Connection> = Box::new(Pen {
            connection: self.options.connect().await.map_err(fault)?,
            clock: Arc::clone(&self.clock),
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
        changed.map(|done| done.rows_affected()).map_err(fault)
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

    async fn tidy(&mut self, rows: u64) -> Result<(), Fault> {
        self.rows += rows;
        if self.rows >= CHECKPOINT {
            self.rows = 0;
            self.say("PRAGMA wal_checkpoint(PASSIVE)").await?;
        }
        Ok(())
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
