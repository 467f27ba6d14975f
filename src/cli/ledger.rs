//! The choice of the records' database.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use secrecy::ExposeSecret;

use crate::clock::Clock;
use crate::config::{LedgerPlace, LedgerSettings};
use crate::records::{MemoryRecords, Records, postgres, sqlite};

/// Bounds the entries of a ledger in memory.
pub(super) const MEMORY: usize = 10_000;
const OF_A_RUN: &str = "the ledger is in memory and ends with its broker: set ledger.url to a file or a PostgreSQL database";
const FILE: &str = "the ledger's file cannot be used; see ledger.url";
const SERVER: &str = "the ledger's server cannot be used; see ledger.url or DATABASE_URL";

/// Returns the kind of database, for the log.
pub(super) const fn kind(settings: &LedgerSettings) -> &'static str {
    match settings.place {
        LedgerPlace::Memory => "memory",
        LedgerPlace::Sqlite(_) => "sqlite",
        LedgerPlace::Postgres(_) => "postgres",
    }
}

/// What records are opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// To serve. A SQLite file is made, or its schema is migrated, when necessary. Intents without outcome of an
    /// earlier run count as uncertain from now on.
    Serving,
    /// For reports, beside a broker that may be running.
    Reading,
    /// For erasing, beside a broker that may be running.
    Erasing,
}

/// Opens the records that the settings name.
pub(super) async fn open(
    settings: &LedgerSettings,
    purpose: Use,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn Records>> {
    let (now, timeout) = (clock.now(), settings.timeout);
    let opened = match (&settings.place, purpose) {
        (LedgerPlace::Memory, Use::Serving) => {
            return Ok(Arc::new(MemoryRecords::new(MEMORY, clock)));
        }
        (LedgerPlace::Memory, Use::Reading) => {
            bail!("{OF_A_RUN}: ask the running broker for /usage (see ops.token)")
        }
        (LedgerPlace::Memory, Use::Erasing) => {
            bail!("{OF_A_RUN}: there is nothing to change in it")
        }
        (LedgerPlace::Sqlite(path), Use::Serving) => {
            let opened = sqlite::open(path, clock, timeout).await;
            let records = opened.with_context(|| writable(path))?;
            // No other broker writes this file, so that nobody works on these intents any more.
            let given_up = records
                .give_up(now.plus(Duration::from_secs(1)), None)
                .await?;
            if given_up > 0 {
                tracing::warn!(
                    intents = given_up,
                    "the last run stopped before it recorded how these mints ended: they count as uncertain"
                );
            }
            records
        }
        (LedgerPlace::Sqlite(path), Use::Reading) => {
            let opened = sqlite::open_for_reading(path, clock, timeout).await;
            opened.context(FILE)?
        }
        (LedgerPlace::Sqlite(path), Use::Erasing) => {
            let opened = sqlite::open_for_maintenance(path, clock, timeout).await;
            opened.context(FILE)?
        }
        (LedgerPlace::Postgres(url), Use::Reading) => {
            let opened = postgres::open_for_reading(url.expose_secret(), clock, timeout).await;
            opened.context(SERVER)?
        }
        (LedgerPlace::Postgres(url), Use::Serving | Use::Erasing) => {
            let opened = postgres::open(url.expose_secret(), clock, timeout).await;
            opened.context(SERVER)?
        }
    };
    Ok(Arc::new(opened))
}

/// Creates or migrates the schema. Returns a sentence about what was done.
pub(super) async fn migrate(settings: &LedgerSettings) -> anyhow::Result<String> {
    let (before, now) = match &settings.place {
        LedgerPlace::Memory => bail!("{OF_A_RUN}: there is nothing to migrate"),
        LedgerPlace::Sqlite(path) => sqlite::migrate(path).await.context(FILE)?,
        LedgerPlace::Postgres(url) => {
            let migrated = postgres::migrate(url.expose_secret()).await;
            migrated.context(SERVER)?
        }
    };
    Ok(match before {
        same if same == now => format!("the ledger has schema {now} already"),
        0 => format!("the ledger has schema {now} now"),
        older => format!("the ledger went from schema {older} to {now}"),
    })
}

fn writable(path: &Path) -> String {
    let path = path.display();
    format!(
        "{FILE} (a file in a directory that the broker may write, like {path}; or memory, to try out)"
    )
}
