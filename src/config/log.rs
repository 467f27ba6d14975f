//! `[log]`: format and levels of the log.

use serde::{Deserialize, Deserializer};
use tracing_subscriber::filter::Targets;

use crate::domain::Account;
use crate::domain::written::text;

/// Format and levels of the log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Format of a line.
    pub format: LogFormat,
    /// How lines name identities.
    pub identity: LogIdentity,
    /// Levels that are written, in general and by module: `info`, `info,token_broker=debug`.
    #[serde(deserialize_with = "filter")]
    pub filter: Targets,
}

/// Format of a line of the log.
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

/// How access and system lines name the identity that a caller acts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogIdentity {
    /// By a hash of issuer and subject, the same in all lines.
    Hashed,
    /// By the subject.
    Clear,
    /// Not at all.
    None,
}

impl LogIdentity {
    /// Returns the name of an identity in lines, if it has one.
    pub fn name(self, account: &Account) -> Option<String> {
        match self {
            Self::Hashed => Some(format!("{:016x}", account.key().to_bits() >> 64)),
            Self::Clear => Some(account.subject.to_string()),
            Self::None => None,
        }
    }
}

fn filter<'de, D: Deserializer<'de>>(from: D) -> Result<Targets, D::Error> {
    let wrong = "must be a level like info, or levels by module like info,token_broker=debug";
    text(from, |text| match text.parse() {
        Ok(filter) if !text.is_empty() => Ok(filter),
        _ => Err(wrong),
    })
}
