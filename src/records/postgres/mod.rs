//! Owns ledgers in a database of a PostgreSQL server.

mod connection;
mod schema;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use self::connection::{Pool, Postgres};
use super::OpenError;
use super::database::Base;
use super::queue::Queue;
use super::sql::SqlRecords;
use super::writer::Writer;
use crate::clock::Clock;

/// Most connections that read at the same time.
const READERS: u32 = 4;

/// How the ledger in the database of `url` is reached: whatever the URL says, its tables are found in their own schema,
/// and nobody else's are taken for them.
fn options(url: &str) -> Result<PgConnectOptions, OpenError> {
    Ok(PgConnectOptions::from_str(url)?.options([("search_path", schema::NAME)]))
}

/// Opens the ledger in the database of `url` for serving; any number of brokers may share it. The schema must be there:
/// see [`migrate`]. Callers wait at most `timeout` for an entry to be written. TLS is as the URL says: `sslmode`,
/// `sslrootcert`.
pub async fn open(
    url: &str,
    clock: Arc<dyn Clock>,
    timeout: Duration,
) -> Result<SqlRecords, OpenError> {
    let options = options(url)?;
    schema::check(&options, timeout).await?;
    let base = Postgres {
        options: options.clone(),
        timeout,
    };
    let connection = base.connect().await;
    let connection = connection
        .map_err(|fault| OpenError::Database(sqlx::Error::Configuration(fault.into())))?;
    let queue = Writer::start(Box::new(base), connection, Arc::clone(&clock), timeout);
    Ok(SqlRecords::new(queue, readers(options, timeout), clock))
}

/// Opens the ledger for reading alone. Whatever writes is refused as closed.
pub async fn open_for_reading(
    url: &str,
    clock: Arc<dyn Clock>,
    timeout: Duration,
) -> Result<SqlRecords, OpenError> {
    let options = options(url)?;
    schema::check(&options, timeout).await?;
    Ok(SqlRecords::new(
        Queue::closed(),
        readers(options, timeout),
        clock,
    ))
}

/// Makes the schema, or brings it up to date, if it is not. Gives the one it had (0: none), and the one it has. No
/// broker may be running then.
pub async fn migrate(url: &str) -> Result<(i64, i64), OpenError> {
    schema::migrate(&options(url)?).await
}

fn readers(options: PgConnectOptions, timeout: Duration) -> Pool {
    let pool = PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(timeout)
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(connection::READING).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options);
    Pool(pool)
}
