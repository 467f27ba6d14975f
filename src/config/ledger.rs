//! Owns the settings of the record of use.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::settings::Settings;
use super::{Mode, Source};

/// How use is recorded.
#[derive(Clone, Debug)]
pub struct LedgerSettings {
    /// Where.
    pub place: LedgerPlace,
    /// True when nobody has said where.
    pub is_usual: bool,
    /// Whether identities are recorded by keyed hash from now on. Then there is a key.
    pub pseudonymous: bool,
    /// The key of pseudonyms: also of those that were recorded before.
    pub pseudonym_key: Option<SecretString>,
    /// How long entries are kept.
    pub retention: Duration,
    /// Longest time a caller waits for an entry to be written.
    pub timeout: Duration,
}

/// Where use is recorded.
#[derive(Clone, Debug)]
pub enum LedgerPlace {
    /// In memory: gone with the process. For trying out.
    Memory,
    /// In one file.
    Sqlite(PathBuf),
    /// In a database of a `PostgreSQL` server; the URL may hold a password.
    Postgres(SecretString),
}

const SECOND: Duration = Duration::from_secs(1);
/// A day of retention too few would forget the month that a quota counts.
const LEAST_RETENTION: Duration = Duration::from_hours(24 * 62);
const MOST_RETENTION: Duration = Duration::from_hours(24 * 3660);
/// Shorter keys could be guessed.
const LEAST_KEY: usize = 32;

impl LedgerSettings {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let url = settings.secret("ledger.url");
        let key = settings.secret("ledger.pseudonym_key");
        let long_enough = |key: &SecretString| key.expose_secret().len() >= LEAST_KEY;
        settings.require(
            &["ledger.pseudonym_key"],
            key.as_ref().is_none_or(long_enough),
            "must be at least 32 characters, like `openssl rand -hex 32` gives",
        );
        let pseudonymous = settings.flag("ledger.pseudonymous");
        settings.require(
            &["ledger.pseudonym_key", "ledger.pseudonymous"],
            !pseudonymous || key.is_some(),
            "is needed for ledger.pseudonymous, like `openssl rand -hex 32` gives",
        );
        let Some(place) = place(url.as_ref().map_or("", |url| url.expose_secret())) else {
            let message = "must be sqlite://FILE, postgres://USER@HOST/DATABASE or memory";
            settings.complain("ledger.url", message);
            return None;
        };
        if settings.mode == Mode::Serve && matches!(place, LedgerPlace::Memory) {
            let message = "is memory: quotas and the record of use end with the process";
            settings.warn("ledger.url", message);
        }
        Some(Self {
            is_usual: settings.source("ledger.url") == Source::Default,
            place,
            pseudonymous,
            pseudonym_key: key,
            retention: settings.duration("ledger.retention", LEAST_RETENTION..=MOST_RETENTION),
            timeout: settings.duration("ledger.timeout", SECOND..=SECOND * 8),
        })
    }
}

fn place(url: &str) -> Option<LedgerPlace> {
    if url == "memory" {
        return Some(LedgerPlace::Memory);
    }
    let file = url
        .strip_prefix("sqlite://")
        .or_else(|| url.strip_prefix("sqlite:"));
    if let Some(file) = file {
        return (!file.is_empty()).then(|| LedgerPlace::Sqlite(file.into()));
    }
    let parsed = Url::parse(url).ok()?;
    let is_postgres = ["postgres", "postgresql"].contains(&parsed.scheme());
    (is_postgres && parsed.has_host()).then(|| LedgerPlace::Postgres(url.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_in_memory_in_a_file_or_on_a_server() {
        assert!(matches!(place("memory"), Some(LedgerPlace::Memory)));
        for (url, path) in [
            ("sqlite://a.db", "a.db"),
            ("sqlite:///data/a.db", "/data/a.db"),
        ] {
            let Some(LedgerPlace::Sqlite(file)) = place(url) else {
                panic!("{url}")
            };
            assert_eq!(file, PathBuf::from(path));
        }
        assert!(matches!(
            place("postgres://u:p@h/d"),
            Some(LedgerPlace::Postgres(_))
        ));
        for wrong in [
            "",
            "sqlite://",
            "mysql://h/d",
            "broker.db",
            "postgres:///",
            "postgres:",
        ] {
            assert!(place(wrong).is_none(), "{wrong}");
        }
    }
}
