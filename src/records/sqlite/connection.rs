//! Connections to a SQLite file.

use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool};
use sqlx::{ConnectOptions, Connection as _};

use crate::clock::{Clock, Timestamp};
use crate::records::OpenError;
use crate::records::database::{self, Base, Bind, Connection, Fault, Reader, Severity};
use crate::records::statement::Statement;

/// The first version without the race that damages a log which two connections write or move at the same moment.
const SAFE: [u32; 3] = [3, 51, 3];

/// After so many rows the write-ahead log is moved into the database file.
const CHECKPOINT: usize = 4000;

/// A database file, as the writer opens it.
pub(super) struct Sqlite {
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
    rows: usize,
}

/// Connections that read.
pub(super) struct Pool(pub(super) SqlitePool);

fn fault(error: sqlx::Error) -> Fault {
    let code = error.as_database_error().and_then(DatabaseError::code);
    let code = code.and_then(|code| code.parse::<i32>().ok());
    let severity = match (&error, code.map(|code| code & 0xff)) {
        // Too big, a constraint, a wrong type: the value is at fault, not the database.
        (_, Some(18..=20)) | (sqlx::Error::Encode(_), _) => Severity::Command,
        _ => Severity::Broken,
    };
    Fault::new(severity, error)
}

/// Rejects a SQLite library or setting that can lose or damage data.
pub(super) async fn assert_fit(options: &SqliteConnectOptions) -> Result<(), OpenError> {
    let mut connection = options.connect().await?;
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(&mut connection)
        .await?;
    let numbers: Vec<u32> = version.split('.').flat_map(str::parse).collect();
    let unfit = |name, found, needed| OpenError::Unfit {
        name,
        found,
        needed,
    };
    if numbers.as_slice() < SAFE.as_slice() {
        return Err(unfit("sqlite_version", version, "3.51.3 or later"));
    }
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut connection)
        .await?;
    if journal != "wal" {
        return Err(unfit("journal_mode", journal, "wal"));
    }
    for (name, question, needed) in [
        ("synchronous", "PRAGMA synchronous", (2, "2 (FULL)")),
        ("mmap_size", "PRAGMA mmap_size", (0, "0")),
    ] {
        let found: Option<i64> = sqlx::query_scalar(question)
            .fetch_optional(&mut connection)
            .await?;
        // A library without memory maps does not answer.
        let found = found.unwrap_or_default();
        if found != needed.0 {
            return Err(unfit(name, found.to_string(), needed.1));
        }
    }
    connection.close().await?;
    Ok(())
}

#[async_trait]
impl Base for Sqlite {
    async fn connect(&self) -> Result<Box<dyn Connection>, Fault> {
        let connection = self.options.connect().await.map_err(fault)?;
        let mut pen = Pen {
            connection,
            clock: Arc::clone(&self.clock),
            rows: 0,
        };
        database::probe(&mut pen).await?;
        Ok(Box::new(pen))
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

    async fn change(&mut self, statement: &'static Statement, rows: &str) -> Result<u64, Fault> {
        let changed = sqlx::query(statement.sqlite.as_str())
            .bind(rows)
            .execute(&mut self.connection)
            .await;
        changed.map(|done| done.rows_affected()).map_err(fault)
    }

    async fn list(&mut self, statement: &'static Statement, rows: &str) -> Result<String, Fault> {
        let listed = sqlx::query_scalar(statement.sqlite.as_str()).bind(rows);
        listed.fetch_one(&mut self.connection).await.map_err(fault)
    }

    async fn tidy(&mut self, rows: usize) -> Result<(), Fault> {
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
    async fn read(&self, statement: &'static Statement, binds: &[Bind]) -> Result<String, Fault> {
        let mut query = sqlx::query_scalar(statement.sqlite.as_str());
        for bind in binds {
            query = match bind {
                Bind::Text(text) => query.bind(text.clone()),
                Bind::Number(number) => query.bind(*number),
            };
        }
        query.fetch_one(&self.0).await.map_err(fault)
    }

    async fn close(&self) {
        self.0.close().await;
    }
}
