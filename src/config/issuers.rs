//! Owns how `[[auth.issuers]]` is read: somebody who issues credentials, field by field.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::settings::Settings;
use super::tables::Table;
use super::upstream::is_loopback;
use super::{Algorithm, Issuer, KeySource, Lookup};

/// The list.
pub(super) const LIST: &str = "auth.issuers";
/// RFC 7518 §3.2: a key of HS256 has at least as many bytes as its hash.
const SHORTEST_SECRET: usize = 32;
/// Where keys may come from.
const SOURCES: [&str; 4] = [
    "jwks_url",
    "hmac_secret",
    "hmac_secret_file",
    "public_key_file",
];
/// What stands for the subject in the address of a look-up.
const SUBJECT: &str = "{subject}";

/// Kinds of key, of which an issuer has one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Secret,
    Rsa,
    Ec,
    Ed,
}

const ALGORITHMS: &[(&str, Algorithm, Family)] = &[
    ("HS256", Algorithm::Hs256, Family::Secret),
    ("HS384", Algorithm::Hs384, Family::Secret),
    ("HS512", Algorithm::Hs512, Family::Secret),
    ("RS256", Algorithm::Rs256, Family::Rsa),
    ("RS384", Algorithm::Rs384, Family::Rsa),
    ("RS512", Algorithm::Rs512, Family::Rsa),
    ("PS256", Algorithm::Ps256, Family::Rsa),
    ("PS384", Algorithm::Ps384, Family::Rsa),
    ("PS512", Algorithm::Ps512, Family::Rsa),
    ("ES256", Algorithm::Es256, Family::Ec),
    ("ES384", Algorithm::Es384, Family::Ec),
    ("EdDSA", Algorithm::EdDsa, Family::Ed),
];

/// Whether credentials must say that they are meant for us: in `aud`, in `azp`, or, as Amazon Cognito's access tokens do,
/// in `client_id`.
pub(crate) fn names_us(
    audience: &[String],
    parties: &[String],
    required: &[(String, String)],
) -> bool {
    let in_client_id = || required.iter().any(|(pointer, _)| pointer == "/client_id");
    !audience.is_empty() || !parties.is_empty() || in_client_id()
}

/// Reads one table; `None` when something is missing without which there is no issuer.
pub(super) fn read(settings: &mut Settings, table: &Table) -> Option<Issuer> {
    let name = table.field("issuer");
    let issuer = settings.text(&name);
    let message = "is required: what the credentials hold as iss, exactly";
    settings.require(&[&name], !issuer.is_empty(), message);
    let audience = texts(settings, &table.field("audience"));
    let authorized_parties = texts(settings, &table.field("authorized_parties"));
    let keys = keys(settings, table);
    let algorithms = algorithms(settings, table);
    let role_pointer = settings.optional(&table.field("role_pointer"), pointer);
    let name_pointer = settings.optional(&table.field("name_pointer"), pointer);
    let required_claims = pairs(settings, table, "required_claims");
    let refused_claims = pairs(settings, table, "refused_claims");
    settings.require(
        &[&table.field("audience")],
        names_us(&audience, &authorized_parties, &required_claims),
        "is required, unless authorized_parties or a /client_id among required_claims is given: \
         a credential that is meant for somebody else would do",
    );
    let mut lookup = lookup(settings, table);
    if let Some(lookup) = &mut lookup {
        let (role, name) = (&role_pointer, &name_pointer);
        lookup.role_pointer = lookup.role_pointer.take().or_else(|| role.clone());
        lookup.name_pointer = lookup.name_pointer.take().or_else(|| name.clone());
        settings.require(
            &[&table.field("lookup_url")],
            lookup.role_pointer.is_some() || lookup.name_pointer.is_some(),
            "is asked for nothing: give lookup_role_pointer or lookup_name_pointer",
        );
    }
    Some(Issuer {
        issuer: issuer.into(),
        audience,
        authorized_parties,
        keys: keys?,
        algorithms,
        required_claims,
        refused_claims,
        role_pointer,
        name_pointer,
        lookup,
    })
}

fn texts(settings: &mut Settings, name: &str) -> Vec<String> {
    settings.list(name, |text| match text.trim() {
        "" => Err("must not be empty"),
        text => Ok(text.to_owned()),
    })
}

// --- keys and algorithms

