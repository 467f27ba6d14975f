//! Owns the settings that bound a session.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::LedgerPlace;
use super::settings::Settings;

/// What bounds a session.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// How long a client secret can open upstream sessions, in seconds.
    pub token_seconds: u32,
    /// Least time between two mints of one session.
    pub min_refresh_interval: Duration,
    /// Most refreshes of one session.
    pub max_refreshes: u32,
    /// Longest life of one session.
    pub max_age: Duration,
    /// How firmly a session is tied to the address that opened it.
    pub ip_binding: IpBinding,
    /// Most live sessions of one identity or address.
    pub max_live: usize,
    /// Most sessions in total.
    pub max_total: usize,
    /// Whether sessions survive a restart, in the ledger's database.
    pub persist: bool,
    /// What the names of stored sessions are made with. `None`: something that ends with the process.
    pub secret: Option<SecretString>,
}

/// How firmly a session is tied to the address that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

const BINDINGS: &[(&str, IpBinding)] = &[
    ("auto", IpBinding::Auto),
    ("strict", IpBinding::Strict),
    ("soft", IpBinding::Soft),
    ("off", IpBinding::Off),
];

/// Shorter secrets could be guessed.
const LEAST_SECRET: usize = 32;
const DAY: Duration = Duration::from_hours(24);

impl SessionSettings {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let ip_binding = settings.choice("session.ip_binding", BINDINGS);
        let secret = settings.secret("session.secret");
        let long_enough = |secret: &SecretString| secret.expose_secret().len() >= LEAST_SECRET;
        settings.require(
            &["session.secret"],
            secret.as_ref().is_none_or(long_enough),
            "must be at least 32 characters, like `openssl rand -hex 32` gives",
        );
        let session = Self {
            // The provider's own range for `expires_after.seconds`.
            token_seconds: settings.number("session.token_seconds", 10..=7200),
            min_refresh_interval: settings
                .duration("session.min_refresh_interval", Duration::ZERO..=DAY),
            max_refreshes: settings.number("session.max_refreshes", 0..=1_000_000),
            max_age: settings.duration("session.max_age", Duration::from_secs(1)..=DAY),
            ip_binding: ip_binding.unwrap_or(IpBinding::Strict),
            max_live: settings.number("session.max_live", 1..=1_000_000),
            max_total: settings.number("session.max_total", 1..=10_000_000),
            persist: settings.flag("session.persist"),
            secret,
        };
        session.check(settings);
        ip_binding.map(|_| session)
    }

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

    fn check(&self, settings: &mut Settings) {
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
