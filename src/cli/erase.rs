//! Owns `erase`: removes everything that the ledger holds of one identity.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Args;

use super::serve::block_on;
use super::{SettingsFlags, load, say};
use crate::app::records;
use crate::clock::{Clock, SystemClock};
use crate::config::Mode;

#[derive(Debug, Args)]
pub(super) struct EraseFlags {
    /// Who the identity is at its issuer: the `sub` of its credentials
    #[arg(long)]
    subject: String,
    /// Who vouches for it: the `iss` of its credentials. Not needed when there is only one issuer
    #[arg(long)]
    issuer: Option<String>,
}

/// Removes it, beside a broker that may be running. Its quota of the month begins anew.
pub(super) fn erase(
    flags: &SettingsFlags,
    environment: Vec<(String, String)>,
    asked: &EraseFlags,
) -> anyhow::Result<ExitCode> {
    let config = load(Mode::Dev, flags, environment)?.config;
    let mut known: Vec<_> = config
        .auth
        .issuers
        .iter()
        .map(|known| &known.issuer)
        .collect();
    known.dedup();
    ensure!(
        asked.issuer.is_some() || known.len() == 1,
        "there is more than one issuer, or none, in the settings: say which with --issuer"
    );
    let issuer = asked.issuer.as_deref().map(Into::into);
    let issuer = issuer.or_else(|| known.first().map(|only| Arc::clone(only)));
    let issuer = issuer.context("there is no issuer")?;
    let account = records::naming(&config.ledger).account(&issuer, &asked.subject);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let erased = block_on(async {
        let ledger = records::open_for_maintenance(&config.ledger, clock).await?;
        let erased = ledger.erase(&account).await;
        ledger.close().await;
        Ok(erased?)
    })?;
    say(&format!("{erased} entries were removed"))?;
    Ok(ExitCode::SUCCESS)
}
