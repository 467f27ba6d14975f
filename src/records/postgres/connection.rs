//! Connections to a PostgreSQL server.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for a database on the real clock, whatever clock the records are dated by"
)]

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, Postgres, Row};

use super::schema::{self, LOCK, NAME};
use crate::clock::Timestamp;
use crate::records::database::{Base, Bind, Connection, Fault, Reader, Severity, code};
use crate::records::statement::{SERVER_TIME, Statement};

/// Begins a transaction that writes, in one round trip. All settings end with the transaction: the next transaction of the
/// same connection may run in another session of the server, when a pooler stands before the server. A commit is on the
/// server's disk when it returns. Lists the time, the schema, and whether no migration is running.
static BEGIN: LazyLock<String> = LazyLock::new(|| {
    format!(
        "BEGIN; SET LOCAL search_path = {NAME}; SET LOCAL synchronous_commit = on; \
         SET LOCAL statement_timeout = '2s'; SET LOCAL idle_in_transaction_session_timeout = '10s'; \
         SELECT {SERVER_TIME}, (SELECT MAX(version) FROM ledger_schema), pg_try_advisory_xact_lock_shared({LOCK})"
    )
});

/// Begins a transaction that only reads.
static READ: LazyLock<String> = LazyLock::new(|| {
    format!("BEGIN READ ONLY; SET LOCAL search_path = {NAME}; SET LOCAL statement_timeout = '30s'")
});

/// Returns the words of a whole transaction that lists rows. They are one message to the server: one round trip, and nothing
/// stays behind in a session of the server that others use, too.
fn reading(statement: &'static Statement, binds: &[Bind]) -> String {
    let parameters = (1..).zip(binds);
    let words = parameters.fold(statement.postgres().to_owned(), |words, (number, bind)| {
        words.replace(&format!("${number}"), &literal(bind))
    });
    format!("{}; {words}; COMMIT", *READ)
}

/// Returns a parameter as SQL. Texts are encoded, so that no sign in them can end the literal.
fn literal(bind: &Bind) -> String {
    match bind {
        Bind::Text(text) => {
            let encoded = STANDARD.encode(text);
            format!("convert_from(decode('{encoded}', 'base64'), 'UTF8')")
        }
        Bind::Number(number) => format!("CAST({number} AS BIGINT)"),
    }
}

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
    /// True when all transactions run in one session of the server, so that prepared statements and locks last.
    has_session: bool,
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
        let (mut connection, has_session) = in_time(timeout, schema::join(&self.options)).await?;
        if has_session {
            in_time(timeout, schema::stay(&mut connection)).await?;
        }
        let mut pen: Box<dyn Connection> = Box::new(Pen {
            connection,
            timeout,
            has_session,
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
        let begun = sqlx::raw_sql(AssertSqlSafe(BEGIN.as_str())).fetch_one(&mut self.connection);
        let row = in_time(self.timeout, begun).await?;
        let now: i64 = row.try_get(0).map_err(fault)?;
        let (found, is_free) = (row.try_get(1), row.try_get(2));
        let judged = schema::judge(found.map_err(fault)?, is_free.map_err(fault)?);
        judged.map_err(|why| Fault::new(Severity::Broken, why))?;
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

    async fn lock_calls(&mut self) -> Result<(), Fault> {
        self.say("SELECT pg_advisory_xact_lock(hashtextextended('calls', 5))")
            .await
    }

    async fn change(
        &mut self,
        statement: &'static Statement,
        binds: &[Bind],
    ) -> Result<u64, Fault> {
        let query = bound(statement, binds).persistent(self.has_session);
        let changed = query.execute(&mut self.connection);
        Ok(in_time(self.timeout, changed).await?.rows_affected())
    }

    async fn list(
        &mut self,
        statement: &'static Statement,
        binds: &[Bind],
    ) -> Result<String, Fault> {
        let query = bound(statement, binds).persistent(self.has_session);
        let listed = query.fetch_one(&mut self.connection);
        let row = in_time(self.timeout, listed).await?;
        row.try_get(0).map_err(fault)
    }

    async fn close(mut self: Box<Self>) {
        // The end of the connection would free the locks, too, but perhaps only after the next broker has started.
        let freed = if self.has_session {
            self.say("SELECT pg_advisory_unlock_all()").await
        } else {
            Ok(())
        };
        let closed = in_time(self.timeout, self.connection.close()).await;
        if let Err(fault) = freed.and(closed) {
            tracing::warn!(cause = %fault, "the connection to the ledger was not closed properly");
        }
    }
}

/// Lists rows in a transaction of its own.
async fn read(connection: &mut PgConnection, words: String) -> Result<String, sqlx::Error> {
    // All answers are read, so that none is left for the next question.
    let rows = sqlx::raw_sql(AssertSqlSafe(words))
        .fetch_all(connection)
        .await?;
    rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)
}

#[async_trait]
impl Reader for Pool {
    /// Reads in time: requests wait for look-ups of sessions, and a machine that died answers nothing for
    /// minutes. A connection that failed is closed, not returned: the pool would wait for its answer.
    async fn list(&self, statement: &'static Statement, binds: &[Bind]) -> Result<String, Fault> {
        let mut connection = in_time(self.timeout, self.connections.acquire()).await?;
        let listed = in_time(
            self.timeout,
            read(&mut connection, reading(statement, binds)),
        )
        .await;
        if listed.is_err() {
            drop(connection.detach());
        }
        listed
    }

    async fn close(&self) {
        self.connections.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_end_its_literal() {
        for text in ["', $2; DROP TABLE entries; --", "\\'", "é\u{0}\n"] {
            let words = literal(&text.into());
            let inner = words.strip_prefix("convert_from(decode('").unwrap();
            let encoded = inner.strip_suffix("', 'base64'), 'UTF8')").unwrap();
            assert!(!encoded.contains(['\'', '\\', '$']), "{words}");
        }
        assert_eq!(literal(&Bind::Number(-1)), "CAST(-1 AS BIGINT)");
    }
}