/// The one source of keys that is given.
fn keys(settings: &mut Settings, table: &Table) -> Option<KeySource> {
    let given = SOURCES.map(|source| !settings.text(&table.field(source)).is_empty());
    let jwks = table.field("jwks_url");
    match given {
        [true, false, false, false] => settings.parsed(&jwks, endpoint).map(KeySource::Jwks),
        [false, _, _, false] if given.contains(&true) => {
            hmac_secret(settings, &table.field("hmac_secret")).map(KeySource::Hmac)
        }
        [false, false, false, true] => public_keys(settings, &table.field("public_key_file")),
        _ => {
            let all = SOURCES.map(|source| table.field(source));
            let message = "tells where the keys are, and so do hmac_secret, hmac_secret_file and public_key_file: exactly one of them is required";
            settings.require(&all.each_ref().map(String::as_str), false, message);
            None
        }
    }
}

/// A secret that may be shared with an issuer.
pub(super) fn hmac_secret(settings: &mut Settings, name: &str) -> Option<SecretString> {
    let secret = settings.secret(name)?;
    let is_long = secret.expose_secret().len() >= SHORTEST_SECRET;
    let message = "must be at least 32 bytes long (RFC 7518, 3.2): a shorter one can be guessed";
    settings.require(&[name], is_long, message);
    is_long.then_some(secret)
}

fn public_keys(settings: &mut Settings, name: &str) -> Option<KeySource> {
    let read = settings.read;
    let pem = settings.parsed(name, |text| {
        let held = read(Path::new(text))
            .map_err(|error| format!("names a file that cannot be read: {}", error.kind()))?;
        if held.contains("PRIVATE KEY-----") {
            return Err("names a file with a private key: it belongs to the issuer alone; give the public one".into());
        }
        let is_public = held.contains("PUBLIC KEY-----") && held.contains("-----BEGIN ");
        is_public
            .then_some(held)
            .ok_or_else(|| "names a file without a public key in PEM form".to_owned())
    });
    pem.map(KeySource::Pem)
}

fn algorithms(settings: &mut Settings, table: &Table) -> Vec<Algorithm> {
    let name = table.field("algorithms");
    let is_given = |source: &&&str| !settings.text(&table.field(source)).is_empty();
    let source = SOURCES.iter().find(is_given);
    let is_secret = source.is_some_and(|source| source.starts_with("hmac_secret"));
    let given = settings.list(&name, |text| {
        let known = ALGORITHMS.iter().find(|(known, ..)| *known == text);
        let names: Vec<_> = ALGORITHMS.iter().map(|(known, ..)| *known).collect();
        known.ok_or_else(|| format!("must be one of {}", names.join(", ")))
    });
    if given.is_empty() && is_secret {
        return vec![Algorithm::Hs256];
    }
    let is_given = !given.is_empty();
    let message = "is required: what the issuer signs with, like [\"ES256\"] or [\"RS256\"]";
    settings.require(&[&name], is_given, message);
    let families: Vec<_> = given.iter().map(|(.., family)| *family).collect();
    settings.require(
        &[&name],
        families.windows(2).all(|pair| pair[0] == pair[1]),
        "must be of one family (HS…, RS… and PS…, ES…, or EdDSA): write a table for each",
    );
    if let (Some(_), Some(first)) = (source, families.first()) {
        settings.require(
            &[&name],
            (*first == Family::Secret) == is_secret,
            "must be HS… with a secret, and anything else with public keys: \
             otherwise whoever reads a public key could sign with it",
        );
    }
    given
        .into_iter()
        .map(|(_, algorithm, _)| *algorithm)
        .collect()
}

// --- where things are

/// An address that may be asked: https, or http on this machine.
pub(super) fn endpoint(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
        .ok_or("must be a whole address, like https://id.example.com/.well-known/jwks.json")?;
    if url.scheme() != "https" && !is_loopback(&url) {
        return Err(
            "must be https unless it is on this machine: whoever is on the way could answer in its place",
        );
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password");
    }
    if url.fragment().is_some() {
        return Err("must not hold a #");
    }
    if is_link_local(&url) {
        return Err("must not be a link-local address: clouds tell their own secrets there");
    }
    Ok(url)
}

fn is_link_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_link_local(),
        Some(Host::Ipv6(address)) => {
            let mapped = address.to_ipv4_mapped();
            address.is_unicast_link_local() || mapped.is_some_and(|v4| v4.is_link_local())
        }
        Some(Host::Domain(_)) | None => false,
    }
}

