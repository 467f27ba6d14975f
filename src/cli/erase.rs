//! `erase`: removes everything that the records hold of one identity.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Args;

use super::serve::block_on;
use super::{SettingsFlags, load, say};
use crate::app::records::{self, Use};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Mode};

#[derive(Debug, Args)]
pub(super) struct EraseFlags {
    /// The identity's subject: the `sub` of its credentials
    #[arg(long)]
    subject: String,
    /// The identity's issuer: the `iss` of its credentials. Not needed when there is only one issuer
    #[arg(long)]
    issuer: Option<String>,
}

/// Removes the identity's entries, counts and sessions under every name that it may have, beside a broker that may be
/// running. Its quota of the month begins anew; a running broker may learn that ten seconds later.
pub(super) fn erase(
    flags: &SettingsFlags,
    environment: Vec<(String, String)>,
    asked: &EraseFlags,
) -> anyhow::Result<ExitCode> {
    let config = load(Mode::Dev, flags, environment)?.config;
    let known = known(&config);
    ensure!(
        asked.issuer.is_some() || known.len() == 1,
        "there is more than one issuer, or none, in the settings: say which with --issuer{}",
        list(&known)
    );
    let issuer = asked.issuer.as_deref().map(Into::into);
    let issuer = issuer.or_else(|| known.first().map(Arc::clone));
    let issuer = issuer.context("there is no issuer")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let erased = block_on(async {
        let ledger = records::open(&config.ledger, Use::Erasing, clock).await?;
        let mut erased = Ok(0);
        for naming in records::namings(&config.ledger) {
            let account = naming.account(&issuer, &asked.subject);
            erased = match erased {
                Ok(before) => ledger.erase(&account).await.map(|number| before + number),
                Err(error) => Err(error),
            };
        }
        ledger.close().await;
        Ok(erased?)
    })?;
    ensure!(
        erased > 0,
        "nothing was removed: the ledger knows nobody of this subject at {issuer}. Both must read exactly like sub and iss \
         of the credentials, and who was recorded under a pseudonym is found with the ledger.pseudonym_key of that time{}",
        list(&known)
    );
    say(&format!(
        "{erased} entries were removed; copies of the ledger (*.before-N beside its file, backups) were not touched"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the issuers of the settings, each once.
fn known(config: &Config) -> Vec<Arc<str>> {
    let mut known: Vec<Arc<str>> = Vec::new();
    for entry in &config.auth.issuers {
        if !known.contains(&entry.issuer) {
            known.push(Arc::clone(&entry.issuer));
        }
    }
    known
}

fn list(known: &[Arc<str>]) -> String {
    if known.is_empty() {
        return String::new();
    }
    format!(" (known: {})", known.join(", "))
}
