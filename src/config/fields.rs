//! Reads settings whose kind only settings have: secrets, and tables whose keys are free.

use std::convert::Infallible;

use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, Error};

use crate::domain::written::optional;

/// Reads a secret; an empty text is `None`. `layers` has put the content of a `…_file` in its place already.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    optional(from, |text| Ok::<_, Infallible>(text.into()))
}

/// Reads a secret of at least `LEAST` bytes; an empty text is `None`.
pub(super) fn long_secret<'de, const LEAST: usize, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<SecretString>, D::Error> {
    optional(from, |text| strong::<LEAST>(text).map(Into::into))
}

/// Returns a secret that cannot be guessed, because it has `LEAST` bytes.
pub(super) fn strong<const LEAST: usize>(text: &str) -> Result<String, String> {
    let is_strong = text.len() >= LEAST;
    is_strong.then(|| text.to_owned()).ok_or_else(|| {
        format!("must be at least {LEAST} bytes long, like `openssl rand -hex 32` gives")
    })
}

/// Reads a table of texts in the order in which it is written.
pub(super) fn pairs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
    let wrong =
        || Error::custom("must be a table of texts, like { \"/role\" = \"authenticated\" }");
    let table = toml::Table::deserialize(from).map_err(|_: D::Error| wrong())?;
    let pairs = table.into_iter();
    pairs
        .map(|(key, value)| {
            value
                .as_str()
                .map(|text| (key, text.to_owned()))
                .ok_or_else(wrong)
        })
        .collect()
}
