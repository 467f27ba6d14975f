//! The provider's API keys: `upstream.api_key`, `[[upstream.api_keys]]` and `upstream.previous_api_key`.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use super::fields::{persona_names, secret, texts};
use super::settings::Settings;
use super::{Config, Upstream};
use crate::domain::written::text;
use crate::domain::{KeyFingerprint, PersonaName};

const KEYS: &str = "upstream.api_keys";
/// The fields that tell a key.
const KEY_FIELDS: [&str; 2] = ["key_file", "key"];
/// The alias of `upstream.api_key`.
const SINGLE: &str = "default";
/// The alias of `upstream.previous_api_key`.
const PREVIOUS: &str = "previous";
/// The longest alias, in bytes.
const LONGEST_ALIAS: usize = 32;

/// An API key.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiKey {
    /// The name of the key in the log and in figures.
    #[serde(deserialize_with = "alias")]
    pub alias: Box<str>,
    /// The key itself.
    #[serde(rename = "key", deserialize_with = "key")]
    pub secret: SecretString,
    /// True for a key that starts nothing any more, and serves the calls that it created.
    #[serde(rename = "retired")]
    pub is_retired: bool,
    /// The personas whose calls and client secrets the key is for.
    #[serde(deserialize_with = "persona_names")]
    pub personas: Vec<PersonaName>,
    /// The roles whose calls and client secrets the key is for.
    #[serde(deserialize_with = "texts")]
    pub roles: Vec<Box<str>>,
}

impl ApiKey {
    /// Returns the fingerprint of the key.
    pub fn fingerprint(&self) -> KeyFingerprint {
        KeyFingerprint::of(self.secret.expose_secret())
    }

    /// True for a key for everybody whom no other key names.
    pub fn is_for_everybody(&self) -> bool {
        !self.is_retired && self.personas.is_empty() && self.roles.is_empty()
    }
}

/// Reads all tables. `single` is the key of `upstream.api_key`.
pub(super) fn read(settings: &mut Settings, single: Option<&SecretString>) -> Vec<ApiKey> {
    let mut known: Vec<ApiKey> = single
        .map(|key| one(SINGLE, key, false))
        .into_iter()
        .collect();
    for (at, key) in settings.list_of::<ApiKey>("upstream", "api_keys") {
        let is_taken = ["", SINGLE, PREVIOUS].contains(&&*key.alias);
        let is_new = !is_taken && known.iter().all(|known| known.alias != key.alias);
        let message = "is required, and different from other aliases and from default and previous: the log names the key by it";
        settings.require_in((&at, &["alias"]), is_new, message);
        let is_given = !key.secret.expose_secret().is_empty();
        let message = "is required: a file with the key and nothing else";
        settings.require_in((&at, &KEY_FIELDS), is_given, message);
        if !is_given {
            continue;
        }
        let print = key.fingerprint();
        let is_new = known.iter().all(|known| known.fingerprint() != print);
        settings.require_in(
            (&at, &KEY_FIELDS),
            is_new,
            "is the key of another alias, too",
        );
        known.push(key);
    }
    known.drain(..usize::from(single.is_some()));
    known
}

/// Returns a key that serves everybody, or is retired.
fn one(alias: &str, secret: &SecretString, is_retired: bool) -> ApiKey {
    ApiKey {
        alias: alias.into(),
        secret: secret.clone(),
        is_retired,
        ..ApiKey::default()
    }
}

impl Upstream {
    /// Returns all keys in the order in which they are used: the single one, those of the list, and the one before.
    pub fn keys(&self) -> Vec<ApiKey> {
        let single = self.api_key.as_ref();
        let single = single.map(|key| one(SINGLE, key, false));
        let mut keys: Vec<_> = single.into_iter().chain(self.api_keys.clone()).collect();
        if let Some(previous) = &self.previous_api_key {
            let previous = one(PREVIOUS, previous, true);
            let print = previous.fingerprint();
            // While a key is replaced, it may be both.
            if keys.iter().all(|key| key.fingerprint() != print) {
                keys.push(previous);
            }
        }
        keys
    }

    /// True when there is a key for everybody whom no other key names.
    pub fn has_key(&self) -> bool {
        self.keys().iter().any(ApiKey::is_for_everybody)
    }
}

impl Config {
    /// Complains of personas that a key names and that do not exist.
    pub(super) fn require_personas_of_keys(&self, settings: &mut Settings) {
        let transcription = PersonaName::of_transcriptions();
        for (key, number) in self.upstream.api_keys.iter().zip(1..) {
            let exists = |name: &PersonaName| {
                *name == transcription || self.personas.named(name.as_str()).is_some()
            };
            settings.require(
                &[&format!("{KEYS}[{number}].personas")],
                key.personas.iter().all(exists),
                "must name personas of personas.file, or transcription",
            );
        }
    }
}

fn alias<'de, D: Deserializer<'de>>(from: D) -> Result<Box<str>, D::Error> {
    text(from, |text| {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        let is_alias = text.len() <= LONGEST_ALIAS && text.bytes().all(is_plain);
        is_alias
            .then(|| text.into())
            .ok_or("must be a short name, like school-a: small letters, digits, - _ .")
    })
}

fn key<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    secret(from).map(Option::unwrap_or_default)
}
