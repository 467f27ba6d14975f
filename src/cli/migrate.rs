//! Owns `migrate`: brings the ledger's database to the schema of this version.

use std::process::ExitCode;
use std::sync::Arc;

use super::serve::block_on;
use super::{SettingsFlags, load, say};
use crate::app::records;
use crate::clock::{Clock, SystemClock};
use crate::config::Mode;

/// Migrates.
pub(super) fn migrate(
    flags: &SettingsFlags,
    environment: Vec<(String, String)>,
) -> anyhow::Result<ExitCode> {
    let config = load(Mode::Dev, flags, environment)?.config;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let said = block_on(records::migrate(&config.ledger, clock))?;
    say(&said)?;
    Ok(ExitCode::SUCCESS)
}
