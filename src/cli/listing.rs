//! `config`: prints every setting with its value and where it comes from.

use std::process::ExitCode;

use super::{Given, say};
use crate::config::Mode;

/// Longest value that fits into the column before the sources.
const WIDEST: usize = 40;

/// Prints the settings, in the order of `config/default.toml`.
pub(super) fn config(given: &Given) -> anyhow::Result<ExitCode> {
    let loaded = given.load(Mode::Serve)?;
    let names = loaded.listing().map(|(name, ..)| name.len());
    let values = loaded.listing().map(|(_, value, _)| value.chars().count());
    let name_width = names.max().unwrap_or_default();
    let width = values.max().unwrap_or_default().min(WIDEST);
    let line = |(name, value, source)| format!("{name:name_width$} = {value:width$}  # {source}");
    let lines: Vec<_> = loaded.listing().map(line).collect();
    say(&lines.join("\n"))
}
