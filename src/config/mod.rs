//! Reads the settings of the operator into types that cannot be wrong, section by section.
//!
//! There are four sources, of which the later win: the compiled-in `config/default.toml`, a file, the environment, flags.
//! All mistakes are reported at once. No message repeats a value, which may be a secret.

mod auth;
mod compat;
mod complaint;
mod cors;
mod demo;
mod document;
mod entry;
mod environment;
mod fields;
mod guard;
mod health;
mod issuers;
mod layers;
mod ledger;
mod limits;
mod log;
mod networks;
mod ops;
mod personas;
mod presets;
mod quota;
mod redis;
mod section;
mod server;
mod session;
mod settings;
mod source;
mod upstream;

use std::sync::Arc;

pub use auth::{Auth, AuthMode, Issuer, KeySource, Lookup};
pub use compat::Compat;
pub use complaint::{Complaint, ConfigErrors};
pub use cors::Cors;
pub use demo::{Demo, DemoPerson};
pub use environment::{environment_name, short_name};
pub use guard::Guard;
pub use health::{Health, HealthDetails};
pub use ledger::{LedgerPlace, LedgerSettings};
pub use limits::Limits;
pub use log::{Log, LogFormat};
pub use ops::Ops;
pub use quota::{QuotaException, QuotaSettings};
pub use redis::{OnFailure, RedisSettings};
pub use server::Server;
pub use session::{IpBinding, SessionSettings};
pub use source::{ReadFile, SettingsFile, Source, Sources, read_file};
pub use upstream::Upstream;

pub use crate::domain::Algorithm;
use crate::domain::Personas;
use settings::Settings;

/// Warns of a broker on a network that verifies nobody.
const OPEN_HOUSE: &str = "is off, and the broker is reachable from a network: whoever reaches it can mint secrets at your expense, \
     as often as the limits allow; set auth.mode=required and an issuer";

/// The purpose that settings are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For callers from anywhere: a missing or unsafe setting refuses to start.
    Serve,
    /// For a developer's own machine: localhost may call, no API key is needed, unsafe settings are only warned of.
    Dev,
}

/// All settings. Nothing below `app` sees the whole.
#[derive(Clone, Debug)]
pub struct Config {
    /// How the service listens.
    pub server: Server,
    /// Which web pages may call.
    pub cors: Cors,
    /// Who is believed to say whom a caller acts for.
    pub auth: Auth,
    /// How often an address may ask.
    pub limits: Limits,
    /// When an address is blocked.
    pub guard: Guard,
    /// What bounds a session.
    pub session: SessionSettings,
    /// What identities may use in a month.
    pub quota: QuotaSettings,
    /// How the provider is reached.
    pub upstream: Upstream,
    /// The presets callers pick from.
    pub personas: Arc<Personas>,
    /// How use is recorded.
    pub ledger: LedgerSettings,
    /// What replicas share.
    pub redis: RedisSettings,
    /// The listener for operators.
    pub ops: Ops,
    /// What the health answers tell.
    pub health: Health,
    /// The try-it page.
    pub demo: Demo,
    /// What is only there for older clients.
    pub compat: Compat,
    /// What is written to the log.
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
}

impl Loaded {
    /// Returns each setting's dotted name, value (secrets as `***`) and source, in the order of `config/default.toml`.
    pub fn listing(&self) -> impl Iterator<Item = (&str, &str, &Source)> {
        let shown = self.shown.iter();
        shown.map(|(name, value, source)| (name.as_str(), value.as_str(), source))
    }
}

