//! The schema of a PostgreSQL database: its version, and the migrations.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for a database on the real clock, whatever clock the records are dated by"
)]

use std::cmp::Ordering;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use crate::records::OpenError;
use crate::records::database::code;

/// The name of the schema in PostgreSQL's sense: a namespace of tables that only its owner may use. In `public` the
/// tables would have neighbours, and the web API of a Supabase database can read everything there.
pub(super) const NAME: &str = "token_broker";

/// Creates the namespace, unless there is one, closes it to everybody else, and creates the table of versions.
const MAKE_ROOM: &str = "DO $$ BEGIN IF to_regnamespace('token_broker') IS NULL THEN CREATE SCHEMA token_broker; END IF; END $$; \
     REVOKE ALL ON SCHEMA token_broker FROM PUBLIC; SET LOCAL search_path = token_broker; \
     CREATE TABLE IF NOT EXISTS ledger_schema (version BIGINT PRIMARY KEY)";

/// One script for each version. Each one starts from the schema of the one before.
const SCRIPTS: [&str; 11] = [
    include_str!("../migrations/postgres/1_entries.sql"),
    include_str!("../migrations/postgres/2_sums.sql"),
    include_str!("../migrations/postgres/3_sessions.sql"),
    include_str!("../migrations/postgres/4_sessions.sql"),
    include_str!("../migrations/postgres/5_calls.sql"),
    include_str!("../migrations/postgres/6_tickets.sql"),
    include_str!("../migrations/postgres/7_estimated.sql"),
    include_str!("../migrations/postgres/8_watched.sql"),
    include_str!("../migrations/postgres/9_alerts.sql"),
    include_str!("../migrations/postgres/10_dashboards.sql"),
    include_str!("../migrations/postgres/11_announcements.sql"),
];

/// The schema that this program reads and writes.
#[expect(clippy::cast_possible_wrap, reason = "a handful of scripts")]
const LATEST: i64 = SCRIPTS.len() as i64;

/// The advisory lock that writers share and a migration has alone: "RTBL".
pub(super) const LOCK: i64 = 0x5254_424c;

/// A setting that only a session of our own has: a pooler refuses it or ignores it.
const OURS: (&str, &str) = ("token_broker.session", "own");

/// Limits the wait of a migration for running brokers to five seconds.
const WAITING: &str = "BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = 0";

/// Rejects a database whose schema is not the latest.
pub(super) async fn check(options: &PgConnectOptions, timeout: Duration) -> Result<(), OpenError> {
    let connecting = tokio::time::timeout(timeout, options.connect());
    let silent = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    let mut connection = connecting.await.map_err(silent)??;
    let found = version(&mut connection).await;
    connection.close().await?;
    judge(found?, true)
}

/// Rejects a schema that is not the latest, and one that a migration is changing.
pub(super) fn judge(found: i64, is_free: bool) -> Result<(), OpenError> {
    let known = LATEST;
    match found.cmp(&known) {
        Ordering::Greater => Err(OpenError::Newer { found, known }),
        Ordering::Less => Err(OpenError::Older { found, known }),
        Ordering::Equal if is_free => Ok(()),
        Ordering::Equal => Err(OpenError::Busy),
    }
}

/// Connects. Returns whether the connection has a session of the server for itself; behind a pooler it may have another
/// one for each transaction.
pub(super) async fn join(options: &PgConnectOptions) -> Result<(PgConnection, bool), sqlx::Error> {
    let connecting = options.clone().options([OURS]);
    let mut connection = match connecting.connect().await {
        Err(sqlx::Error::Database(_)) => options.connect().await?,
        connected => connected?,
    };
    let asked = format!("SELECT current_setting('{}', true)", OURS.0);
    let asked = sqlx::raw_sql(AssertSqlSafe(asked));
    let found: Option<String> = asked.fetch_one(&mut connection).await?.try_get(0)?;
    Ok((connection, found.as_deref() == Some(OURS.1)))
}

/// Keeps migrations away as long as the session lasts.
pub(super) async fn stay(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let asked = format!("SELECT pg_try_advisory_lock_shared({LOCK})");
    let asked = sqlx::raw_sql(AssertSqlSafe(asked));
    if asked.fetch_one(connection).await?.try_get(0)? {
        Ok(())
    } else {
        Err(sqlx::Error::Configuration(OpenError::Busy.into()))
    }
}

/// Returns the schema of the database; 0 when it has none.
async fn version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let asked = sqlx::raw_sql("SELECT COALESCE(MAX(version), 0) FROM token_broker.ledger_schema");
    match asked.fetch_one(connection).await {
        // Undefined table.
        Err(error) if code(&error).is_some_and(|code| code == "42P01") => Ok(0),
        found => found?.try_get(0),
    }
}

/// Brings the database to the latest schema, in one transaction. Returns the schema that it had, and the latest.
pub(super) async fn migrate(options: &PgConnectOptions) -> Result<(i64, i64), OpenError> {
    let mut connection = options.connect().await?;
    let first = match version(&mut connection).await? {
        LATEST => LATEST,
        first => {
            let mut transaction = connection.begin_with(WAITING).await?;
            run_scripts(&mut transaction).await?;
            transaction.commit().await?;
            first
        }
    };
    connection.close().await?;
    Ok((first, LATEST))
}

async fn run_scripts(connection: &mut PgConnection) -> Result<(), OpenError> {
    let lock = AssertSqlSafe(format!("SELECT pg_advisory_xact_lock({LOCK})"));
    let locked = sqlx::raw_sql(lock).execute(&mut *connection).await;
    locked.map_err(|error| match code(&error).as_deref() {
        // Lock not available.
        Some("55P03") => OpenError::Busy,
        _ => error.into(),
    })?;
    sqlx::raw_sql(MAKE_ROOM).execute(&mut *connection).await?;
    // Another migration may have run in the meantime.
    let found = version(connection).await?;
    if found > LATEST {
        return Err(OpenError::Newer {
            found,
            known: LATEST,
        });
    }
    for (place, script) in (1_i64..).zip(SCRIPTS).filter(|(place, _)| *place > found) {
        sqlx::raw_sql(script).execute(&mut *connection).await?;
        let noted = format!("INSERT INTO ledger_schema (version) VALUES ({place})");
        let noted = sqlx::raw_sql(AssertSqlSafe(noted));
        noted.execute(&mut *connection).await?;
    }
    Ok(())
}
