//! Owns the choice of a ledger, and what identities are called in it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use secrecy::ExposeSecret;

use super::LedgerShelf;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, LedgerPlace, LedgerSettings, QuotaSettings};
use crate::domain::{Naming, Quotas};
use crate::records::{MemoryRecords, Records, SqlRecords, postgres, sqlite};
use crate::store::Shelf;

/// Entries that a ledger in memory holds at most.
const MEMORY: usize = 10_000;
const OF_A_RUN: &str = "the ledger is memory (ledger.url), and ends with the run of its broker";
const FILE: &str = "the ledger's file cannot be used; see ledger.url";
const SERVER: &str = "the ledger's server cannot be used; see ledger.url or DATABASE_URL";

/// What identities are called in records from now on.
pub fn naming(settings: &LedgerSettings) -> Naming {
    let pseudonyms = pseudonyms(settings).filter(|_| settings.pseudonymous);
    pseudonyms.unwrap_or(Naming::Plain)
}

/// All that they may have been called, whatever the settings were before.
pub fn namings(settings: &LedgerSettings) -> Vec<Naming> {
    [Naming::Plain]
        .into_iter()
        .chain(pseudonyms(settings))
        .collect()
}

fn pseudonyms(settings: &LedgerSettings) -> Option<Naming> {
    let key = settings.pseudonym_key.as_ref()?;
    Some(Naming::keyed(key.expose_secret().as_bytes()))
}

/// The kind of ledger, for the log.
pub const fn kind(settings: &LedgerSettings) -> &'static str {
    match settings.place {
        LedgerPlace::Memory => "memory",
        LedgerPlace::Sqlite(_) => "sqlite",
        LedgerPlace::Postgres(_) => "postgres",
    }
}

/// How many replicas write into one ledger.
pub(super) fn shares(config: &Config) -> usize {
    let is_shared = matches!(config.ledger.place, LedgerPlace::Postgres(_));
    let replicas = config.redis.url.as_ref().filter(|_| is_shared);
    replicas.map_or(1, |_| config.redis.replicas.get() as usize)
}

/// The quotas, with exceptions under the names that records have for them.
pub(super) fn quotas(settings: &QuotaSettings, naming: &Naming) -> Quotas {
    let accounts = settings.exceptions.iter().map(|exception| {
        let issuer = exception.issuer.as_str().into();
        (naming.account(&issuer, &exception.subject), exception.quota)
    });
    Quotas {
        everybody: settings.everybody,
        roles: settings.roles.clone(),
        accounts: accounts.collect(),
    }
}

/// No session lives so long: what is left of one that old has no broker any more that would remove it.
const LONGEST_SESSION: Duration = Duration::from_hours(48);

/// A ledger, and what else its database has room for.
pub struct Opened {
    /// The record of use.
    pub ledger: Arc<dyn Records>,
    /// Where sessions can be written down; not in memory.
    pub shelf: Option<Arc<dyn Shelf>>,
}

async fn ready(ledger: SqlRecords, now: Timestamp) -> anyhow::Result<Opened> {
    // Also when none are written down any longer: they tell from where somebody called.
    ledger.forget_sessions(now.minus(LONGEST_SESSION)).await?;
    let ledger = Arc::new(ledger);
    let shelf = Arc::new(LedgerShelf(Arc::clone(&ledger)));
    Ok(Opened {
        ledger,
        shelf: Some(shelf),
    })
}

/// The ledger that the settings want, ready to serve. An SQLite file is made, or brought up to date, when it has to be.
/// What was begun before a crash and never ended counts as uncertain from now on.
pub async fn open(settings: &LedgerSettings, clock: Arc<dyn Clock>) -> anyhow::Result<Opened> {
    let (now, timeout) = (clock.now(), settings.timeout);
    match &settings.place {
        LedgerPlace::Memory => Ok(Opened {
            ledger: Arc::new(MemoryRecords::new(MEMORY)),
            shelf: None,
        }),
        LedgerPlace::Sqlite(path) => {
            let opened = sqlite::open(path, clock, timeout).await;
            let ledger = opened.with_context(|| writable(path))?;
            // Nobody else writes this file: whoever made these intents is gone.
            let given_up = ledger.give_up(now.plus(Duration::from_secs(1))).await?;
            if given_up > 0 {
                tracing::warn!(
                    intents = given_up,
                    "the last run ended without saying what became of these: they count as uncertain"
                );
            }
            ready(ledger, now).await
        }
        LedgerPlace::Postgres(url) => {
            let opened = postgres::open(url.expose_secret(), clock, timeout).await;
            ready(opened.context(SERVER)?, now).await
        }
    }
}

/// The same ledger for reports, beside a broker that may be running.
pub async fn open_for_reading(settings: &LedgerSettings) -> anyhow::Result<Arc<dyn Records>> {
    let timeout = settings.timeout;
    let opened = match &settings.place {
        LedgerPlace::Memory => {
            bail!("{OF_A_RUN}: ask the running broker for /usage (see ops.token)")
        }
        LedgerPlace::Sqlite(path) => sqlite::open_for_reading(path, timeout)
            .await
            .context(FILE)?,
        LedgerPlace::Postgres(url) => {
            let opened = postgres::open_for_reading(url.expose_secret(), timeout).await;
            opened.context(SERVER)?
        }
    };
    Ok(Arc::new(opened))
}

/// The same ledger for erasing, beside a broker that may be running.
pub async fn open_for_maintenance(
    settings: &LedgerSettings,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn Records>> {
    let timeout = settings.timeout;
    let opened = match &settings.place {
        LedgerPlace::Memory => bail!("{OF_A_RUN}: there is nothing to change in it"),
        LedgerPlace::Sqlite(path) => {
            let opened = sqlite::open_for_maintenance(path, clock, timeout).await;
            opened.context(FILE)?
        }
        LedgerPlace::Postgres(url) => {
            let opened = postgres::open(url.expose_secret(), clock, timeout).await;
            opened.context(SERVER)?
        }
    };
    Ok(Arc::new(opened))
}

/// Makes the ledger's schema, or brings it up to date; says what was done.
pub async fn migrate(settings: &LedgerSettings) -> anyhow::Result<String> {
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
