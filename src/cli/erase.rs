//! `erase`: removes everything that the records hold of one identity.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Args;

use super::ledger::{self, Use};
use super::serve::block_on;
use super::{Given, say};
use crate::clock::SystemClock;
use crate::config::Mode;

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
pub(super) fn erase(given: &Given, asked: &EraseFlags) -> anyhow::Result<ExitCode> {
    let config = given.load(Mode::Dev)?.config;
    let known: BTreeSet<_> = config
        .auth
        .issuers
        .into_iter()
        .map(|entry| entry.issuer)
        .collect();
    let known = Vec::from_iter(known);
    let listed = if known.is_empty() {
        String::new()
    } else {
        format!(" (known: {})", known.join(", "))
    };
    let only = match known.as_slice() {
        [only] => Some(Arc::clone(only)),
        _ => None,
    };
    let issuer: Option<Arc<str>> = asked.issuer.as_deref().map(Arc::from).or(only);
    let (issuer, erased) = block_on(async {
        let clock = Arc::new(SystemClock::new());
        // First, because without a ledger it does not matter which issuer is meant.
        let ledger = ledger::open(&config.ledger, Use::Erasing, clock).await?;
        let issuer = issuer.with_context(|| {
            format!("there is more than one issuer, or none, in the settings: say which with --issuer{listed}")
        })?;
        let mut erased = 0;
        for naming in config.ledger.namings() {
            let account = naming.account(&issuer, &asked.subject);
            erased += ledger.erase(&account).await?;
        }
        ledger.close().await;
        Ok((issuer, erased))
    })?;
    ensure!(
        erased > 0,
        "nothing was removed: the ledger knows nobody of this subject at {issuer}. Both must read exactly like sub and iss \
         of the credentials, and who was recorded under a pseudonym is found with the ledger.pseudonym_key of that time{listed}"
    );
    say(&format!(
        "{erased} entries were removed; copies of the ledger (*.before-N beside its file, backups) were not touched"
    ))
}
