//! Reads settings again while the broker runs: all of them at SIGHUP, and the files of keys when they change.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use super::Given;
use super::serve::doubts;
use crate::app::App;
use crate::audit::Event;
use crate::config::{Config, ConfigErrors, Loaded, Mode, Sources};

/// The beginnings of the names of settings that are read again. All others hold for the whole run.
const READ_AGAIN: [&str; 6] = [
    "personas.",
    "quota.",
    "money.",
    "upstream.api_key",
    "upstream.previous_api_key",
    "auth.service_keys",
];
/// How often the files of keys are read. Readings of their content notice a changed link, too, by which Kubernetes replaces
/// the files of a secret. A change counts once two readings agree, so that no half of a file does.
const POLL: Duration = Duration::from_secs(1);
/// Most mistakes of a reading that are reported.
const MOST_MISTAKES: usize = 20;

/// The settings of a broker that runs.
pub(super) struct Reload<'a> {
    given: &'a Given,
    app: &'a App,
    /// The settings at the start.
    started: Loaded,
    /// The settings in force, and where they were read from. Files of secrets are read anew each time.
    current: Arc<(Loaded, Sources)>,
    /// The last reading of the keys.
    read: Reading,
    /// The last reading that was taken over or reported.
    told: Reading,
}

/// What tells the keys of a reading apart from others, without the keys.
type Reading = Result<Vec<String>, ConfigErrors>;

impl<'a> Reload<'a> {
    pub(super) fn new(given: &'a Given, app: &'a App, read: (Loaded, Sources)) -> Self {
        let keys = Ok(prints(&read.0.config));
        Self {
            given,
            app,
            started: read.0.clone(),
            current: Arc::new(read),
            read: keys.clone(),
            told: keys,
        }
    }

    /// Reads the settings again whenever it is `asked` to, and keys when their files change. Never returns.
    pub(super) async fn run(mut self, asked: &Notify) {
        let clock = Arc::clone(&self.app.state().face.clock);
        loop {
            if clock.timeout(POLL, asked.notified()).await.is_ok() {
                self.read_again().await;
            } else if has_key_files(&self.current.0) {
                self.read_keys().await;
            }
        }
    }

    /// Reads all settings again. A mistake leaves those before them in force.
    async fn read_again(&mut self) {
        let given = self.given.clone();
        // A file system may hang.
        let reading = spawn_blocking(move || given.read(Mode::Serve));
        let Ok(read) = reading.await else { return };
        let read = read.and_then(|read| {
            self.app.adopt(&read.0.config)?;
            Ok(read)
        });
        match read {
            Ok(read) => {
                self.tell(&read.0);
                let keys = Ok(prints(&read.0.config));
                (self.read, self.told) = (keys.clone(), keys);
                self.current = Arc::new(read);
            }
            Err(error) => self.refuse(&error),
        }
    }

    /// Reads the keys again, and takes them over when they have changed and stay so. A mistake in another file does not matter
    /// to them.
    async fn read_keys(&mut self) {
        let current = Arc::clone(&self.current);
        // A file system may hang.
        let reading =
            spawn_blocking(move || current.0.config.with_keys_of(Mode::Serve, &current.1));
        let Ok(read) = reading.await else { return };
        let keys = read.as_ref().map(prints).map_err(Clone::clone);
        if keys == self.read && keys != self.told {
            self.told.clone_from(&keys);
            let taken = read.map_err(anyhow::Error::from).and_then(|config| {
                self.app.adopt_keys(&config)?;
                Ok(aliases(&config))
            });
            match taken {
                Ok(keys) => self.note(json!({ "keys": keys })),
                Err(error) => self.refuse(&error),
            }
        }
        self.read = keys;
    }

    /// Reports settings that were taken over, and what has to wait for a restart.
    fn tell(&self, loaded: &Loaded) {
        let known = warnings(&self.started);
        for warning in warnings(loaded) {
            if !known.contains(&warning) {
                self.app.state().audit.warn_of_setting(&warning);
            }
        }
        let waiting = self.waiting(loaded);
        if !waiting.is_empty() {
            tracing::warn!(
                settings = waiting.join(","),
                "settings have changed that are read at the start only; restart to apply them"
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
        let mistakes: Vec<_> = match error.downcast_ref::<ConfigErrors>() {
            Some(errors) => {
                let complaints = errors.complaints().iter().take(MOST_MISTAKES);
                complaints.map(ToString::to_string).collect()
            }
            None => vec![format!("{error:#}")],
        };
        tracing::error!(
            mistakes = mistakes.join("; "),
            "settings were read again and hold a mistake; those before them stay in force"
        );
        let audit = &self.app.state().audit;
        audit.note(Event::SettingsRefused, json!({ "mistakes": mistakes }));
    }

    /// Returns the names of settings that differ from those at the start, and need a restart.
    fn waiting<'b>(&'b self, loaded: &'b Loaded) -> Vec<&'b str> {
        let (before, now) = (shown(&self.started), shown(loaded));
        let differing = before.symmetric_difference(&now).map(|(name, _)| *name);
        let is_waiting = |name: &&str| !READ_AGAIN.iter().any(|begin| name.starts_with(begin));
        let names: BTreeSet<_> = differing.filter(is_waiting).collect();
        names.into_iter().collect()
    }
}

fn aliases(config: &Config) -> Vec<Box<str>> {
    let keys = config.upstream.keys().into_iter();
    keys.map(|key| key.alias).collect()
}

/// Returns what tells the keys of `config` apart from others.
fn prints(config: &Config) -> Vec<String> {
    let keys = config.upstream.keys();
    let keys = keys.iter().map(|key| key.fingerprint().as_str().to_owned());
    let programs = config.auth.service_keys.iter();
    keys.chain(programs.map(|key| format!("{:?}", key.hash)))
        .collect()
}

/// True when a key is in a file.
fn has_key_files(loaded: &Loaded) -> bool {
    let mut listing = loaded.listing();
    listing.any(|(name, value, _)| name.ends_with("key_file") && !value.is_empty())
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    let warnings = loaded.warnings.iter().cloned();
    warnings.chain(doubts(&loaded.config)).collect()
}

fn shown(loaded: &Loaded) -> BTreeSet<(&str, &str)> {
    let listing = loaded.listing();
    listing.map(|(name, value, _)| (name, value)).collect()
}