/// A JSON pointer (RFC 6901) to something inside a document.
pub(super) fn pointer(text: &str) -> Result<String, &'static str> {
    let mut escapes = text.split('~').skip(1);
    let is_pointer =
        text.starts_with('/') && escapes.all(|rest| rest.starts_with('0') || rest.starts_with('1'));
    is_pointer
        .then(|| text.to_owned())
        .ok_or("must be a JSON pointer, like /app_metadata/role")
}

// --- what else is asked for

fn pairs(settings: &mut Settings, table: &Table, field: &str) -> Vec<(String, String)> {
    let pairs = table.pairs(settings, field);
    for (at, name, value) in &pairs {
        let message = "must be named by a JSON pointer, like \"/role\", and hold a text";
        settings.require(&[name], pointer(at).is_ok() && !value.is_empty(), message);
    }
    pairs
        .into_iter()
        .map(|(at, _, value)| (at, value))
        .collect()
}

fn lookup(settings: &mut Settings, table: &Table) -> Option<Lookup> {
    let url = settings.optional(&table.field("lookup_url"), lookup_url);
    let role_pointer = settings.optional(&table.field("lookup_role_pointer"), pointer);
    let name_pointer = settings.optional(&table.field("lookup_name_pointer"), pointer);
    let headers = lookup_headers(settings, table);
    let asks = role_pointer.is_some() || name_pointer.is_some() || !headers.is_empty();
    settings.require(
        &[&table.field("lookup_url")],
        url.is_some() || !asks,
        "is required with lookup_headers, lookup_role_pointer and lookup_name_pointer",
    );
    Some(Lookup {
        url: url?,
        headers,
        role_pointer,
        name_pointer,
    })
}

/// Who is asked must not depend on the subject, only what.
fn lookup_url(text: &str) -> Result<String, &'static str> {
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

fn lookup_headers(settings: &mut Settings, table: &Table) -> Vec<(String, SecretString)> {
    /// Those that we send ourselves, and those that belong to the connection.
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
    for (header, name, value) in table.pairs(settings, "lookup_headers") {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let lower = header.to_ascii_lowercase();
        let is_name = header.bytes().all(is_plain) && !OURS.contains(&lower.as_str());
        let is_line = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        let is_value = !value.is_empty() && value.bytes().all(is_line);
        settings.require(
            &[&name],
            is_name && is_value,
            "must be a header of its own (not Authorization, which is the caller's) with a value on one line",
        );
        headers.push((lower, value.into()));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_on_the_way_can_answer_for_may_be_asked() {
        for good in [
            "https://id.example.com/jwks?x=1",
            "http://127.0.0.1:9/jwks",
            "http://[::1]/jwks",
            "http://localhost:9999/",
            "https://10.0.0.7/jwks",
        ] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "jwks",
            "ftp://id.example.com/",
            "http://id.example.com/",
            "http://10.0.0.7/",
            "https://user@id.example.com/",
            "https://:pass@id.example.com/",
            "https://id.example.com/#x",
            "https://169.254.169.254/latest/meta-data/",
            "https://[fe80::1]/",
            "https://[::ffff:169.254.169.254]/",
            "http://localhost.example.com/",
            "file:///etc/passwd",
        ] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pointer_begins_with_a_slash_and_escapes_what_rfc_6901_escapes() {
        for good in [
            "/role",
            "/",
            "/app_metadata/role",
            "/https:~1~1example.com~1role",
            "/a~0b",
        ] {
            assert_eq!(pointer(good), Ok(good.into()));
        }
        for bad in ["", "role", "$.role", "/a~", "/a~2"] {
            assert!(pointer(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_subject_never_decides_who_is_asked() {
        for good in [
            "https://id.example.com/userinfo",
            "https://p.example.com/rest/v1/profiles?id=eq.{subject}&select=role",
            "https://p.example.com/users/{subject}",
        ] {
            assert_eq!(lookup_url(good), Ok(good.into()));
        }
        for bad in [
            "https://{subject}.example.com/",
            "https://id.example.com{subject}/",
            "https://id.example.com:{subject}/",
            "https://id.example.com/{sub}",
            "https://{subject}@id.example.com/",
            "https://id.example.com/#{subject}",
            "{subject}",
        ] {
            assert!(lookup_url(bad).is_err(), "{bad}");
        }
    }
}
