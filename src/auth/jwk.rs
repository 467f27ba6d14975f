//! Reads documents of public keys (JWKS, RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::compact::is_key_name;
use super::json;
use super::keys::Key;
use crate::domain::{Algorithm, algorithm};

/// Most keys of one document that are used. The first ones count. Issuers publish two to twenty.
const MOST_KEYS: usize = 32;

/// Returns the keys of `document` that may verify one of `allowed`; `None` when it is no JWKS.
/// Skips unusable keys: issuers also publish keys for other purposes.
pub(super) fn read(document: &[u8], allowed: &[Algorithm]) -> Option<Vec<Key>> {
    let document = json::object(document)?;
    let keys = document["keys"].as_array()?.iter();
    let mut usable = keys.filter_map(|key| usable(key, allowed));
    let used = usable.by_ref().take(MOST_KEYS).collect();
    if usable.next().is_some() {
        tracing::warn!(
            most = MOST_KEYS,
            "an issuer publishes more keys than the broker uses: tokens that were signed with the others are refused"
        );
    }
    Some(used)
}

fn usable(jwk: &Value, allowed: &[Algorithm]) -> Option<Key> {
    let member = |name| Some(&jwk[name]).filter(|value: &&Value| !value.is_null());
    let is_to_sign = member("use").is_none_or(|usage| usage == "sig");
    let verifies = |names: &Vec<Value>| names.iter().any(|name| name == "verify");
    let is_to_verify = member("key_ops").is_none_or(|names| names.as_array().is_some_and(verifies));
    // Anybody could sign with a key whose private half (`d`) is published.
    if !is_to_sign || !is_to_verify || member("d").is_some() {
        return None;
    }
    let own = match member("alg") {
        Some(name) => Some(algorithm(name.as_str()?).ok()?),
        None => None,
    };
    let kid = match member("kid") {
        Some(kid) => Some(kid.as_str().filter(|kid| is_key_name(kid))?.into()),
        None => None,
    };
    let may_use = |one: &Algorithm| allowed.contains(one) && own.is_none_or(|own| own == *one);
    public(jwk)?.named(kid).limited(may_use)
}

/// Returns the public key of a JWK. Never a shared secret (`oct`): anybody can read the document. Does
/// not read certificates and their addresses (`x5c`, `x5u`).
fn public(jwk: &Value) -> Option<Key> {
    let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str()?).ok();
    match (jwk["kty"].as_str()?, jwk["crv"].as_str()) {
        ("RSA", _) => Key::rsa(&number("n")?, &number("e")?),
        ("EC", Some(curve @ ("P-256" | "P-384"))) => {
            let size = if curve == "P-256" { 32 } else { 48 };
            let (x, y) = (number("x")?, number("y")?);
            let is_point = x.len() == size && y.len() == size;
            is_point.then(|| Key::point(&[&[4], x.as_slice(), &y].concat()))?
        }
        ("OKP", Some("Ed25519")) => Key::ed(&number("x")?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_that_the_parser_would_unfold_is_no_document_of_keys() {
        let keys = json!({ "keys": [] }).to_string();
        let allowed = [algorithm("RS256").unwrap()];
        assert!(read(keys.as_bytes(), &allowed).is_some());
        let hidden = json!({ "$serde_json::private::RawValue": keys }).to_string();
        assert!(read(hidden.as_bytes(), &allowed).is_none());
        assert!(read(br#"{"keys":[],"keys":[]}"#, &allowed).is_none());
    }
}
