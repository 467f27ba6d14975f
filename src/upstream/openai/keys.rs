//! The API keys that are loaded, by their fingerprints.

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::{SetupError, sensitive};
use crate::config::Upstream;
use crate::domain::KeyFingerprint;

/// The current key creates calls. The key before it serves the calls that it created.
pub(super) struct Keys {
    /// The header that carries a key.
    pub(super) header: HeaderName,
    pub(super) current: KeyFingerprint,
    previous: Option<(KeyFingerprint, HeaderValue)>,
}

/// The key for a call.
pub(super) enum KeyFor<'a> {
    /// The key that created it is the current one.
    Current,
    /// The key that created it is the previous one. Holds the value of its header.
    Previous(&'a HeaderValue),
    /// The key that created it is not loaded.
    Missing,
}

impl Keys {
    pub(super) fn new(settings: &Upstream) -> Result<Self, SetupError> {
        let header = header(settings)?;
        let previous = match &settings.previous_api_key {
            Some(key) => {
                let value = credential(&header, key, "upstream.previous_api_key")?;
                Some((KeyFingerprint::of(key.expose_secret()), value))
            }
            None => None,
        };
        Ok(Self {
            current: KeyFingerprint::of(current(settings)?.expose_secret()),
            header,
            previous,
        })
    }

    /// Returns the key for a call that the key of this fingerprint created.
    pub(super) fn choose(&self, creator: &KeyFingerprint) -> KeyFor<'_> {
        if *creator == self.current {
            return KeyFor::Current;
        }
        match &self.previous {
            Some((previous, value)) if previous == creator => KeyFor::Previous(value),
            Some(_) | None => KeyFor::Missing,
        }
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
