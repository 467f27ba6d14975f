//! Records in one SQLite file.

mod connection;
mod file;
mod schema;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use self::connection::{Pool, SqliteFile};
use super::OpenError;
use super::queue::Queue;
use super::sql::SqlRecords;
use super::writer::Writer;
use crate::clock::Clock;

/// Most connections that read at once: two for a report, and one for a look-up beside it.
const READERS: u32 = 3;

/// Longest wait for the transaction of another process.
const BUSY: Duration = Duration::from_secs(5);

/// Returns that wait for callers who wait `timeout`: a little less, so that they learn the reason.
fn busy(timeout: Duration) -> Duration {
    timeout.saturating_sub(timeout / 10).min(BUSY)
}

/// Opens the database at `path` for serving. Creates it when there is none, and brings an older one up to date after it
/// has put a copy beside it. No other broker can serve with the file until the records are closed or dropped. Callers
/// wait at most `timeout` for a change to be written.
pub async fn open(
    path: &Path,
    clock: Arc<dyn Clock>,
    timeout: Duration,
) -> Result<SqlRecords, OpenError> {
    let lock = file::lock(path)?;
    bring_up_to_date(path).await?;
    file::warn_if_open(path);
    start(path, clock, timeout, Some(lock)).await
}

/// Opens the database at `path` for writing beside a broker that serves with it: for an erasure. It must exist.
pub async fn open_for_maintenance(
    path: &Path,
    clock: Arc<dyn Clock>,
    timeout: Duration,
) -> Result<SqlRecords, OpenError> {
    migrate(path).await?;
    start(path, clock, timeout, None).await
}

/// Opens the database at `path` for reading, whether or not a broker serves with it. It must exist, with the latest
/// schema. Changes are refused as closed.
pub async fn open_for_reading(
    path: &Path,
    clock: Arc<dyn Clock>,
    timeout: Duration,
) -> Result<SqlRecords, OpenError> {
    match version_at(path).await? {
        schema::LATEST => Ok(SqlRecords::new(
            Queue::closed(),
            readers(path, timeout),
            clock,
        )),
        found => Err(OpenError::Older {
            found,
            known: schema::LATEST,
        }),
    }
}

/// Brings the database at `path` up to date. It must exist. Returns the schema that it had, and the schema that it has.
pub async fn migrate(path: &Path) -> Result<(i64, i64), OpenError> {
    let found = version_at(path).await?;
    if found < schema::LATEST {
        let _lock = file::lock(path)?;
        bring_up_to_date(path).await?;
    }
    Ok((found, schema::LATEST))
}

async fn version_at(path: &Path) -> Result<i64, OpenError> {
    if file::is_database(path)? {
        schema::inspect(path).await
    } else {
        Err(OpenError::Missing(path.into()))
    }
}

async fn bring_up_to_date(path: &Path) -> Result<(), OpenError> {
    let mut found = 0;
    if file::is_database(path)? {
        found = schema::inspect(path).await?;
        schema::check(path).await?;
    } else {
        file::create(path)?;
    }
    if found < schema::LATEST {
        if found > 0 {
            schema::copy(path, found).await?;
        }
        schema::migrate(path).await?;
    }
    Ok(())
}

async fn start(
    path: &Path,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    lock: Option<File>,
) -> Result<SqlRecords, OpenError> {
    let options = options(path).busy_timeout(busy(timeout));
    connection::assert_fit(&options).await?;
    let file = SqliteFile {
        options,
        clock: Arc::clone(&clock),
        opened: file::OpenFile::of(path)?,
        has_lost_log: Arc::default(),
        _lock: lock,
    };
    let queue = Writer::start(file, Arc::clone(&clock), timeout).await?;
    Ok(SqlRecords::new(queue, readers(path, timeout), clock))
}

fn readers(path: &Path, timeout: Duration) -> Pool {
    let options = SqliteConnectOptions::new()
        .filename(PathBuf::from(path))
        .read_only(true)
        .busy_timeout(busy(timeout));
    let pool = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(timeout)
        .connect_lazy_with(options);
    Pool(pool)
}

/// Returns how connections that write are opened. Everything that durability rests on is set, not left to defaults.
fn options(path: &Path) -> SqliteConnectOptions {
    use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};

    SqliteConnectOptions::new()
        .filename(PathBuf::from(path))
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .pragma("mmap_size", "0")
        // Erased rows do not stay behind in unused pages.
        .pragma("secure_delete", "ON")
        .pragma("journal_size_limit", "67108864")
        // The writer checkpoints when it has answered its callers. This is for when it could not for long.
        .pragma("wal_autocheckpoint", "16000")
}
