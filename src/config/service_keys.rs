//! `[[auth.service_keys]]`: bearer keys of the operator's own programs, which have no login.

use aws_lc_rs::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use super::Config;
use super::fields::{long_secret, persona_names};
use super::settings::Settings;
use crate::domain::PersonaName;
use crate::domain::written::{optional, optional_word};

const KEYS: &str = "auth.service_keys";
/// The fields that tell a key.
const KEY_FIELDS: [&str; 3] = ["key_file", "key", "key_sha256"];

/// The key of one program.
#[derive(Clone, Debug)]
pub struct ServiceKey {
    /// The name of the program, by which it is counted.
    pub name: Box<str>,
    /// The SHA-256 hash of the key.
    pub hash: [u8; 32],
    /// The role of the program.
    pub role: Option<Box<str>>,
    /// The personas that the program may use, the usual one first. Empty: those that its role may use.
    pub personas: Vec<PersonaName>,
}

/// One table as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    #[serde(deserialize_with = "optional_word")]
    name: Option<Box<str>>,
    #[serde(deserialize_with = "long_secret::<32, _>")]
    key: Option<SecretString>,
    #[serde(deserialize_with = "sha256")]
    key_sha256: Option<[u8; 32]>,
    #[serde(deserialize_with = "optional_word")]
    role: Option<Box<str>>,
    #[serde(deserialize_with = "persona_names")]
    personas: Vec<PersonaName>,
}

/// Reads all tables.
pub(super) fn read(settings: &mut Settings) -> Vec<ServiceKey> {
    let mut keys: Vec<ServiceKey> = Vec::new();
    for (at, table) in settings.list_of::<Table>("auth", "service_keys") {
        let name = table.name.unwrap_or_default();
        let is_new = !name.is_empty() && keys.iter().all(|known| known.name != name);
        let message = "is required, and different from other names: the program is counted by it";
        settings.require_in((&at, &["name"]), is_new, message);
        let told = [table.key.is_some(), table.key_sha256.is_some()];
        let message = "is required: either a file with the key, or key_sha256, its SHA-256 in 64 hexadecimal digits";
        settings.require_in((&at, &KEY_FIELDS), told[0] != told[1], message);
        let hash = table.key.map(|key| hashed(key.expose_secret()));
        if let Some(hash) = hash.or(table.key_sha256) {
            let is_new = keys.iter().all(|known| known.hash != hash);
            settings.require_in(
                (&at, &KEY_FIELDS),
                is_new,
                "is the key of another program, too",
            );
            keys.push(ServiceKey {
                name,
                hash,
                role: table.role,
                personas: table.personas,
            });
        }
    }
    keys
}

impl Config {
    /// Complains of personas that a program names and may not use.
    pub(super) fn require_personas_of_programs(&self, settings: &mut Settings) {
        for (key, number) in self.auth.service_keys.iter().zip(1..) {
            let role = key.role.as_deref();
            let may_use = |name: &PersonaName| {
                let persona = self.personas.named(name.as_str());
                persona.is_some_and(|persona| persona.admits(role))
            };
            settings.require(
                &[&format!("{KEYS}[{number}].personas")],
                key.personas.iter().all(may_use),
                "must name personas of personas.file that the role of the key may use",
            );
        }
    }
}

fn hashed(key: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    hash
}

fn sha256<'de, D: Deserializer<'de>>(from: D) -> Result<Option<[u8; 32]>, D::Error> {
    optional(from, |text| {
        let mut hash = [0; 32];
        let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        for (byte, place) in hash.iter_mut().zip((0..).step_by(2)) {
            let digits = text.get(place..place + 2).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
        }
        is_hash
            .then_some(hash)
            .ok_or("must be 64 hexadecimal digits, as sha256sum prints them")
    })
}
