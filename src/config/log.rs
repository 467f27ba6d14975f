//! Reads `[log]`: what is written to the log.

use serde::{Deserialize, Deserializer};
use tracing_subscriber::EnvFilter;

use super::section::Section;
use crate::domain::written::text;

/// What is written to the log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// Which events are written, in the words of `tracing-subscriber`: `info`, `info,token_broker=debug`.
    #[serde(deserialize_with = "filter")]
    pub filter: String,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Section for Log {
    const NAME: &'static str = "log";
}

fn filter<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    text(from, |text| match EnvFilter::try_new(text) {
        Ok(_) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err("must be a level like info, or levels by module like info,token_broker=debug"),
    })
}
