//! Connections to a PostgreSQL server.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for a database on the real clock, whatever clock the records are dated by"
)]

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Executor, Postgres, Row};

use super::schema;
use crate::clock::Timestamp;
use crate::records::database::{Base, Bind, Connection, Fault, Reader, Severity, code};
use crate::records::statement::{SERVER_TIME, Statement};

/// The settings of the connection that writes. A commit is on the server's disk when it returns.
const WRITING: &str = "SET synchronous_commit = on; SET statement_timeout = '2s'; \
    SET idle_in_transaction_session_timeout = '10s'";

/// Begins a transaction, and asks what time it is.
static BEGIN: LazyLock<String> = LazyLock::new(|| format!("BEGIN; SELECT {SERVER_TIME}"));

/// The settings of connections that read.
pub(super) const READING: &str =
    "SET default_transaction_read_only = on; SET statement_timeout = '30s'";

/// A database, as the writer opens it.
pub(super) struct Server {
    pub(super) options: PgConnectOptions,
    /// Longest silence of the server.
    pub(super) timeout: Duration,
}

/// The connection that writes. It is never given back to a pool: a transaction that was cut short ends with it.
struct Pen {
    connection: PgConnection,
    timeout: Duration,
}

/// Connections that read, and how long an answer may take.
pub(super) struct Pool {
    pub(super) connections: PgPool,
    pub(super) timeout: Duration,
}

fn fault(error: sqlx::Error) -> Fault {
    let severity = match (&error, code(&error).as_deref()) {
        // Deadlock, serialization.
        (_, Some("40001" | "40P01")) => Severity::Conflict,
        // Data that cannot be stored, a constraint: the value is at fault, not the database.
        (_, Some(code)) if code.starts_with("22") || code.starts_with("23") => Severity::Command,
        // The server is going down or coming up, or has ended this connection.
        (_, Some(code)) if code.starts_with("57") || code.starts_with("08") => Severity::Lost,
        (sqlx::Error::Encode(_), _) => Severity::Command,
        (sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_), _) => Severity::Lost,
        _ => Severity::Broken,
    };
    Fault::new(severity, error)
}

fn bound(statement: &'static Statement, binds: &[Bind]) -> Query<'static, Postgres, PgArguments> {
    let query = sqlx::query(statement.postgres());
    binds.iter().fold(query, |query, bind| match bind {
        Bind::Text(text) => query.bind(text.clone()),
        Bind::Number(number) => query.bind(*number),
    })
}

/// Waits for the server's answer, for at most `timeout`.
async fn in_time<T>(
    timeout: Duration,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(timeout, asked).await {
        Ok(answered) => answered.map_err(fault),
        Err(silent) => Err(Fault::new(Severity::Lost, silent)),
    }
}

#[async_trait]
impl Base for Server {
    async fn connect(&self) -> Result<Box<dyn Connection>, Fault> {
        let timeout = self.timeout;
        let mut connection = in_time(timeout, self.options.connect()).await?;
        in_time(timeout, connection.execute(sqlx::raw_sql(WRITING))).await?;
        in_time(timeout, schema::stay(&mut connection)).await?;
        let mut pen: Box<dyn Connection> = Box::new(Pen {
            connection,
            timeout,
        });
        pen.probe().await?;
        Ok(pen)
    }
}

impl Pen {
    async fn say(&mut self, words: &'static str) -> Result<(), Fault> {
        let said = sqlx::raw_sql(words).execute(&mut self.connection);
        in_time(self.timeout, said).await.map(drop)
    }
}

#[async_trait]
impl Connection for Pen {
    async fn begin(&mut self) -> Result<Timestamp, Fault> {
        // One round trip for both.
        let begun = sqlx::raw_sql(AssertSqlSafe(BEGIN.as_str())).fetch_one(&mut self.connection);
        let row = in_time(self.timeout, begun).await?;
        let now: i64 = row.try_get(0).map_err(fault)?;
        Ok(Timestamp::from_millis(
            u64::try_from(now).unwrap_or_default(),
        ))
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
        let changed = bound(statement, binds).execute(&mut self.connection);
        Ok(in_time(self.timeout, changed).await?.rows_affected())
    }

    async fn list(
        &mut self,
        statement: &'static Statement,
        binds: &[Bind],
    ) -> Result<String, Fault> {
        let listed = bound(statement, binds).fetch_one(&mut self.connection);
        let row = in_time(self.timeout, listed).await?;
        row.try_get(0).map_err(fault)
    }

    async fn close(mut self: Box<Self>) {
        // The end of the connection would free the locks, too, but perhaps only after the next broker has started.
        let freed = self.say("SELECT pg_advisory_unlock_all()").await;
        let closed = in_time(self.timeout, self.connection.close()).await;
        if let Err(fault) = freed.and(closed) {
            tracing::warn!(cause = %fault, "the connection to the ledger was not closed properly");
        }
    }
}

#[async_trait]
impl Reader for Pool {
    /// Reads in time: requests wait for look-ups of sessions, and a machine that died answers nothing for
    /// minutes. A connection that failed is closed, not returned: the pool would wait for its answer.
    async fn list(&self, statement: &'static Statement, binds: &[Bind]) -> Result<String, Fault> {
        let mut connection = in_time(self.timeout, self.connections.acquire()).await?;
        let listed = bound(statement, binds).fetch_one(&mut *connection);
        let listed = in_time(self.timeout, listed).await;
        if listed.is_err() {
            drop(connection.detach());
        }
        listed?.try_get(0).map_err(fault)
    }

    async fn close(&self) {
        self.connections.close().await;
    }
}
