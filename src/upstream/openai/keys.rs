//! The API keys that are loaded, by their fingerprints.

use std::sync::Arc;

use parking_lot::RwLock;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::{SetupError, sensitive};
use crate::config::{ApiKey, Upstream};
use crate::domain::KeyFingerprint;

/// Most keys that were replaced and are kept for the calls that they created: a call lasts an hour at most, and a key that is
/// replaced every minute leaves fewer.
const MOST_REPLACED: usize = 64;

/// The keys of the settings, and those that were replaced.
pub(super) struct Keys {
    /// The header that carries a key.
    pub(super) header: HeaderName,
    known: RwLock<Known>,
}

struct Known {
    first: Arc<Loaded>,
    /// The other ones of the settings, and then those that were replaced, the latest first.
    others: Vec<Arc<Loaded>>,
}

/// A key that is loaded.
pub(super) struct Loaded {
    pub(super) fingerprint: KeyFingerprint,
    pub(super) secret: SecretString,
    /// The value of the header.
    pub(super) value: HeaderValue,
}

impl Known {
    fn iter(&self) -> impl Iterator<Item = &Arc<Loaded>> {
        [&self.first].into_iter().chain(&self.others)
    }
}

impl Keys {
    pub(super) fn new(settings: &Upstream) -> Result<Self, SetupError> {
        let header = HeaderName::try_from(&settings.key_header);
        let header = header.map_err(|_| SetupError::Header("upstream.key_header"))?;
        let known = RwLock::new(read(&header, &settings.keys())?);
        Ok(Self { header, known })
    }

    /// Takes other keys over. Those before them are kept for the calls that they created.
    pub(super) fn load(&self, keys: &[ApiKey]) -> Result<(), SetupError> {
        let mut now = read(&self.header, keys)?;
        let mut known = self.known.write();
        let is_gone = |old: &&Arc<Loaded>| now.iter().all(|new| new.fingerprint != old.fingerprint);
        let replaced: Vec<_> = known
            .iter()
            .filter(is_gone)
            .take(MOST_REPLACED)
            .cloned()
            .collect();
        now.others.extend(replaced);
        *known = now;
        Ok(())
    }

    /// Returns the first key of the settings.
    pub(super) fn first(&self) -> Arc<Loaded> {
        Arc::clone(&self.known.read().first)
    }

    /// True when the key of this fingerprint is loaded.
    pub(super) fn has(&self, fingerprint: &KeyFingerprint) -> bool {
        self.choose(fingerprint).fingerprint == *fingerprint
    }

    /// Returns the key of this fingerprint, or the first key when that one is not loaded: the provider may know a call by another
    /// key of the same project.
    pub(super) fn choose(&self, fingerprint: &KeyFingerprint) -> Arc<Loaded> {
        let known = self.known.read();
        let mut all = known.iter();
        let found = all.find(|key| key.fingerprint == *fingerprint);
        Arc::clone(found.unwrap_or(&known.first))
    }
}

/// Reads the keys of the settings.
fn read(header: &HeaderName, keys: &[ApiKey]) -> Result<Known, SetupError> {
    let keys = keys.iter().map(|key| {
        Ok(Arc::new(Loaded {
            fingerprint: key.fingerprint(),
            secret: key.secret.clone(),
            value: credential(header, &key.secret)?,
        }))
    });
    let mut keys = keys.collect::<Result<Vec<_>, SetupError>>()?.into_iter();
    Ok(Known {
        first: keys.next().ok_or(SetupError::Header("upstream.api_key"))?,
        others: keys.collect(),
    })
}

/// Returns the value of the header for a key: a bearer token in `Authorization`, the key alone in any other.
fn credential(header: &HeaderName, key: &SecretString) -> Result<HeaderValue, SetupError> {
    let key = key.expose_secret();
    if header == AUTHORIZATION {
        sensitive(&format!("Bearer {key}"), "upstream.api_key")
    } else {
        sensitive(key, "upstream.api_key")
    }
}
