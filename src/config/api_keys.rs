//! The provider's API keys: `upstream.api_key`, `[[upstream.api_keys]]` and `upstream.previous_api_key`.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use super::fields::secret;
use super::settings::Settings;
use super::{Config, Upstream};
use crate::domain::written::{list, text};
use crate::domain::{KeyFingerprint, PersonaName};

const KEYS: &str = "upstream.api_keys";
/// The alias of `upstream.api_key`.
const SINGLE: &str = "default";
/// The alias of `upstream.previous_api_key`.
const PREVIOUS: &str = "previous";
/// The longest alias, in bytes.
const LONGEST_ALIAS: usize = 32;

/// An API key.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// The name of the key in the log and in figures.
    pub alias: Box<str>,
    /// The key itself.
    pub secret: SecretString,
    /// True for a key that starts nothing any more, and serves the calls that it created.
    pub is_retired: bool,
    /// The personas whose calls and client secrets the key is for.
    pub personas: Vec<PersonaName>,
    /// The roles whose calls and client secrets the key is for.
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

/// One table as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    #[serde(deserialize_with = "alias")]
    alias: Box<str>,
    #[serde(deserialize_with = "secret")]
    key: Option<SecretString>,
    retired: bool,
    #[serde(deserialize_with = "personas")]
    personas: Vec<PersonaName>,
    #[serde(deserialize_with = "roles")]
    roles: Vec<Box<str>>,
}

/// Reads all tables. `single` is the key of `upstream.api_key`.
pub(super) fn read(settings: &mut Settings, single: Option<&SecretString>) -> Vec<ApiKey> {
    let tables: Vec<Table> = settings.list_of("upstream", "api_keys");
    let mut known: Vec<ApiKey> = single
        .map(|key| one(SINGLE, key, false))
        .into_iter()
        .collect();
    for (table, number) in tables.into_iter().zip(1..) {
        let field = |name| format!("{KEYS}[{number}].{name}");
        let alias = table.alias;
        let is_taken = [SINGLE, PREVIOUS].contains(&&*alias);
        let is_new = !alias.is_empty() && !is_taken && known.iter().all(|key| key.alias != alias);
        let message = "is required, and different from other aliases and from default and previous: the log names the key by it";
        settings.require(&[&field("alias")], is_new, message);
        let fields = ["key_file", "key"].map(field);
        let fields = [&*fields[0], &*fields[1]];
        let message = "is required: a file with the key and nothing else";
        settings.require(&fields, table.key.is_some(), message);
        let Some(secret) = table.key else { continue };
        let key = ApiKey {
            alias,
            secret,
            is_retired: table.retired,
            personas: table.personas,
            roles: table.roles,
        };
        let print = key.fingerprint();
        let is_new = known.iter().all(|known| known.fingerprint() != print);
        settings.require(&fields, is_new, "is the key of another alias, too");
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
        personas: Vec::new(),
        roles: Vec::new(),
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

fn personas<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PersonaName>, D::Error> {
    list(from, PersonaName::parse)
}

fn roles<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Box<str>>, D::Error> {
    list(from, |text| match text {
        "" => Err("must not be empty"),
        text => Ok(text.into()),
    })
}