impl Config {
    /// Reads all sources for `mode`. Fails with all mistakes.
    pub fn from_sources(mode: Mode, sources: &Sources) -> Result<Loaded, ConfigErrors> {
        let mut settings = layers::gather(mode, sources);
        let config = Self::read(&mut settings);
        if let Some(config) = &config {
            config.check(&mut settings);
        }
        let shown = settings.shown();
        let warnings = settings.verdict().map_err(ConfigErrors::new)?;
        // Without a complaint there is a configuration: only a complaint makes `read` give none.
        config
            .map(|config| Loaded {
                config,
                warnings,
                shown,
            })
            .ok_or_else(|| ConfigErrors::new(Vec::new()))
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

    /// Reads every section before giving up on any, so that all mistakes are found.
    fn read(settings: &mut Settings) -> Option<Self> {
        let server = settings.section();
        let cors: Option<Cors> = settings.section();
        let auth = Auth::read(settings, cors.as_ref().map(|cors| &cors.allowed_origins));
        let limits = settings.section();
        let guard = Guard::read(settings);
        let session = settings.section();
        let quota = QuotaSettings::read(settings);
        let upstream: Option<Upstream> = settings.section();
        let personas = personas::read(settings);
        let ledger = settings.section();
        let redis = settings.section();
        let ops: Option<Ops> = settings.section();
        let health = settings.section();
        let demo = settings.section();
        let compat = settings.section();
        let log = settings.section();
        let auth = auth.map(|auth| Auth {
            known_roles: known_roles(personas.as_deref(), &quota),
            ..auth
        });
        Some(Self {
            server: server?,
            cors: cors?,
            auth: auth?,
            limits: limits?,
            guard: guard?,
            session: session?,
            quota,
            upstream: upstream?,
            personas: personas?,
            ledger: ledger?,
            redis: redis?,
            ops: ops?,
            health: health?,
            demo: demo?,
            compat: compat?,
            log: log?,
        })
    }

    /// Requires one ledger for replicas that share limits.
    fn check_sharing(&self, settings: &mut Settings) {
        let is_shared = self.redis.url.is_some() && self.redis.replicas.get() > 1;
        if !is_shared || matches!(self.ledger.place, LedgerPlace::Postgres(_)) {
            return;
        }
        let message = "must be a postgres:// database that all replicas have, when they share redis.url: sessions and quotas \
                       of one replica would be unknown to the others (or redis.replicas = 1, if this is the only one)";
        if settings.mode == Mode::Dev {
            settings.warn("ledger.url", message);
        } else {
            settings.require(&["ledger.url", "redis.url"], false, message);
        }
    }

    /// Checks the rules between sections. Rules within a section are checked there.
    fn check(&self, settings: &mut Settings) {
        self.check_sharing(settings);
        let records = self.ledger.timeout * 2;
        if records + self.upstream.max_wait + self.upstream.timeout > self.server.drain_timeout {
            settings.warn(
                "server.drain_timeout",
                "is shorter than one mint may take (upstream.max_wait, upstream.timeout, twice ledger.timeout): \
                 a drain may cut callers off",
            );
        }
        self.quota.warn(settings, &self.auth);
        let default = self.personas.default_persona();
        if self.auth.mode != AuthMode::Required && !default.admits(None) {
            settings.warn(
                "personas.default",
                "names a persona that is for some roles only: callers without a credential are refused",
            );
        }
        let is_public =
            !self.server.listen.ip().is_loopback() || !self.server.trusted_proxies.is_empty();
        if settings.mode == Mode::Serve && is_public && self.auth.mode == AuthMode::Off {
            settings.warn("auth.mode", OPEN_HOUSE);
        }
    }
}

/// Returns the roles that personas or quotas name: the personas' in the order of their file, then the
/// quotas' by name.
fn known_roles(personas: Option<&Personas>, quota: &QuotaSettings) -> Vec<Box<str>> {
    let personas = personas.into_iter().flat_map(Personas::iter);
    let named = personas.flat_map(|persona| persona.role.iter().chain(&persona.roles));
    let mut quotas: Vec<_> = quota.roles.keys().collect();
    quotas.sort_unstable();
    let mut roles: Vec<Box<str>> = Vec::new();
    for role in named.chain(quotas) {
        if !roles.contains(role) {
            roles.push(role.clone());
        }
    }
    roles
}
