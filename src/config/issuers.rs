//! Reads `[[auth.issuers]]`: an issuer of credentials, field by field.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use url::Url;

use super::fields::{pairs, secret};
use super::settings::Settings;
use super::{Issuer, KeySource, Lookup};
use crate::domain::written::{list, optional};
use crate::domain::{Algorithm, Family, algorithm, endpoint};

/// The name of the list.
pub(super) const LIST: &str = "auth.issuers";
/// RFC 7518 §3.2: a key of HS256 has at least as many bytes as its hash.
const SHORTEST_SECRET: usize = 32;
/// Where keys may come from.
const KEYS: [&str; 4] = [
    "jwks_url",
    "hmac_secret",
    "hmac_secret_file",
    "public_key_file",
];
/// What stands for the subject in the address of a look-up.
const SUBJECT: &str = "{subject}";

/// One table as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct IssuerTable {
    issuer: String,
    #[serde(deserialize_with = "texts")]
    audience: Vec<String>,
    #[serde(deserialize_with = "url")]
    jwks_url: Option<Url>,
    #[serde(deserialize_with = "secret")]
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
    #[serde(deserialize_with = "lookup_url")]
    lookup_url: Option<String>,
    #[serde(deserialize_with = "pairs")]
    lookup_headers: Vec<(String, String)>,
    #[serde(deserialize_with = "pointer")]
    lookup_role_pointer: Option<String>,
    #[serde(deserialize_with = "pointer")]
    lookup_name_pointer: Option<String>,
}

/// True when credentials must say that they are meant for us: in `aud`, in `azp`, or, as Amazon Cognito's access tokens
/// do, in `client_id`.
pub(super) fn names_us(
    audience: &[String],
    parties: &[String],
    required: &[(String, String)],
) -> bool {
    let in_client_id = || required.iter().any(|(pointer, _)| pointer == "/client_id");
    !audience.is_empty() || !parties.is_empty() || in_client_id()
}

/// Checks the `number`th table. `None` when there are no keys to verify with.
pub(super) fn read(settings: &mut Settings, number: usize, table: IssuerTable) -> Option<Issuer> {
    let name = |field: &str| format!("{LIST}[{number}].{field}");
    settings.require(
        &[&name("issuer")],
        !table.issuer.is_empty(),
        "is required: what the credentials hold as iss, exactly",
    );
    settings.require(
        &[&name("audience")],
        names_us(
            &table.audience,
            &table.authorized_parties,
            &table.required_claims,
        ),
        "is required, unless authorized_parties or a /client_id among required_claims is given: \
         a credential that is meant for somebody else would do",
    );
    let all = ["required_claims", "refused_claims"];
    for (field, claims) in all
        .into_iter()
        .zip([&table.required_claims, &table.refused_claims])
    {
        for (at, value) in claims {
            let name = format!("{}.{at}", name(field));
            let message = "must be named by a JSON pointer, like \"/role\", and hold a text";
            settings.require(&[&name], is_pointer(at) && !value.is_empty(), message);
        }
    }
    let keys = keys(settings, &table, &name);
    let lookup = lookup(settings, &table, &name);
    Some(Issuer {
        algorithms: algorithms_of(settings, &table, &name),
        issuer: table.issuer.into(),
        audience: table.audience,
        authorized_parties: table.authorized_parties,
        azp_optional: table.azp_optional,
        keys: keys?,
        required_claims: table.required_claims,
        refused_claims: table.refused_claims,
        subject_pointer: table.subject_pointer,
        role_pointer: table.role_pointer,
        name_pointer: table.name_pointer,
        lookup,
    })
}

// --- keys and algorithms

/// The one source of keys that is given.
fn keys(
    settings: &mut Settings,
    table: &IssuerTable,
    name: &dyn Fn(&str) -> String,
) -> Option<KeySource> {
    let fields = KEYS.map(name);
    let pem = (!table.public_key_file.is_empty()).then_some(&table.public_key_file);
    let given = [
        table.jwks_url.is_some(),
        table.hmac_secret.is_some(),
        pem.is_some(),
    ];
    settings.require(
        &fields.each_ref().map(String::as_str),
        given.into_iter().filter(|is_given| *is_given).count() == 1,
        "tells where the keys are, and so do hmac_secret, hmac_secret_file and public_key_file: exactly one of them is required",
    );
    if let Some(path) = pem {
        return public_keys(settings, &fields[3], path).map(KeySource::Pem);
    }
    require_long(settings, &fields[1], table.hmac_secret.as_ref());
    let secret = table.hmac_secret.clone().map(KeySource::Hmac);
    secret.or_else(|| table.jwks_url.clone().map(KeySource::Jwks))
}

/// Complains of a `secret` shared with an issuer that could be guessed.
pub(super) fn require_long(settings: &mut Settings, name: &str, secret: Option<&SecretString>) {
    let is_long = |secret: &SecretString| secret.expose_secret().len() >= SHORTEST_SECRET;
    let message = "must be at least 32 bytes long (RFC 7518, 3.2): a shorter one can be guessed";
    settings.require(&[name], secret.is_none_or(is_long), message);
}

