//! Reads `[session]`: what bounds a session.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::LedgerPlace;
use super::fields::secret;
use super::section::Section;
use super::settings::Settings;
use crate::domain::written::{lasting, whole};

/// What bounds a session.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSettings {
    /// How long a client secret can open upstream sessions, in seconds: the provider's own range.
    #[serde(deserialize_with = "whole::<10, 7_200, _, _>")]
    pub token_seconds: u32,
    /// Least time between two mints of one session.
    #[serde(deserialize_with = "lasting::<0, DAY, _>")]
    pub min_refresh_interval: Duration,
    /// Most refreshes of one session.
    #[serde(deserialize_with = "whole::<0, 1_000_000, _, _>")]
    pub max_refreshes: u32,
    /// Longest life of one session.
    #[serde(deserialize_with = "lasting::<1_000, DAY, _>")]
    pub max_age: Duration,
    /// How firmly a session is tied to the address that opened it.
    pub ip_binding: IpBinding,
    /// Most live sessions of one identity or address.
    #[serde(deserialize_with = "whole::<1, 1_000_000, _, _>")]
    pub max_live: usize,
    /// Most sessions in total.
    #[serde(deserialize_with = "whole::<1, 10_000_000, _, _>")]
    pub max_total: usize,
    /// Whether sessions survive a restart, in the ledger's database.
    pub persist: bool,
    /// What the names of stored sessions are made with. `None`: something that ends with the process.
    #[serde(deserialize_with = "secret")]
    pub secret: Option<SecretString>,
}

/// How firmly a session is tied to the address that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpBinding {
    /// Strict for callers without an identity, soft for those with one.
    Auto,
    /// Another network is a stranger.
    Strict,
    /// Another network is recorded and allowed.
    Soft,
    /// Addresses do not matter.
    Off,
}

/// Shorter secrets could be guessed.
const LEAST_SECRET: usize = 32;
/// In milliseconds.
const DAY: u64 = 86_400_000;

impl Section for SessionSettings {
    const NAME: &'static str = "session";

    fn check(&mut self, settings: &mut Settings) {
        let long_enough = |secret: &SecretString| secret.expose_secret().len() >= LEAST_SECRET;
        settings.require(
            &["session.secret"],
            self.secret.as_ref().is_none_or(long_enough),
            "must be at least 32 characters, like `openssl rand -hex 32` gives",
        );
        settings.require(
            &["session.min_refresh_interval", "session.max_age"],
            self.min_refresh_interval <= self.max_age,
            "must not be longer than session.max_age: no session could ever be refreshed",
        );
        settings.require(
            &["session.max_live", "session.max_total"],
            self.max_live <= self.max_total,
            "must not be more than session.max_total",
        );
        if self.min_refresh_interval > Duration::from_secs(self.token_seconds.into()) {
            let message =
                "is longer than session.token_seconds: secrets end before they can be refreshed";
            settings.warn("session.min_refresh_interval", message);
        }
    }
}

impl SessionSettings {
    /// What it takes that sessions survive a restart.
    pub(super) fn check_persistence(
        &self,
        settings: &mut Settings,
        ledger: &LedgerPlace,
        is_shared: bool,
    ) {
        if !self.persist {
            return;
        }
        settings.require(
            &["session.secret", "session.persist"],
            self.secret.is_some(),
            "is needed for session.persist, the same after every restart, like `openssl rand -hex 32` gives",
        );
        settings.require(
            &["session.persist", "ledger.url"],
            !matches!(ledger, LedgerPlace::Memory),
            "writes sessions into the ledger's database, and the ledger is memory: choose sqlite://FILE or postgres://…",
        );
        if is_shared {
            let message = "does nothing while redis.url is set: sessions are on that server, and survive there";
            settings.warn("session.persist", message);
        }
    }
}
