//! The schema of a PostgreSQL database: its version, and the migrations.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for a database on the real clock, whatever clock the records are dated by"
)]

use std::cmp::Ordering;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Executor};

use crate::records::OpenError;
use crate::records::database::code;

/// The name of the schema in PostgreSQL's sense: a namespace of tables that only its owner may use. In `public` the
/// tables would have neighbours, and the web API of a Supabase database can read everything there.
pub(super) const NAME: &str = "token_broker";

/// Creates the namespace, unless there is one, closes it to everybody else, and creates the table of versions. The search
/// path is set again for connections whose options a pooler has dropped: no table may be made elsewhere.
const MAKE_ROOM: &str = "DO $$ BEGIN IF to_regnamespace('token_broker') IS NULL THEN CREATE SCHEMA token_broker; END IF; END $$; \
     REVOKE ALL ON SCHEMA token_broker FROM PUBLIC; SET LOCAL search_path = token_broker; \
     CREATE TABLE IF NOT EXISTS ledger_schema (version BIGINT PRIMARY KEY)";

/// One script for each version. Each one starts from the schema of the one before.
const SCRIPTS: [&str; 4] = [
    include_str!("../migrations/postgres/1_entries.sql"),
    include_str!("../migrations/postgres/2_sums.sql"),
    include_str!("../migrations/postgres/3_sessions.sql"),
    include_str!("../migrations/postgres/4_sessions.sql"),
];

/// The schema that this program reads and writes.
#[expect(clippy::cast_possible_wrap, reason = "a handful of scripts")]
const LATEST: i64 = SCRIPTS.len() as i64;

/// The advisory lock that writers share and a migration has alone: "RTBL".
const LOCK: i64 = 0x5254_424c;

/// Limits the wait of a migration for running brokers to five seconds.
const WAITING: &str = "SET lock_timeout = '5s'; SET statement_timeout = 0";

/// Rejects a database whose schema is not the latest.
pub(super) async fn check(options: &PgConnectOptions, timeout: Duration) -> Result<(), OpenError> {
    let connecting = tokio::time::timeout(timeout, options.connect());
    let silent = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    let mut connection = connecting.await.map_err(silent)??;
    let found = version(&mut connection).await;
    connection.close().await?;
    let (found, known) = (found?, LATEST);
    match found.cmp(&known) {
        Ordering::Greater => Err(OpenError::Newer { found, known }),
        Ordering::Less => Err(OpenError::Older { found, known }),
        Ordering::Equal => Ok(()),
    }
}

/// Keeps migrations away as long as the connection lasts, and checks that none has run since.
pub(super) async fn stay(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let stays: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock_shared($1)")
        .bind(LOCK)
        .fetch_one(&mut *connection)
        .await?;
    if !stays {
        return Err(sqlx::Error::Configuration(OpenError::Busy.into()));
    }
    let found = version(connection).await?;
    if found != LATEST {
        let known = LATEST;
        let newer = OpenError::Newer { found, known };
        return Err(sqlx::Error::Configuration(newer.into()));
    }
    Ok(())
}

/// Returns the schema of the database; 0 when it has none.
async fn version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let asked =
        sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM token_broker.ledger_schema");
    match asked.fetch_one(connection).await {
        // Undefined table.
        Err(error) if code(&error).is_some_and(|code| code == "42P01") => Ok(0),
        found => found,
    }
}

/// Brings the database to the latest schema, version by version, each in one transaction.
pub(super) async fn migrate(options: &PgConnectOptions) -> Result<(i64, i64), OpenError> {
    let mut connection = options.connect().await?;
    let migrated = run_scripts(&mut connection).await;
    connection.close().await?;
    migrated
}

async fn run_scripts(connection: &mut PgConnection) -> Result<(i64, i64), OpenError> {
    let known = LATEST;
    let first = version(connection).await?;
    if first == known {
        return Ok((first, known));
    }
    sqlx::raw_sql(WAITING).execute(&mut *connection).await?;
    let locked = sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut *connection)
        .await;
    locked.map_err(|error| match code(&error).as_deref() {
        // Lock not available.
        Some("55P03") => OpenError::Busy,
        _ => error.into(),
    })?;
    // Another migration may have run in the meantime.
    let found = version(connection).await?;
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    for (place, script) in (1_i64..).zip(SCRIPTS).filter(|(place, _)| *place > found) {
        let mut transaction = connection.begin().await?;
        transaction.execute(sqlx::raw_sql(MAKE_ROOM)).await?;
        sqlx::raw_sql(script).execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO ledger_schema (version) VALUES ($1)")
            .bind(place)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
    }
    // The end of the connection would free the lock, too, but perhaps only after the next broker has started.
    sqlx::query("SELECT pg_advisory_unlock($1)")
        .bind(LOCK)
        .execute(connection)
        .await?;
    Ok((first, known))
}
