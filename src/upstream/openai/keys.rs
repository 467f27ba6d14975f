//! The API keys that are loaded, by their fingerprints.

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::{SetupError, sensitive};
use crate::config::Upstream;
use crate::domain::KeyFingerprint;

/// The current key creates calls. Keys that were replaced serve the calls that they created.
pub(super) struct Keys {
    /// The header that carries a key.
    pub(super) header: HeaderName,
    pub(super) current: KeyFingerprint,
    replaced: Vec<(KeyFingerprint, HeaderValue)>,
}

/// The key for a call.
pub(super) enum KeyFor<'a> {
    /// The key that created it is the current one.
    Current,
    /// The key that created it was replaced. Holds its header.
    Replaced(&'a HeaderValue),
    /// The key that created it is not loaded.
    Missing,
}

impl Keys {
    pub(super) fn new(settings: &Upstream) -> Result<Self, SetupError> {
        let current = KeyFingerprint::of(current(settings)?.expose_secret());
        Ok(Self {
            header: header(settings)?,
            current,
            replaced: Vec::new(),
        })
    }

    /// Returns the key for a call that the key of this fingerprint created.
    pub(super) fn choose(&self, creator: &KeyFingerprint) -> KeyFor<'_> {
        if *creator == self.current {
            return KeyFor::Current;
        }
        let mut replaced = self.replaced.iter();
        let found = replaced.find(|(fingerprint, _)| fingerprint == creator);
        found.map_or(KeyFor::Missing, |(_, value)| KeyFor::Replaced(value))
    }
}

/// Returns the key that creates calls and client secrets.
pub(super) fn current(settings: &Upstream) -> Result<&SecretString, SetupError> {
    let key = settings.api_key.as_ref();
    key.ok_or(SetupError::Header("upstream.api_key"))
}

/// Returns the header that carries a key.
pub(super) fn header(settings: &Upstream) -> Result<HeaderName, SetupError> {
    let name = HeaderName::try_from(&settings.key_header);
    name.map_err(|_| SetupError::Header("upstream.key_header"))
}

/// Returns the value of the header `name` for a key: a bearer token in `Authorization`, the key alone in any other.
pub(super) fn credential(
    name: &HeaderName,
    key: &SecretString,
    setting: &'static str,
) -> Result<HeaderValue, SetupError> {
    let key = key.expose_secret();
    if name == AUTHORIZATION {
        sensitive(&format!("Bearer {key}"), setting)
    } else {
        sensitive(key, setting)
    }
}
