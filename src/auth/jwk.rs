//! Reads documents of public keys (JWKS, RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::compact::is_key_name;
use super::keys::{Key, KeySet, Material};
use crate::domain::{Algorithm, algorithm};

/// Most keys of one document that are used. The first ones count.
const MOST_KEYS: usize = 32;

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// A key as it is published. Certificates and their addresses (`x5c`, `x5u`) are not read.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<Box<str>>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// The private half, which no issuer should publish.
    d: Option<Value>,
}

/// Returns the keys of `document` that may verify one of `allowed`; `None` when it is no JWKS.
/// Skips unusable keys: issuers also publish keys for other purposes.
pub(super) fn read(document: &[u8], allowed: &[Algorithm]) -> Option<KeySet> {
    let document: Document = serde_json::from_slice(document).ok()?;
    let usable = document.keys.into_iter().filter_map(|key| {
        let key = serde_json::from_value(key).ok()?;
        usable(&key, allowed)
    });
    Some(KeySet::of(usable.take(MOST_KEYS).collect()))
}

fn usable(key: &Jwk, allowed: &[Algorithm]) -> Option<Key> {
    let is_to_sign = key.usage.as_ref().is_none_or(|usage| usage == "sig");
    let verifies = |operations: &Vec<String>| operations.iter().any(|one| one == "verify");
    let is_to_verify = key.key_ops.as_ref().is_none_or(verifies);
    let is_named = key.kid.as_ref().is_none_or(|kid| is_key_name(kid));
    // Anybody could sign with a key whose private half is published.
    if !is_to_sign || !is_to_verify || !is_named || key.d.is_some() {
        return None;
    }
    let material = material(key)?;
    let kid = key.kid.clone();
    let Some(own) = &key.alg else {
        return material.key(kid, allowed);
    };
    let own = algorithm(own).ok()?;
    allowed.contains(&own).then(|| material.key(kid, &[own]))?
}

/// Returns the public key of a JWK. Never a shared secret (`oct`): anybody can read the document.
fn material(key: &Jwk) -> Option<Material> {
    let number = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
    match (key.kty.as_str(), key.crv.as_deref()) {
        ("RSA", _) => Material::rsa(&number(&key.n)?, &number(&key.e)?),
        ("EC", Some(curve @ ("P-256" | "P-384"))) => {
            let size = if curve == "P-256" { 32 } else { 48 };
            let (x, y) = (number(&key.x)?, number(&key.y)?);
            if x.len() != size || y.len() != size {
                return None;
            }
            Material::point(&[&[4], x.as_slice(), &y].concat())
        }
        ("OKP", Some("Ed25519")) => Material::ed(&number(&key.x)?),
        _ => None,
    }
}
