//! Reads settings again while the broker runs: all of them at SIGHUP, and the files of keys when they change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use super::Given;
use super::serve::doubts;
use super::stamps::{Stamps, Watch};
use crate::app::App;
use crate::audit::Event;
use crate::config::{Complaint, Config, ConfigErrors, Loaded, Mode, Sources};
use crate::domain::KeyFingerprint;
use crate::telemetry::Exporter;

/// The beginnings of the names of settings that are read again. All others hold for the whole run.
const READ_AGAIN: [&str; 11] = [
    "personas.",
    "quota.",
    "money.",
    "auth.",
    "alerts.",
    "ops.token",
    "otel.headers",
    "upstream.api_key",
    "upstream.previous_api_key",
    // Only `reconcile` uses the key.
    "upstream.admin_key",
    "live.webhook_secret",
];
/// Settings that hold for the whole run although their names begin so.
const HELD: [&str; 2] = ["auth.mode", "auth.allow_plain_http"];
/// How often the files of secrets are looked at. Those that may have changed are read. A change counts once two readings agree, so
/// that no half of a file does.
const POLL: Duration = Duration::from_secs(1);
/// Most mistakes of a reading that are reported.
const MOST_MISTAKES: usize = 20;

/// What follows on the mistakes of settings that would be good after a restart.
const GOOD_AFTER_RESTART: &str =
    "a restart would take these settings, but they do not go with those that hold until then";

/// The settings of a broker that runs.
pub(super) struct Reload<'a> {
    given: &'a Given,
    app: &'a App,
    traces: Option<&'a Exporter>,
    /// The warnings at the start.
    warned: Vec<String>,
    /// The settings in force, and where they were read from. Files of secrets are read anew each time.
    current: Arc<(Loaded, Sources)>,
    /// The files of secrets, as they were found lately.
    watch: Watch,
    /// The last reading of the secrets.
    read: Reading,
    /// The last reading that was taken over or reported.
    told: Reading,
}

/// What tells the secrets of a reading apart from others, without the secrets.
type Reading = Result<Vec<KeyFingerprint>, ConfigErrors>;

/// All settings that were read again.
struct Again {
    loaded: Loaded,
    sources: Sources,
    /// Why a restart would not take them.
    at_restart: Option<ConfigErrors>,
}

impl<'a> Reload<'a> {
    pub(super) fn new(
        given: &'a Given,
        (app, traces): (&'a App, Option<&'a Exporter>),
        read: (Loaded, Sources),
    ) -> Self {
        let secrets = Ok(read.0.config.secrets());
        Self {
            given,
            app,
            traces,
            warned: warnings(&read.0),
            current: Arc::new(read),
            watch: Watch::default(),
            read: secrets.clone(),
            told: secrets,
        }
    }

    /// Reads the settings again whenever it is `asked` to, and secrets when their files change. Never returns.
    pub(super) async fn run(mut self, asked: &Notify) {
        let clock = Arc::clone(&self.app.state().face.clock);
        loop {
            if clock.timeout(POLL, asked.notified()).await.is_ok() {
                self.read_again().await;
            } else if self.may_have_changed().await {
                self.read_secrets().await;
            }
        }
    }

    /// Reads all settings again. A mistake leaves those before them in force.
    async fn read_again(&mut self) {
        let (given, current) = (self.given.clone(), Arc::clone(&self.current));
        // A file system may hang.
        let reading = spawn_blocking(move || again(&given, &current.0));
        let Ok(read) = reading.await else { return };
        let read = read.and_then(|read| {
            self.app.adopt(&read.loaded.config)?;
            Ok(read)
        });
        match read {
            Ok(read) => {
                self.tell(&read);
                let config = &read.loaded.config;
                self.adopt_headers(config);
                let secrets = Ok(config.secrets());
                (self.read, self.told) = (secrets.clone(), secrets);
                self.current = Arc::new((read.loaded, read.sources));
                self.watch = Watch::default();
            }
            Err(error) => self.refuse(&error),
        }
    }

    /// Looks at the files of secrets. Returns true when the next reading may differ from the last two, or has to confirm the last.
    async fn may_have_changed(&mut self) -> bool {
        let files = secret_files(&self.current.0);
        if files.is_empty() {
            return false;
        }
        // A file system may hang.
        let stamps = spawn_blocking(move || Stamps::of(&files));
        let is_new = stamps.await.is_ok_and(|stamps| self.watch.notices(stamps));
        is_new || self.read != self.told
    }

