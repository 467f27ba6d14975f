//! Reads settings whose kind only settings have: secrets, and tables whose keys are free.

use std::convert::Infallible;

use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, Error};

use crate::domain::written::optional;

/// Reads a secret; an empty text is `None`. `layers` has put the content of a `…_file` in its place already.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    optional(from, |text| Ok::<_, Infallible>(text.into()))
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
