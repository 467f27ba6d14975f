//! Reads settings again beside a service that runs.

use std::collections::BTreeSet;
use std::fmt;

use secrecy::ExposeSecret;

use super::settings::{Entry, Settings};
use super::{
    Alerts, Auth, Config, ConfigErrors, KeySource, LiveSettings, Loaded, Mode, Ops, Otel, Sources,
    Upstream, layers,
};
use crate::domain::{KeyFingerprint, WebhookKeys};

/// The values that settings were read from. Some are secrets, so `Debug` shows none.
#[derive(Clone)]
pub(super) struct Entries(pub(super) Vec<Entry>);

impl fmt::Debug for Entries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Entries")
    }
}

/// Returns true for the name of a setting that may change while the service runs.
pub type MayChange = fn(&str) -> bool;

impl Loaded {
    /// Reads all sources again. Settings that may not change keep their values, and the others are judged by them. The
    /// outcome names those that would have changed: [`Loaded::waiting`].
    pub fn again(
        &self,
        mode: Mode,
        sources: &Sources,
        may_change: MayChange,
    ) -> Result<Self, ConfigErrors> {
        let mut settings = layers::gather(mode, sources);
        let waiting = settings.hold(&self.entries.0, may_change);
        let mut loaded = Self::read(settings)?;
        loaded.waiting = waiting;
        Ok(loaded)
    }

    /// Returns these settings with the keys and other secrets that their files hold now. `sources` are those that the
    /// settings were read from. Files that hold no secret are not read, and mistakes in those of settings that may not change
    /// do not matter.
    pub fn with_secrets(
        &self,
        mode: Mode,
        sources: &Sources,
        may_change: MayChange,
    ) -> Result<Config, ConfigErrors> {
        let mut settings = layers::gather(mode, sources);
        settings.hold(&self.entries.0, may_change);
        let before = &self.config;
        let upstream = Upstream::read(&mut settings);
        let auth = Auth::read(&mut settings, &before.cors.allowed_origins);
        let ops = Ops::read(&mut settings);
        let alerts = Alerts::read(&mut settings);
        let otel = Otel::read(&mut settings);
        let live: Option<LiveSettings> = settings.section("live");
        settings.forgive(may_change);
        settings.verdict()?;
        let mut config = before.clone();
        config.upstream = upstream.unwrap_or(config.upstream);
        if let Some(auth) = auth {
            let known_roles = std::mem::take(&mut config.auth.known_roles);
            config.auth = Auth {
                known_roles,
                ..auth
            };
        }
        config.ops = ops.unwrap_or(config.ops);
        config.alerts = alerts.unwrap_or(config.alerts);
        config.otel = otel.unwrap_or(config.otel);
        config.live = live.unwrap_or(config.live);
        Ok(config)
    }

    /// Returns the names of settings whose changes wait for a restart, in alphabetical order.
    pub fn waiting(&self) -> &[String] {
        &self.waiting
    }
}

impl Settings {
    /// Puts back the values of `running`, except of settings that may change. Returns the names of those that differed.
    fn hold(&mut self, running: &[Entry], may_change: MayChange) -> Vec<String> {
        let find = |name: &str| running.iter().find(|known| known.name == name);
        let mut waiting = BTreeSet::new();
        self.entries.retain(|entry| {
            let is_known = may_change(&entry.name) || find(&entry.name).is_some();
            if !is_known {
                waiting.insert(entry.name.clone());
            }
            is_known
        });
        for entry in running.iter().filter(|entry| !may_change(&entry.name)) {
            let now = self.entry(&entry.name).map(|now| &now.value);
            if now != Some(&entry.value) {
                waiting.insert(entry.name.clone());
                self.set(entry.clone());
            }
        }
        waiting.into_iter().collect()
    }
}

impl Config {
    /// Returns the fingerprints of all keys and other secrets that may change while the service runs.
    pub fn secrets(&self) -> Vec<KeyFingerprint> {
        let keys = self.upstream.keys().into_iter().map(|key| key.secret);
        let texts = [&self.ops.token, &self.alerts.webhook];
        let texts = texts.into_iter().flatten().cloned();
        let issuers = &self.auth.issuers;
        let lookups = issuers.iter().filter_map(|issuer| issuer.lookup.as_ref());
        let headers = lookups.flat_map(|lookup| &lookup.headers);
        let headers = headers.chain(&self.otel.headers);
        let headers = headers.map(|(_, value)| value.clone());
        let secrets = keys.chain(texts).chain(headers);
        let secrets = secrets.map(|secret| KeyFingerprint::of(secret.expose_secret()));
        let issuers = issuers.iter().map(|issuer| match &issuer.keys {
            KeySource::Hmac(secret) => KeyFingerprint::of(secret.expose_secret()),
            KeySource::Jwks(url) => KeyFingerprint::of(url.as_str()),
            KeySource::Pem(text) => KeyFingerprint::of(text),
        });
        let programs = self.auth.service_keys.iter();
        let programs = programs.map(|key| KeyFingerprint::of(&format!("{:?}", key.hash)));
        let webhooks = self.live.webhook_secret.iter();
        let webhooks = webhooks.flat_map(WebhookKeys::fingerprints);
        let others = issuers.chain(programs).chain(webhooks);
        secrets.chain(others).collect()
    }
}
