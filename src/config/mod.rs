//! Reads the operator's settings into types that cannot be wrong, section by section.
//!
//! There are four sources, of which the later win: the compiled-in `config/default.toml`, a file, the environment, flags.
//! All mistakes are reported at once. No message repeats a value, which may be a secret.

mod again;
mod alerts;
mod api_keys;
mod auth;
mod call;
mod compat;
mod complaint;
mod connect;
mod cors;
mod demo;
mod document;
mod environment;
mod fields;
mod guard;
mod health;
mod issuers;
mod layers;
mod ledger;
mod limits;
mod live;
mod log;
mod money;
mod networks;
mod ops;
mod otel;
mod personas;
mod presets;
mod prices;
mod quota;
mod reader;
mod redis;
mod relay;
mod server;
mod service_keys;
mod session;
mod settings;
mod source;
mod transcription;
mod upstream;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use again::MayChange;
pub use alerts::{AlertFormat, Alerts};
pub use api_keys::ApiKey;
pub use auth::{Auth, AuthMode, Issuer, KeySource, Lookup};
pub use call::{CallSettings, Farewell};
pub use compat::Compat;
pub use complaint::{Complaint, ConfigErrors};
pub use connect::ConnectSettings;
pub use cors::Cors;
pub use demo::{Cutting, Demo, DemoCalls, DemoPerson};
pub use environment::{environment_name, short_name};
pub use guard::Guard;
pub use health::{Health, HealthDetails};
pub use ledger::{LedgerPlace, LedgerSettings};
pub use limits::Limits;
pub use live::{LiveSettings, Unowned};
pub use log::{Log, LogFormat, LogIdentity};
pub use money::{MoneyLimit, MoneySettings};
pub use ops::Ops;
pub use otel::Otel;
pub use prices::{PricesError, read_prices};
pub use quota::{QuotaException, QuotaSettings};
pub use redis::{OnFailure, RedisSettings};
pub use relay::RelaySettings;
pub use server::{LOCALHOST, Server};
pub use service_keys::ServiceKey;
pub use session::{IpBinding, SessionSettings};
pub use settings::is_secret;
pub use source::{ReadFile, SettingsFile, Source, Sources, read_file};
pub use transcription::TranscriptionSettings;
pub use upstream::Upstream;

pub use crate::domain::Algorithm;
use crate::domain::Personas;
use again::Entries;
use settings::Settings;

/// The purpose that settings are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For callers from anywhere. A missing or unsafe setting is a mistake.
    Serve,
    /// For a developer's own machine. Localhost may call, no API key is needed, and unsafe settings are only warned of.
    Dev,
}

/// All settings. Rooms below `app` see only their sections.
#[derive(Clone, Debug)]
pub struct Config {
    /// Listeners, proxies and timeouts.
    pub server: Server,
    /// Which web pages may call.
    pub cors: Cors,
    /// Which issuers are trusted.
    pub auth: Auth,
    /// The rates of all limits.
    pub limits: Limits,
    /// Offences and blocks.
    pub guard: Guard,
    /// The bounds of sessions.
    pub session: SessionSettings,
    /// How pages connect to the provider.
    pub connect: ConnectSettings,
    /// The limits of calls.
    pub call: CallSettings,
    /// What holds for calls of GPT-Live.
    pub live: LiveSettings,
    /// The transcription of recordings.
    pub transcription: TranscriptionSettings,
    /// How relays are carried.
    pub relay: RelaySettings,
    /// What calls may cost everybody together, and the prices.
    pub money: MoneySettings,
    /// What identities may use in a month.
    pub quota: QuotaSettings,
    /// The provider, our API key, timeouts and pace.
    pub upstream: Upstream,
    /// The personas that callers choose from.
    pub personas: Arc<Personas>,
    /// The database of the records.
    pub ledger: LedgerSettings,
    /// The server on which replicas share limits.
    pub redis: RedisSettings,
    /// The listener for operators.
    pub ops: Ops,
    /// Alerts by webhook.
    pub alerts: Alerts,
    /// Traces.
    pub otel: Otel,
    /// The details of health answers.
    pub health: Health,
    /// The demo page.
    pub demo: Demo,
    /// Behaviour for older clients.
    pub compat: Compat,
    /// Format and levels of the log.
    pub log: Log,
}

/// Settings without a mistake, and their sources.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Warnings of settings that are allowed and probably not meant, one sentence each.
    pub warnings: Vec<String>,
    shown: Vec<(String, String, Source)>,
    entries: Entries,
    waiting: Vec<String>,
}

impl Loaded {
    /// Returns each setting's dotted name, value (secrets as `***`) and source, in the order of `config/default.toml`.
    pub fn listing(&self) -> impl Iterator<Item = (&str, &str, &Source)> {
        let shown = self.shown.iter();
        shown.map(|(name, value, source)| (name.as_str(), value.as_str(), source))
    }

