//! The schema of a SQLite database: its version, and the migrations.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::file;
use crate::records::{OpenError, database};

/// `application_id` of our files: "RTBL".
const OURS: i64 = 0x5254_424c;

/// One script for each version. Each one starts from the schema of the one before.
const SCRIPTS: [&str; 11] = [
    include_str!("../migrations/sqlite/1_entries.sql"),
    include_str!("../migrations/sqlite/2_sums.sql"),
    include_str!("../migrations/sqlite/3_sessions.sql"),
    include_str!("../migrations/sqlite/4_sessions.sql"),
    include_str!("../migrations/sqlite/5_calls.sql"),
    include_str!("../migrations/sqlite/6_tickets.sql"),
    include_str!("../migrations/sqlite/7_estimated.sql"),
    include_str!("../migrations/sqlite/8_watched.sql"),
    include_str!("../migrations/sqlite/9_alerts.sql"),
    include_str!("../migrations/sqlite/10_dashboards.sql"),
    include_str!("../migrations/sqlite/11_announcements.sql"),
];

/// The schema that this program reads and writes.
#[expect(clippy::cast_possible_wrap, reason = "a handful of scripts")]
pub(super) const LATEST: i64 = SCRIPTS.len() as i64;

/// Files up to this size are checked in full at the start. Larger ones would delay it.
const CHECKED: u64 = 256 * 1024 * 1024;

/// Opens a connection that only asks. It may write nevertheless: when a process was killed in the middle of a change, that
/// change has to be undone before anybody can read.
async fn asking(path: &Path) -> Result<SqliteConnection, OpenError> {
    let options = SqliteConnectOptions::new().filename(path);
    Ok(options.create_if_missing(false).connect().await?)
}

/// Returns SQLite's own error code.
pub(super) fn code(error: &sqlx::Error) -> Option<i32> {
    database::code(error)?.parse().ok()
}

/// Returns the schema of a database, 0 when it is empty. Changes nothing.
pub(super) async fn inspect(path: &Path) -> Result<i64, OpenError> {
    let mut connection = asking(path).await?;
    let question = "SELECT (SELECT application_id FROM pragma_application_id), \
         (SELECT user_version FROM pragma_user_version), (SELECT COUNT(*) FROM sqlite_schema)";
    let inspected = sqlx::query_as(question).fetch_one(&mut connection).await;
    connection.close().await?;
    match inspected.map_err(damaged(path))? {
        (0, 0, 0) => Ok(0),
        (OURS, found, _) if found <= LATEST => Ok(found),
        (OURS, found, _) => Err(OpenError::Newer {
            found,
            known: LATEST,
        }),
        (_, _, _) => Err(OpenError::NotALedger(path.display().to_string())),
    }
}

/// Rejects a damaged file, as far as a quick check shows. Changes nothing.
pub(super) async fn check(path: &Path) -> Result<(), OpenError> {
    let size = std::fs::metadata(path).map_err(file::failed(path))?.len();
    if size > CHECKED {
        return Ok(());
    }
    let mut connection = asking(path).await?;
    let found = sqlx::query_scalar("PRAGMA quick_check(1)");
    let found: Result<String, _> = found.fetch_one(&mut connection).await;
    connection.close().await?;
    match found.map_err(damaged(path))? {
        fine if fine == "ok" => Ok(()),
        found => Err(OpenError::Damaged {
            path: path.into(),
            found,
        }),
    }
}

fn damaged(path: &Path) -> impl FnOnce(sqlx::Error) -> OpenError {
    move |error| match code(&error).map(|code| code & 0xff) {
        // SQLITE_CORRUPT and SQLITE_NOTADB
        Some(11 | 26) => OpenError::Damaged {
            path: path.into(),
            found: error.to_string(),
        },
        _ => error.into(),
    }
}

/// Copies the database to a file beside it, before its schema changes.
pub(super) async fn copy(path: &Path, version: i64) -> Result<(), OpenError> {
    let place = file::beside(path, &format!(".before-{}", version + 1));
    let partial = file::beside(&place, ".partial");
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(file::failed(&partial)(error));
        }
        _ => file::create(&partial)?,
    };
    let mut connection = super::options(path).connect().await?;
    sqlx::query("VACUUM INTO $1")
        .bind(partial.to_string_lossy().into_owned())
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    file::put_in_place(&partial, &place)
}

/// Brings the database to the latest schema, version by version, each in one transaction.
pub(super) async fn migrate(path: &Path) -> Result<(), OpenError> {
    let mut connection = super::options(path).connect().await?;
    let migrated = run_scripts(&mut connection).await;
    connection.close().await?;
    migrated
}

async fn run_scripts(connection: &mut SqliteConnection) -> Result<(), OpenError> {
    for (version, script) in (1_i64..).zip(SCRIPTS) {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let found: i64 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&mut *transaction)
            .await?;
        if found < version {
            sqlx::raw_sql(script).execute(&mut *transaction).await?;
            transaction.commit().await?;
            tracing::info!(
                schema = version,
                "the ledger's schema was brought up to date"
            );
        }
    }
    Ok(())
}
