//! `[redis]`: the server on which replicas share limits.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use url::Url;

use super::fields::secret;
use super::ledger::{RAW_PASSWORD, has_raw_password};
use super::settings::Settings;
use super::{LedgerPlace, LedgerSettings, Mode};
use crate::domain::written::{lasting, optional_path, whole};

/// The server on which replicas share limits.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSettings {
    /// URL of the server; may hold a password. `None` when there is only one replica.
    #[serde(deserialize_with = "secret")]
    pub url: Option<SecretString>,
    /// PEM file of the certificate authorities that are trusted instead of the public ones.
    #[serde(deserialize_with = "optional_path")]
    pub ca_file: Option<PathBuf>,
    /// Longest time that a request waits for one answer of the server.
    #[serde(deserialize_with = "lasting::<5, 10_000, _>")]
    pub timeout: Duration,
    /// What a replica does while the server is unreachable.
    pub on_failure: OnFailure,
    /// Number of replicas: each enforces this share of every limit while the server is unreachable.
    #[serde(deserialize_with = "replicas")]
    pub replicas: NonZeroU32,
}

/// What a replica does while the server is unreachable. It never admits everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Enforces its share of every limit.
    Local,
    /// Refuses all requests.
    Deny,
}

/// Says that replicas which share Redis have no common ledger.
const SPLIT_LEDGER: &str = "must be a postgres:// database that all replicas have, when they share redis.url: sessions and \
     quotas of one replica would be unknown to the others (or redis.replicas = 1, if this is the only one)";

impl RedisSettings {
    /// Reads the section. Replicas that share a server need one `ledger`, too.
    pub(super) fn read(settings: &mut Settings, ledger: &LedgerSettings) -> Option<Self> {
        let redis: Self = settings.section("redis")?;
        let url = redis.url.as_ref().map(ExposeSecret::expose_secret);
        let is_raw = url.is_some_and(has_raw_password);
        settings.require(&["redis.url"], !is_raw, RAW_PASSWORD);
        settings.require(
            &["redis.url"],
            url.is_none_or(is_redis),
            "must be redis://HOST:PORT or rediss://USER:PASSWORD@HOST:PORT, with TLS",
        );
        settings.require_certificates("redis.ca_file", redis.ca_file.as_deref());
        settings.require(
            &["redis.ca_file", "redis.url"],
            redis.ca_file.is_none() || url.is_some_and(|url| url.starts_with("rediss:")),
            "is of no use unless redis.url begins with rediss://",
        );
        let is_split = url.is_some()
            && redis.replicas.get() > 1
            && !matches!(ledger.place, LedgerPlace::Postgres(_));
        let is_dev = settings.mode == Mode::Dev;
        settings.warn_if(is_dev && is_split, "ledger.url", SPLIT_LEDGER);
        let names = ["ledger.url", "redis.url"];
        settings.require(&names, is_dev || !is_split, SPLIT_LEDGER);
        Some(redis)
    }
}

fn replicas<'de, D: Deserializer<'de>>(from: D) -> Result<NonZeroU32, D::Error> {
    let number = whole::<1, 10_000, _, _>(from)?;
    Ok(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN))
}

/// Refuses a fragment: the only one that the client knows, `#insecure`, turns the verification of certificates off.
fn is_redis(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| {
        ["redis", "rediss"].contains(&url.scheme()) && url.has_host() && url.fragment().is_none()
    })
}