fn public_keys(settings: &mut Settings, name: &str, path: &str) -> Option<String> {
    let read = settings.read;
    let held = read(Path::new(path));
    let held = held.map_err(|error| format!("names a file that cannot be read: {}", error.kind()));
    let checked = held.and_then(|held| {
        if held.contains("PRIVATE KEY-----") {
            return Err("names a file with a private key: it belongs to the issuer alone; give the public one".into());
        }
        let is_public = held.contains("PUBLIC KEY-----") && held.contains("-----BEGIN ");
        let wrong = "names a file without a public key in PEM form";
        is_public.then_some(held).ok_or_else(|| wrong.to_owned())
    });
    checked
        .map_err(|message| settings.complain(name, message))
        .ok()
}

fn algorithms_of(
    settings: &mut Settings,
    table: &IssuerTable,
    name: &dyn Fn(&str) -> String,
) -> Vec<Algorithm> {
    // What is wrong with the keys is complained of already, and then nobody knows of which kind they are.
    let names = [&["algorithms"], &KEYS[..]].concat();
    let names: Vec<_> = names.into_iter().map(name).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let is_secret = table.hmac_secret.is_some();
    let Some(first) = table.algorithms.first() else {
        let message = "is required: what the issuer signs with, like [\"ES256\"] or [\"RS256\"]";
        settings.require(&names, is_secret, message);
        return vec![Algorithm::HS256];
    };
    let family = first.family();
    let is_alike = |other: &Algorithm| other.family() == family;
    settings.require(
        &names[..1],
        table.algorithms.iter().all(is_alike),
        "must be of one family (HS…, RS… and PS…, ES…, or EdDSA): write a table for each",
    );
    settings.require(
        &names,
        (family == Family::Hmac) == is_secret,
        "must be HS… with a secret, and anything else with public keys: \
         otherwise whoever reads a public key could sign with it",
    );
    table.algorithms.clone()
}

// --- what else is asked for

fn lookup(
    settings: &mut Settings,
    table: &IssuerTable,
    name: &dyn Fn(&str) -> String,
) -> Option<Lookup> {
    let (role, person) = (&table.lookup_role_pointer, &table.lookup_name_pointer);
    let asks = role.is_some() || person.is_some() || !table.lookup_headers.is_empty();
    let at = name("lookup_url");
    settings.require(
        &[&at],
        table.lookup_url.is_some() || !asks,
        "is required with lookup_headers, lookup_role_pointer and lookup_name_pointer",
    );
    let lookup = Lookup {
        url: table.lookup_url.clone()?,
        headers: headers(settings, table, &name("lookup_headers")),
        role_pointer: role.clone().or_else(|| table.role_pointer.clone()),
        name_pointer: person.clone().or_else(|| table.name_pointer.clone()),
    };
    settings.require(
        &[&at],
        lookup.role_pointer.is_some() || lookup.name_pointer.is_some(),
        "is asked for nothing: give lookup_role_pointer or lookup_name_pointer",
    );
    Some(lookup)
}

fn headers(
    settings: &mut Settings,
    table: &IssuerTable,
    name: &str,
) -> Vec<(String, SecretString)> {
    /// Headers that we send ourselves, and headers that belong to the connection.
    const OURS: [&str; 7] = [
        "authorization",
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "accept",
        "te",
    ];
    let mut headers = Vec::new();
    for (header, line) in &table.lookup_headers {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let lower = header.to_ascii_lowercase();
        let is_name =
            !header.is_empty() && header.bytes().all(is_plain) && !OURS.contains(&lower.as_str());
        let is_line = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        settings.require(
            &[&format!("{name}.{header}")],
            is_name && !line.is_empty() && line.bytes().all(is_line),
            "must be a header of its own (not Authorization, which is the caller's) with a value on one line",
        );
        headers.push((lower, line.as_str().into()));
    }
    headers
}

// --- how fields are written

fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    list(from, |text| match text {
        "" => Err("must not be empty"),
        text => Ok(text.to_owned()),
    })
}

fn algorithms<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Algorithm>, D::Error> {
    list(from, algorithm)
}

fn url<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Url>, D::Error> {
    optional(from, endpoint)
}

/// Reads a JSON pointer (RFC 6901) to something inside a document.
fn pointer<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    optional(from, |text| {
        is_pointer(text)
            .then(|| text.to_owned())
            .ok_or("must be a JSON pointer, like /app_metadata/role")
    })
}

fn is_pointer(text: &str) -> bool {
    let mut escapes = text.split('~').skip(1);
    text.starts_with('/') && escapes.all(|rest| rest.starts_with('0') || rest.starts_with('1'))
}

fn lookup_url<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    optional(from, with_subject)
}

/// Reads an address in which only what is asked for depends on the subject, not who is asked.
fn with_subject(text: &str) -> Result<String, &'static str> {
    let filled = |subject| text.replace(SUBJECT, subject);
    let (one, other) = (endpoint(&filled("a"))?, endpoint(&filled("b"))?);
    if filled("").contains(['{', '}']) {
        return Err("may hold {subject}, and no other braces");
    }
    let is_same = one.origin() == other.origin();
    is_same
        .then(|| text.to_owned())
        .ok_or("may hold {subject} in its path or behind the ?, not in its host")
}
