//! Records in a database of a PostgreSQL server.

mod connection;
mod schema;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use self::connection::{Pool, Server};
use super::OpenError;
use super::queue::Queue;
use super::sql::SqlRecords;
use super::writer::Writer;
use crate::clock::Clock;

/// Most connections that read at once.
const READERS: u32 = 4;

/// Returns how the database of `url` is reached. Poolers refuse `extra_float_digits`, which is for floats.
fn options(url: &str) -> Result<PgConnectOptions, OpenError> {
    Ok(PgConnectOptions::from_str(url)?.extra_float_digits(None))
}

/// Opens the database of `url` for serving. Any number of brokers may share it. It must have the latest schema: see
/// [`migrate`]. Callers wait at most `timeout` for a change to be written. The URL decides on TLS: `sslmode`, `sslrootcert`.
pub async fn open(
    url: &str,
    clock: Arc<dyn Clock>,
    timeout: Duration,
) -> Result<SqlRecords, OpenError> {
    let options = options(url)?;
    schema::check(&options, timeout).await?;
    let server = Server {
        options: options.clone(),
        timeout,
    };
    let queue = Writer::start(server, Arc::clone(&clock), timeout).await?;
    Ok(SqlRecords::new(queue, readers(options, timeout), clock))
}

/// Opens the database for reading. Changes are refused as closed.
pub async fn open_for_reading(
    url: &str,
    clock: Arc<dyn Clock>,
    timeout: Duration,
) -> Result<SqlRecords, OpenError> {
    let options = options(url)?;
    schema::check(&options, timeout).await?;
    let readers = readers(options, timeout);
    Ok(SqlRecords::new(Queue::closed(), readers, clock))
}

/// Makes the schema, or brings it up to date. Returns the schema that the database had (0: none), and the one that it has.
/// No broker may be running then.
pub async fn migrate(url: &str) -> Result<(i64, i64), OpenError> {
    schema::migrate(&options(url)?).await
}

fn readers(options: PgConnectOptions, timeout: Duration) -> Pool {
    let pool = PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(timeout)
        .connect_lazy_with(options);
    Pool {
        connections: pool,
        timeout,
    }
}
