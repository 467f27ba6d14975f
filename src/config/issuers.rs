//! Reads `[[auth.issuers]]`: an issuer of credentials, field by field.

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::fields::{long_secret, pairs, texts};
use super::settings::Settings;
use super::{Issuer, KeySource, Lookup};
use crate::domain::written::{list, optional};
use crate::domain::{Algorithm, Family, OriginPattern, algorithm, endpoint};

/// The fields that say where the keys are.
const KEYS: [&str; 4] = [
    "jwks_url",
    "hmac_secret",
    "hmac_secret_file",
    "public_key_file",
];
/// Stands for the subject in the address of a look-up.
const SUBJECT: &str = "{subject}";
/// Headers that the broker sends itself, and headers that belong to the connection.
const RESERVED_HEADERS: [&str; 7] = [
    "authorization",
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "accept",
    "te",
];

/// One table as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct IssuerTable {
    issuer: String,
    #[serde(deserialize_with = "texts")]
    audience: Vec<String>,
    jwks_url: String,
    /// RFC 7518 §3.2: a key of HS256 has at least as many bytes as its hash.
    #[serde(deserialize_with = "long_secret::<32, _>")]
    hmac_secret: Option<SecretString>,
    public_key_file: String,
    #[serde(deserialize_with = "algorithms")]
    algorithms: Vec<Algorithm>,
    #[serde(deserialize_with = "pointer")]
    subject_pointer: Option<String>,
    #[serde(deserialize_with = "pointer")]
    role_pointer: Option<String>,
    #[serde(deserialize_with = "pointer")]
    name_pointer: Option<String>,
    #[serde(deserialize_with = "texts")]
    authorized_parties: Vec<String>,
    azp_optional: bool,
    #[serde(deserialize_with = "pairs")]
    required_claims: Vec<(String, String)>,
    #[serde(deserialize_with = "pairs")]
    refused_claims: Vec<(String, String)>,
    lookup_url: String,
    #[serde(deserialize_with = "pairs")]
    lookup_headers: Vec<(String, String)>,
    #[serde(deserialize_with = "pointer")]
    lookup_role_pointer: Option<String>,
    #[serde(deserialize_with = "pointer")]
    lookup_name_pointer: Option<String>,
}

/// Checks a table, whose addresses may be plain http on the hosts of `plain`. `name` is its full name, like `auth.issuers[1]`.
/// After a complaint the issuer may have no keys.
pub(super) fn read(
    (settings, plain): (&mut Settings, &[String]),
    name: String,
    table: IssuerTable,
) -> Issuer {
    let mut rules = Rules {
        settings,
        plain,
        name,
    };
    let keys = rules.keys(&table);
    let algorithms = rules.algorithms(&table);
    let lookup = rules.lookup(&table);
    rules.check_claims("required_claims", &table.required_claims);
    rules.check_claims("refused_claims", &table.refused_claims);
    let patterns = rules.patterns(&table);
    let issuer = Issuer {
        party_patterns: patterns,
        issuer: table.issuer.into(),
        audience: table.audience,
        authorized_parties: table.authorized_parties,
        azp_optional: table.azp_optional,
        keys: keys.unwrap_or_default(),
        algorithms,
        required_claims: table.required_claims,
        refused_claims: table.refused_claims,
        subject_pointer: table.subject_pointer,
        role_pointer: table.role_pointer,
        name_pointer: table.name_pointer,
        lookup,
    };
    rules.require(
        &["issuer"],
        !issuer.issuer.is_empty(),
        "is required: what the credentials hold as iss, exactly",
    );
    rules.require(
        &["audience"],
        issuer.names_us(),
        "is required, unless authorized_parties or a /client_id among required_claims is given: \
         a credential that is meant for somebody else would do",
    );
    issuer
}

/// The rules of one table.
struct Rules<'a> {
    settings: &'a mut Settings,
    /// Hosts of the operator's own network, which may be asked over plain http.
    plain: &'a [String],
    /// The full name of the table.
    name: String,
}

