//! `migrate`: brings the ledger's database to the schema of this version.

use std::process::ExitCode;

use super::serve::block_on;
use super::{Given, ledger, say};
use crate::config::Mode;

/// Migrates, and prints what was done.
pub(super) fn migrate(given: &Given) -> anyhow::Result<ExitCode> {
    let config = given.load(Mode::Dev)?.config;
    say(&block_on(ledger::migrate(&config.ledger))?)
}
