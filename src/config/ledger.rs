//! `[ledger]`: the database of the records.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::fields::{long_secret, secret};
use super::settings::Settings;
use super::{Mode, Source};
use crate::domain::Naming;
use crate::domain::written::lasting;

/// The database of the records.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerSettings {
    /// The database.
    #[serde(rename = "url", deserialize_with = "place")]
    pub place: LedgerPlace,
    /// True when `place` is the default.
    #[serde(skip)]
    pub is_usual: bool,
    /// True records identities as keyed hashes. Requires `pseudonym_key`.
    pub pseudonymous: bool,
    /// The key of the hashes, including those that were recorded before.
    #[serde(deserialize_with = "long_secret::<32, _>")]
    pub pseudonym_key: Option<SecretString>,
    /// Time after which entries are deleted.
    #[serde(deserialize_with = "lasting::<LEAST_RETENTION, MOST_RETENTION, _>")]
    pub retention: Duration,
    /// Longest time a caller waits for an entry to be written.
    #[serde(deserialize_with = "lasting::<1_000, 8_000, _>")]
    pub timeout: Duration,
}

/// The database of the records.
#[derive(Clone, Debug)]
pub enum LedgerPlace {
    /// In memory; ends with the process.
    Memory,
    /// A file.
    Sqlite(PathBuf),
    /// A database of a `PostgreSQL` server; the URL may hold a password.
    Postgres(SecretString),
}

/// Complaint about a URL whose password ends the host or the path too early.
pub(super) const RAW_PASSWORD: &str =
    "must have its user and password percent-encoded: # is %23, / is %2F, ? is %3F, @ is %40";

/// In milliseconds.
const DAY: u64 = 86_400_000;
/// Two whole months, because quotas count the current month.
const LEAST_RETENTION: u64 = 62 * DAY;
const MOST_RETENTION: u64 = 3660 * DAY;

impl LedgerSettings {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let mut ledger: Self = settings.section("ledger")?;
        ledger.is_usual = settings.source("ledger.url") == Source::Default;
        settings.require(
            &["ledger.pseudonym_key", "ledger.pseudonymous"],
            !ledger.pseudonymous || ledger.pseudonym_key.is_some(),
            "is needed for ledger.pseudonymous, like `openssl rand -hex 32` gives",
        );
        settings.warn_if(
            matches!(ledger.place, LedgerPlace::Memory) && settings.mode == Mode::Serve,
            "ledger.url",
            "is memory: quotas and the record of use end with the process",
        );
        settings.warn_if(
            matches!(&ledger.place, LedgerPlace::Postgres(url) if !is_private(url.expose_secret())),
            "ledger.url",
            "goes over a network without requiring TLS: anybody in between can read and change the ledger; \
             add ?sslmode=verify-full and, for a certificate of your own, &sslrootcert=FILE",
        );
        Some(ledger)
    }

    /// Returns how identities are named in records from now on.
    pub fn naming(&self) -> Naming {
        let pseudonyms = self.pseudonyms().filter(|_| self.pseudonymous);
        pseudonyms.unwrap_or(Naming::Plain)
    }

    /// Returns all ways in which identities may have been named under earlier settings.
    pub fn namings(&self) -> Vec<Naming> {
        [Naming::Plain]
            .into_iter()
            .chain(self.pseudonyms())
            .collect()
    }

    fn pseudonyms(&self) -> Option<Naming> {
        let key = self.pseudonym_key.as_ref()?;
        Some(Naming::keyed(key.expose_secret().as_bytes()))
    }
}

fn place<'de, D: Deserializer<'de>>(from: D) -> Result<LedgerPlace, D::Error> {
    let url = secret(from)?;
    read_place(url.as_ref().map_or("", |url| url.expose_secret())).map_err(Error::custom)
}

fn read_place(url: &str) -> Result<LedgerPlace, &'static str> {
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    match (scheme, rest.strip_prefix("//").unwrap_or(rest)) {
        _ if url == "memory" => Ok(LedgerPlace::Memory),
        ("sqlite", ":memory:") => {
            Err("would be a file of that name; for a ledger in memory, write memory")
        }
        ("sqlite", file) if file.contains('?') => Err(
            "must be sqlite://FILE and no more: there is nothing to choose behind a ?, and the file is made when there is none",
        ),
        ("sqlite", file) if !file.is_empty() => Ok(LedgerPlace::Sqlite(file.into())),
        ("postgres" | "postgresql", _) if has_raw_password(url) => Err(RAW_PASSWORD),
        ("postgres" | "postgresql", _) if Url::parse(url).is_ok_and(|url| url.has_host()) => {
            Ok(LedgerPlace::Postgres(url.into()))
        }
        _ => Err("must be sqlite://FILE, postgres://USER@HOST/DATABASE or memory"),
    }
}

/// Returns true when the user or the password in a URL holds a character that ends it too early.
pub(super) fn has_raw_password(url: &str) -> bool {
    let has_user = url.contains('@');
    let is_in_query = |query: &str| query.split('=').next().unwrap_or_default().contains('@');
    let is_cut = |url: Url| {
        url.path().contains('@') || url.fragment().is_some() || url.query().is_some_and(is_in_query)
    };
    has_user && Url::parse(url).map_or(true, is_cut)
}

/// Returns true when nobody on the network can read or change the connection: the server is on this machine, or TLS is
/// required. The last of several parameters wins, as in the driver.
fn is_private(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else {
        return false;
    };
    let named = |names: &[&str]| {
        let pairs = url.query_pairs();
        let ours = pairs.filter(|(name, _)| names.contains(&name.as_ref()));
        ours.last().map(|(_, value)| value.into_owned())
    };
    let is_strict = |mode: String| ["require", "verify-ca", "verify-full"].contains(&mode.as_str());
    let host = named(&["host", "hostaddr"]);
    let host = host.or_else(|| url.host_str().map(str::to_owned));
    let is_here = |host: String| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_socket = bare.starts_with('/') || bare.to_ascii_lowercase().starts_with("%2f");
        let address: Result<IpAddr, _> = bare.parse();
        is_socket || bare == "localhost" || address.is_ok_and(|address| address.is_loopback())
    };
    named(&["sslmode", "ssl-mode"]).is_some_and(is_strict) || host.is_some_and(is_here)
}
