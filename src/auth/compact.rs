//! Parses the compact form of a JSON Web Token (RFC 7515 §7.1), before its signature is verified.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::Value;

use super::AuthError::{Forged, Rejected};
use super::{AuthError, json, require};
use crate::domain::{self, Algorithm};

/// Longest key id, in bytes.
const MAX_KID_LENGTH: usize = 128;
const MALFORMED: AuthError = Rejected("the token is not a well-formed JSON Web Token");

/// A parsed token. Nothing in it can be trusted before its signature is verified.
#[derive(Debug)]
pub(super) struct Compact<'a> {
    /// Header and claims as they were sent: the text that the signature covers.
    signed: &'a str,
    signature: &'a str,
    /// Signature algorithm by the header; `None` for one that no issuer may use here.
    pub(super) algorithm: Option<Algorithm>,
    /// Key id by the header. Compared with the ids of known keys, never used as an address.
    pub(super) kid: Option<Box<str>>,
    /// JSON object of claims.
    pub(super) claims: Value,
}

impl<'a> Compact<'a> {
    /// Parses `text`. Never reads header members that name or carry keys (`jku`, `jwk`, `x5u`,
    /// `x5c`; RFC 8725 §3.10).
    pub(super) fn read(text: &'a str) -> Result<Self, AuthError> {
        let (header, claims, signature) = parts(text)?;
        let signed = &text[..header.len() + 1 + claims.len()];
        let header = object(header)?;
        let is_plain = header.get("crit").is_none();
        require(
            is_plain,
            "the token requires extensions that are not supported (crit)",
        )?;
        let is_encoded = header
            .get("b64")
            .is_none_or(|b64| *b64 == Value::Bool(true));
        require(is_encoded, "the token's claims are not encoded (b64)")?;
        let name = text_of(&header, "alg")?.ok_or(MALFORMED)?;
        if name.eq_ignore_ascii_case("none") {
            return Err(Forged("the token has no signature (alg: none)"));
        }
        let is_known =
            |typ: &str| typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt");
        // Identity and access tokens only (RFC 8725 §3.11, RFC 9068 §2.1): a logout token or a
        // security event identifies nobody.
        require(
            text_of(&header, "typ")?.is_none_or(is_known),
            "the token is neither an identity token nor an access token (typ)",
        )?;
        let kid = text_of(&header, "kid")?;
        require(
            kid.is_none_or(is_key_name),
            "the token's key id (kid) holds unusual characters or is too long",
        )?;
        Ok(Self {
            signed,
            signature,
            algorithm: domain::algorithm(name).ok(),
            kid: kid.map(Into::into),
            claims: object(claims)?,
        })
    }

    /// Returns whether the signature verifies under `key` with `algorithm`.
    pub(super) fn is_signed_by(
        &self,
        key: &DecodingKey,
        algorithm: Algorithm,
    ) -> Result<bool, AuthError> {
        jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), key, algorithm)
            .map_err(|_| MALFORMED)
    }
}

/// Splits a token into header, claims and signature.
fn parts(text: &str) -> Result<(&str, &str, &str), AuthError> {
    let parts: Vec<_> = text.splitn(6, '.').collect();
    match parts[..] {
        [header, claims, signature] => Ok((header, claims, signature)),
        // RFC 7516 §7.1. Auth0 and others send one when the client asks for no API.
        [_, _, _, _, _] => Err(Rejected("encrypted token: request your API's audience")),
        [_] => Err(Rejected(
            "opaque token, not a JSON Web Token: request your API's audience",
        )),
        _ => Err(MALFORMED),
    }
}

fn object(part: &str) -> Result<Value, AuthError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED)?;
    json::object(&bytes).ok_or(MALFORMED)
}

fn text_of<'a>(header: &'a Value, name: &str) -> Result<Option<&'a str>, AuthError> {
    let member = header.get(name);
    member
        .map(|value| value.as_str().ok_or(MALFORMED))
        .transpose()
}

