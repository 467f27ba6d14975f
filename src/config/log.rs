//! Owns the settings of what is written to the log.

use tracing_subscriber::EnvFilter;

use super::settings::Settings;

/// What is written to the log.
#[derive(Clone, Debug)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// Which events are written, in the words of `tracing-subscriber`: `info`, `info,token_broker=debug`.
    pub filter: String,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

const FORMATS: &[(&str, LogFormat)] = &[
    ("auto", LogFormat::Auto),
    ("text", LogFormat::Text),
    ("json", LogFormat::Json),
];

impl Log {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let format = settings.choice("log.format", FORMATS);
        let filter = settings.parsed("log.filter", |text| match EnvFilter::try_new(text) {
            Ok(_) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err("must be a level like info, or levels by module like info,token_broker=debug"),
        });
        Some(Self {
            format: format?,
            filter: filter?,
        })
    }
}