    /// Reads the secrets again, and takes them over when they have changed and stay so. A mistake in another file does not matter
    /// to them.
    async fn read_secrets(&mut self) {
        let current = Arc::clone(&self.current);
        let (mode, may_change) = (Mode::Serve, is_read_again);
        // A file system may hang.
        let reading = spawn_blocking(move || current.0.with_secrets(mode, &current.1, may_change));
        let Ok(read) = reading.await else { return };
        let secrets = read.as_ref().map(Config::secrets).map_err(Clone::clone);
        if secrets == self.read && secrets != self.told {
            self.told.clone_from(&secrets);
            let taken = read.map_err(anyhow::Error::from).and_then(|config| {
                self.app.adopt_secrets(&config)?;
                self.adopt_headers(&config);
                Ok(aliases(&config))
            });
            match taken {
                Ok(keys) => self.note(json!({ "keys": keys })),
                Err(error) => self.refuse(&error),
            }
        }
        self.read = secrets;
    }

    fn adopt_headers(&self, config: &Config) {
        if let Some(traces) = self.traces {
            traces.adopt(&config.otel);
        }
    }

    /// Reports settings that were taken over, and what has to wait for a restart.
    fn tell(&self, read: &Again) {
        let loaded = &read.loaded;
        for warning in warnings(loaded) {
            if !self.warned.contains(&warning) {
                self.app.state().audit.warn_of_setting(&warning);
            }
        }
        let mut waiting: Vec<_> = loaded.waiting().iter().map(String::as_str).collect();
        // The listener is opened at the start.
        if self.app.has_ops() != loaded.config.ops.token.is_some() {
            waiting.push("ops.token");
        }
        if !waiting.is_empty() {
            tracing::warn!(
                settings = waiting.join(","),
                "some changed settings are read only at the start; restart to apply them"
            );
        }
        if let Some(errors) = &read.at_restart {
            tracing::warn!(
                mistakes = listed(errors).join("; "),
                "the changed settings hold mistakes that the next start will refuse; correct them before a restart"
            );
        }
        self.note(json!({
            "personas": loaded.config.personas.iter().count(),
            "keys": aliases(&loaded.config),
            "waiting_for_restart": waiting,
        }));
    }

    fn note(&self, details: Value) {
        let audit = &self.app.state().audit;
        audit.note(Event::SettingsReloaded, details);
    }

    /// Reports the mistakes of settings that cannot be used. No message repeats a value.
    fn refuse(&self, error: &anyhow::Error) {
        let mistakes = match error.downcast_ref::<ConfigErrors>() {
            Some(errors) => {
                let note = error.downcast_ref::<&str>().map(ToString::to_string);
                listed(errors).into_iter().chain(note).collect()
            }
            None => vec![format!("{error:#}")],
        };
        tracing::error!(
            mistakes = mistakes.join("; "),
            "the changed settings hold a mistake and were not applied; the earlier settings stay in force"
        );
        let audit = &self.app.state().audit;
        audit.note(Event::SettingsRefused, json!({ "mistakes": mistakes }));
    }
}

/// Reads all settings again beside those of the start. Refuses mistakes in settings that hold for the whole run, too.
fn again(given: &Given, running: &Loaded) -> anyhow::Result<Again> {
    let (mode, sources) = (Mode::Serve, given.sources()?);
    let at_restart = Config::from_sources(mode, &sources).err();
    let is_held = |complaint: &Complaint| !is_read_again(complaint.setting());
    if let Some(errors) = &at_restart
        && errors.complaints().iter().any(is_held)
    {
        return Err(errors.clone().into());
    }
    match running.again(mode, &sources, is_read_again) {
        Ok(loaded) => Ok(Again {
            loaded,
            sources,
            at_restart,
        }),
        Err(errors) if at_restart.is_none() => {
            Err(anyhow::Error::from(errors).context(GOOD_AFTER_RESTART))
        }
        Err(errors) => Err(errors.into()),
    }
}

fn is_read_again(name: &str) -> bool {
    let begins = |begin: &&str| name.starts_with(begin);
    READ_AGAIN.iter().any(begins) && !HELD.contains(&name)
}

/// Returns the first mistakes, one text each.
fn listed(errors: &ConfigErrors) -> Vec<String> {
    let complaints = errors.complaints().iter().take(MOST_MISTAKES);
    complaints.map(ToString::to_string).collect()
}

fn aliases(config: &Config) -> Vec<Box<str>> {
    let keys = config.upstream.keys().into_iter();
    keys.map(|key| key.alias).collect()
}

/// Returns the files of secrets that are read again.
fn secret_files(loaded: &Loaded) -> Vec<PathBuf> {
    let files = loaded.listing().filter(|(name, value, _)| {
        name.ends_with("_file") && is_read_again(name) && !value.is_empty()
    });
    files.map(|(_, path, _)| path.into()).collect()
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    let warnings = loaded.warnings.iter().cloned();
    warnings.chain(doubts(&loaded.config)).collect()
}