/// Returns whether `kid` is a key id as issuers write it: characters of base64, URLs, hexadecimal and
/// names.
pub(super) fn is_key_name(kid: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/+=@".contains(&byte);
    (1..=MAX_KID_LENGTH).contains(&kid.len()) && kid.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str, claims: &str, rest: &str) -> Result<(), AuthError> {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let text = format!("{}.{}{rest}", encode(header), encode(claims));
        Compact::read(&text).map(|_| ())
    }

    #[test]
    fn only_alg_none_is_forged_and_every_other_bad_header_is_rejected() {
        let forged = |result| matches!(result, Err(Forged(_)));
        let rejected = |result| matches!(result, Err(Rejected(_)));
        let good =
            r#"{"alg":"ES256","kid":"a/b+c=","typ":"JWT","jku":"http://evil.example","x5c":7}"#;
        assert_eq!(read(good, "{}", ".AA"), Ok(()));
        for alg in ["none", "None", "NONE", "noNE"] {
            let header = format!(r#"{{"alg":"{alg}"}}"#);
            assert!(forged(read(&header, "{}", ".")), "{alg}");
        }
        for header in [
            r#"{"alg":"ES256","crit":["exp"]}"#,
            r#"{"alg":"ES256","crit":null}"#,
            r#"{"alg":"ES256","crit":[]}"#,
            r#"{"alg":"ES256","b64":false}"#,
            r#"{"alg":"ES256","kid":"' OR 1=1 --"}"#,
            r#"{"alg":"ES256","kid":"a\u0000b"}"#,
            r#"{"alg":"ES256","kid":""}"#,
            &format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "a".repeat(129)),
            "{}",
            "[]",
            "",
            r#"{"alg":256}"#,
            r#"{"alg":null}"#,
            r#"{"alg":["ES256"]}"#,
            r#"{"alg":"ES256","alg":"ES256"}"#,
            r#"{"alg":"ES256","kid":7}"#,
            r#"{"alg":"ES256","typ":{}}"#,
        ] {
            assert!(rejected(read(header, "{}", ".AA")), "{header}");
        }
        for claims in ["", "[]", "7", r#"{"iss":"a","iss":"b"}"#] {
            let outcome = read(r#"{"alg":"ES256"}"#, claims, ".AA");
            assert!(rejected(outcome), "{claims}");
        }
        for rest in ["", ".AA.", ".AA.AA", ".AA.AA.AA", ".AA.AA.AA.AA"] {
            assert!(rejected(read(r#"{"alg":"ES256"}"#, "{}", rest)), "{rest}");
        }
        for text in [
            "",
            ".",
            "..",
            "...",
            "a",
            "a.b",
            "a.b.c",
            "e30.e30=.AA",
            "e31.e30.AA",
        ] {
            assert!(rejected(Compact::read(text).map(|_| ())), "{text}");
        }
    }

    #[test]
    fn encrypted_and_opaque_tokens_have_a_reason_that_names_the_cure() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"dir","enc":"A256GCM"}"#);
        for (text, kind) in [
            (format!("{header}..aXY.Y2lwaGVy.dGFn"), "encrypted"),
            (format!("{header}.a2V5.aXY.Y2lwaGVy.dGFn"), "encrypted"),
            ("opaque-access-token".to_owned(), "opaque"),
        ] {
            let Err(Rejected(reason)) = Compact::read(&text).map(|_| ()) else {
                panic!("{text}");
            };
            let names_cure = reason.contains("request your API's audience");
            assert!(reason.starts_with(kind) && names_cure, "{reason}");
        }
    }

    #[test]
    fn only_types_of_identity_and_access_tokens_are_accepted() {
        let known = |typ: &str| {
            let header = format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#);
            read(&header, "{}", ".AA").is_ok()
        };
        for typ in ["JWT", "jwt", "at+jwt", "AT+JWT"] {
            assert!(known(typ), "{typ}");
        }
        for typ in ["", "JWE", "logout+jwt", "dpop+jwt", "secevent+jwt", "JWT "] {
            assert!(!known(typ), "{typ}");
        }
    }
}
