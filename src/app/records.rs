//! Owns the choice of a ledger, and what identities are called in it.

use std::sync::Arc;

use secrecy::ExposeSecret;

use crate::clock::Clock;
use crate::config::{LedgerPlace, LedgerSettings, QuotaSettings};
use crate::domain::{Naming, Quotas};
use crate::ledger::Ledger;

/// What identities are called in records.
pub fn naming(settings: &LedgerSettings) -> Naming {
    settings
        .pseudonym_key
        .as_ref()
        .map_or(Naming::Plain, |key| {
            Naming::keyed(key.expose_secret().as_bytes())
        })
}

/// The kind of ledger, for the log.
pub const fn kind(settings: &LedgerSettings) -> &'static str {
    match settings.place {
        LedgerPlace::Memory => "memory",
        LedgerPlace::Sqlite(_) => "sqlite",
        LedgerPlace::Postgres(_) => "postgres",
    }
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

/// The ledger that the settings want, ready to be written.
pub async fn open(
    settings: &LedgerSettings,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn Ledger>> {
    match &settings.place {
        LedgerPlace::Memory => todo!(),
        LedgerPlace::Sqlite(_) => todo!(),
        LedgerPlace::Postgres(_) => todo!(),
    }
}
