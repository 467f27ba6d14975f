//! `migrate`: brings the ledger's database to the schema of this version.

use std::process::ExitCode;

use super::serve::block_on;
use super::{SettingsFlags, load, say};
use crate::app::records;
use crate::config::Mode;

/// Migrates, and prints what was done.
pub(super) fn migrate(
    flags: &SettingsFlags,
    environment: Vec<(String, String)>,
) -> anyhow::Result<ExitCode> {
    let config = load(Mode::Dev, flags, environment)?.config;
    let said = block_on(records::migrate(&config.ledger))?;
    say(&said)?;
    Ok(ExitCode::SUCCESS)
}