impl Rules<'_> {
    /// Does the same as [`Settings::require`] with the names of fields.
    fn require(&mut self, fields: &[&str], holds: bool, message: &str) {
        self.settings
            .require_in((&self.name, fields), holds, message);
    }

    /// Returns the one source of keys that is given.
    fn keys(&mut self, table: &IssuerTable) -> Option<KeySource> {
        let pem = Some(table.public_key_file.as_str()).filter(|path| !path.is_empty());
        let secret = table.hmac_secret.clone().map(KeySource::Hmac);
        let jwks = self.address("jwks_url", &table.jwks_url, endpoint);
        let jwks = jwks.map(KeySource::Jwks);
        let given = [pem.is_some(), secret.is_some(), jwks.is_some()];
        self.require(
            &KEYS,
            given.into_iter().filter(|is_given| *is_given).count() == 1,
            "tells where the keys are, and so do hmac_secret, hmac_secret_file and public_key_file: exactly one of them is required",
        );
        match pem {
            Some(path) => self.public_keys(path).map(KeySource::Pem),
            None => secret.or(jwks),
        }
    }

    /// Reads an address by `parse`; an empty text is `None`.
    fn address<T>(
        &mut self,
        field: &str,
        text: &str,
        parse: fn(&str, &[String]) -> Result<T, &'static str>,
    ) -> Option<T> {
        let read = Some(text).filter(|text| !text.is_empty());
        let read = read.map(|text| parse(text, self.plain))?;
        read.map_err(|message| self.require(&[field], false, message))
            .ok()
    }

    fn public_keys(&mut self, path: &str) -> Option<String> {
        let field = "public_key_file";
        let text = self
            .settings
            .file(&format!("{}.{field}", self.name), path)?;
        self.require(
            &[field],
            !text.contains("PRIVATE KEY-----"),
            "names a file with a private key: it belongs to the issuer alone; give the public one",
        );
        self.require(
            &[field],
            text.contains("PUBLIC KEY-----") && text.contains("-----BEGIN "),
            "names a file without a public key in PEM form",
        );
        Some(text)
    }

    fn algorithms(&mut self, table: &IssuerTable) -> Vec<Algorithm> {
        // After a mistake in the keys, nobody knows of which type they are.
        let fields = [&["algorithms"], &KEYS[..]].concat();
        let is_secret = table.hmac_secret.is_some();
        let Some(first) = table.algorithms.first() else {
            let message =
                "is required: what the issuer signs with, like [\"ES256\"] or [\"RS256\"]";
            self.require(&fields, is_secret, message);
            return vec![Algorithm::HS256];
        };
        let family = first.family();
        let mut all = table.algorithms.iter();
        self.require(
            &["algorithms"],
            all.all(|other| other.family() == family),
            "must be of one family (HS…, RS… and PS…, ES…, or EdDSA): write a table for each",
        );
        self.require(
            &fields,
            (family == Family::Hmac) == is_secret,
            "must be HS… with a secret, and anything else with public keys: \
             otherwise whoever reads a public key could sign with it",
        );
        table.algorithms.clone()
    }

    /// Returns the authorized parties that are patterns of origins. The rules are those of `cors.allowed_origins`, which a preset
    /// takes its parties from.
    fn patterns(&mut self, table: &IssuerTable) -> Vec<OriginPattern> {
        let name = format!("{}.authorized_parties", self.name);
        let names = [name.as_str(), "cors.allowed_origins"];
        let allowed = self.settings.entry("cors.allow_shared_suffix");
        let allowed = allowed.and_then(|entry| entry.value.as_ref()?.as_bool());
        let parties = table.authorized_parties.iter();
        let mut patterns = Vec::new();
        for party in parties.filter(|party| party.contains("://") && party.contains('*')) {
            match OriginPattern::parse(party) {
                Ok(pattern) => {
                    let is_safe = !pattern.is_shared() || allowed == Some(true);
                    let message = format!(
                        "must not hold {pattern}: others may get names that fit; list the pages, or set \
                         cors.allow_shared_suffix = true"
                    );
                    self.settings.require(&names, is_safe, message);
                    patterns.push(pattern);
                }
                Err(error) => self.settings.require(&names, false, error),
            }
        }
        patterns
    }

    fn check_claims(&mut self, field: &str, claims: &[(String, String)]) {
        for (at, value) in claims {
            self.require(
                &[&format!("{field}.{at}")],
                is_pointer(at) && !value.is_empty(),
                "must be named by a JSON pointer, like \"/role\", and hold a text",
            );
        }
    }

    fn lookup(&mut self, table: &IssuerTable) -> Option<Lookup> {
        let (role, person) = (&table.lookup_role_pointer, &table.lookup_name_pointer);
        let asks = role.is_some() || person.is_some() || !table.lookup_headers.is_empty();
        let url = self.address("lookup_url", &table.lookup_url, lookup_url);
        self.require(
            &["lookup_url"],
            url.is_some() || !asks,
            "is required with lookup_headers, lookup_role_pointer and lookup_name_pointer",
        );
        let lookup = Lookup {
            url: url?,
            headers: self.headers(&table.lookup_headers),
            role_pointer: role.clone().or_else(|| table.role_pointer.clone()),
            name_pointer: person.clone().or_else(|| table.name_pointer.clone()),
        };
        self.require(
            &["lookup_url"],
            lookup.role_pointer.is_some() || lookup.name_pointer.is_some(),
            "is asked for nothing: give lookup_role_pointer or lookup_name_pointer",
        );
        Some(lookup)
    }

    fn headers(&mut self, written: &[(String, String)]) -> Vec<(String, SecretString)> {
        let mut headers = Vec::new();
        for (header, line) in written {
            let lower = header.to_ascii_lowercase();
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            let is_name = !lower.is_empty() && lower.bytes().all(is_plain);
            let is_line = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
            let is_value = !line.is_empty() && line.bytes().all(is_line);
            self.require(
                &[&format!("lookup_headers.{header}")],
                is_name && is_value && !RESERVED_HEADERS.contains(&lower.as_str()),
                "must be a header of its own (not Authorization, which is the caller's) with a value on one line",
            );
            headers.push((lower, line.as_str().into()));
        }
        headers
    }
}

fn algorithms<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Algorithm>, D::Error> {
    list(from, algorithm)
}

/// Reads a JSON pointer (RFC 6901) into a document.
fn pointer<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    optional(from, |text| {
        is_pointer(text)
            .then(|| text.to_owned())
            .ok_or("must be a JSON pointer, like /app_metadata/role")
    })
}

fn is_pointer(text: &str) -> bool {
    let mut escapes = text.split('~').skip(1);
    text.starts_with('/') && escapes.all(|rest| rest.starts_with(['0', '1']))
}

/// Reads an address in which the subject may be in the path or the query, but never decides who is asked.
fn lookup_url(text: &str, plain: &[String]) -> Result<String, &'static str> {
    let filled = |subject| text.replace(SUBJECT, subject);
    let (one, other) = (
        endpoint(&filled("a"), plain)?,
        endpoint(&filled("b"), plain)?,
    );
    if filled("").contains(['{', '}']) {
        return Err("may hold {subject}, and no other braces");
    }
    if one.origin() != other.origin() {
        return Err("may hold {subject} in its path or behind the ?, not in its host");
    }
    Ok(text.to_owned())
}
