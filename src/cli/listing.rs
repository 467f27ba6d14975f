//! Owns `config`: every setting with its value and where it comes from.

use std::process::ExitCode;

use super::{SettingsFlags, load, say};
use crate::config::Mode;

/// Prints them, in the order of `config/default.toml`.
pub(super) fn print(
    flags: &SettingsFlags,
    environment: Vec<(String, String)>,
) -> anyhow::Result<ExitCode> {
    let loaded = load(Mode::Serve, flags, environment)?;
    let width = loaded
        .listing()
        .map(|(name, ..)| name.len())
        .max()
        .unwrap_or_default();
    let values = loaded
        .listing()
        .map(|(_, value, _)| value.chars().count())
        .max()
        .unwrap_or_default()
        .min(40);
    for (name, value, source) in loaded.listing() {
        say(&format!("{name:width$} = {value:values$}  # {source}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