    /// Reads every section. Fails with all mistakes.
    fn read(mut settings: Settings) -> Result<Self, ConfigErrors> {
        let config = Config::read(&mut settings);
        let (shown, entries) = (settings.shown(), Entries(settings.entries.clone()));
        let warnings = settings.verdict()?;
        // Without a complaint there is a configuration.
        let config = config.ok_or_else(|| ConfigErrors::new(Vec::new()))?;
        Ok(Self {
            config,
            warnings,
            shown,
            entries,
            waiting: Vec::new(),
        })
    }
}

impl Config {
    /// Reads all sources for `mode`. Fails with all mistakes.
    pub fn from_sources(mode: Mode, sources: &Sources) -> Result<Loaded, ConfigErrors> {
        Loaded::read(layers::gather(mode, sources))
    }

    /// Reads settings given as dotted names and texts alone, as flags give them. For dev mode and tests:
    /// `Config::from_pairs(Mode::Dev, &[("limits.token", "2/60s")])`.
    pub fn from_pairs(mode: Mode, pairs: &[(&str, &str)]) -> Result<Self, ConfigErrors> {
        let flags = pairs
            .iter()
            .map(|&(name, text)| (name.into(), text.into()))
            .collect();
        let sources = Sources {
            flags,
            ..Sources::default()
        };
        Self::from_sources(mode, &sources).map(|loaded| loaded.config)
    }

    /// Reads every section. In the place of a wrong value is its default, so that all mistakes are found. Returns `None`
    /// after a complaint of the personas, which have no default.
    fn read(settings: &mut Settings) -> Option<Self> {
        let cors = Cors::read(settings)?;
        let ledger = LedgerSettings::read(settings)?;
        let mut config = Self {
            server: Server::read(settings)?,
            auth: Auth::read(settings, &cors.allowed_origins)?,
            cors,
            limits: settings.section("limits")?,
            guard: Guard::read(settings)?,
            session: SessionSettings::read(settings)?,
            connect: settings.section("connect")?,
            call: CallSettings::read(settings)?,
            live: settings.section("live")?,
            transcription: TranscriptionSettings::read(settings)?,
            relay: RelaySettings::read(settings)?,
            money: MoneySettings::read(settings)?,
            quota: QuotaSettings::read(settings),
            upstream: Upstream::read(settings)?,
            redis: RedisSettings::read(settings, &ledger)?,
            ledger,
            ops: Ops::read(settings)?,
            alerts: Alerts::read(settings)?,
            otel: Otel::read(settings)?,
            health: settings.section("health")?,
            demo: settings.section("demo")?,
            compat: settings.section("compat")?,
            log: settings.section("log")?,
            personas: personas::read(settings)?,
        };
        config.auth.known_roles = known_roles(&config);
        config.quota.warn(settings, &config.auth);
        config.require_personas_of_programs(settings);
        config.require_personas_of_keys(settings);
        config.require_bounded_answers(settings);
        config.require_measured(settings);
        config.warn(settings);
        Some(config)
    }

    /// Warns of settings of several sections that are allowed and probably not meant.
    fn warn(&self, settings: &mut Settings) {
        let mint = self.upstream.max_wait + self.upstream.timeout + self.ledger.timeout * 2;
        settings.warn_if(
            mint > self.server.drain_timeout,
            "server.drain_timeout",
            "is shorter than one mint may take (upstream.max_wait, upstream.timeout, twice ledger.timeout): \
             a drain may cut callers off",
        );
        settings.warn_if(
            self.auth.mode != AuthMode::Required && !self.personas.default_persona().admits(None),
            "personas.default",
            "names a persona that is for some roles only: callers without a credential are refused",
        );
        let is_local =
            self.server.listen.ip().is_loopback() && self.server.trusted_proxies.is_empty();
        settings.warn_if(
            settings.mode == Mode::Serve && !is_local && self.auth.mode == AuthMode::Off,
            "auth.mode",
            "is off, and the broker is reachable from a network: whoever reaches it can mint secrets at your expense, \
             as often as the limits allow; set auth.mode=required and an issuer",
        );
    }
}

/// Returns the roles that personas name, in the order of their file, and then those that quotas and API keys name, in
/// alphabetical order.
fn known_roles(config: &Config) -> Vec<Box<str>> {
    let personas = config.personas.iter();
    let named = personas.flat_map(|persona| persona.role.iter().chain(&persona.roles));
    let keys = config.upstream.api_keys.iter().flat_map(|key| &key.roles);
    let quotas: BTreeSet<_> = config.quota.roles.keys().chain(keys).collect();
    let mut roles: Vec<Box<str>> = Vec::new();
    for role in named.chain(quotas) {
        if !roles.contains(role) {
            roles.push(role.clone());
        }
    }
    roles
}
