//! Owns the compact form of a JSON Web Token (RFC 7515 §7.1): what may stand in it before anybody believes it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::Value;

use super::{AuthError, algorithm, json};
use crate::config::Algorithm;

/// Most characters of a key's name.
const LONGEST_KID: usize = 128;

/// A credential taken apart. Nothing in it is true before its signature is.
#[derive(Debug)]
pub(super) struct Compact<'a> {
    /// Header and claims as they stand there: what is signed.
    signed: &'a str,
    signature: &'a str,
    /// What it says it is signed with; `None` for algorithms that nobody may use here.
    pub(super) algorithm: Option<Algorithm>,
    /// Which key it says it is signed with: a name in a map, never a place to look at.
    pub(super) kid: Option<Box<str>>,
    typ: Option<String>,
    /// An object.
    pub(super) claims: Value,
}

impl<'a> Compact<'a> {
    /// Takes `text` apart. Members that name or bring keys (`jku`, `jwk`, `x5u`, `x5c`) are not read (RFC 8725 §3.10).
    pub(super) fn read(text: &'a str) -> Result<Self, AuthError> {
        let (signed, signature) = text.rsplit_once('.').ok_or(AuthError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(AuthError::Malformed)?;
        if claims.contains('.') {
            return Err(AuthError::Malformed);
        }
        let header = part(header)?;
        if header.get("crit").is_some() {
            return Err(AuthError::Forged(
                "it wants extensions that nobody asked for",
            ));
        }
        if header
            .get("b64")
            .is_some_and(|b64| *b64 != Value::Bool(true))
        {
            return Err(AuthError::Forged("it says that its claims are not encoded"));
        }
        let name = text_of(&header, "alg")?.ok_or(AuthError::Malformed)?;
        if name.eq_ignore_ascii_case("none") {
            return Err(AuthError::Forged("it says that it needs no signature"));
        }
        Ok(Self {
            signed,
            signature,
            algorithm: algorithm::named(name),
            kid: text_of(&header, "kid")?.map(key_name).transpose()?,
            typ: text_of(&header, "typ")?.map(str::to_owned),
            claims: part(claims)?,
        })
    }

    /// Whether it is of a kind that stands for somebody: an identity or access token (RFC 8725 §3.11, RFC 9068 §2.1).
    pub(super) fn is_of_known_type(&self) -> bool {
        let known = |typ: &String| {
            ["JWT", "at+jwt"]
                .iter()
                .any(|known| typ.eq_ignore_ascii_case(known))
        };
        self.typ.as_ref().is_none_or(known)
    }

    /// Whether `key` made its signature, with `algorithm` and no other.
    pub(super) fn is_signed_by(
        &self,
        key: &DecodingKey,
        algorithm: Algorithm,
    ) -> Result<bool, AuthError> {
        let (algorithm, signed) = (algorithm::library(algorithm), self.signed.as_bytes());
        jsonwebtoken::crypto::verify(self.signature, signed, key, algorithm)
            .map_err(|_| AuthError::Malformed)
    }
}

fn part(text: &str) -> Result<Value, AuthError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| AuthError::Malformed)?;
    json::object(&bytes).ok_or(AuthError::Malformed)
}

fn text_of<'a>(header: &'a Value, name: &str) -> Result<Option<&'a str>, AuthError> {
    let member = header.get(name);
    member
        .map(|value| value.as_str().ok_or(AuthError::Malformed))
        .transpose()
}

/// `kid` as issuers write it: what base64, URLs, hexadecimal and names are made of.
fn key_name(kid: &str) -> Result<Box<str>, AuthError> {
    is_key_name(kid)
        .then(|| kid.into())
        .ok_or(AuthError::Forged("the name of its key is not a name"))
}

/// Whether keys may be called so.
pub(super) fn is_key_name(kid: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/+=@".contains(&byte);
    (1..=LONGEST_KID).contains(&kid.len()) && kid.bytes().all(fits)
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
    fn headers_are_read_strictly() {
        let forged = |result| matches!(result, Err(AuthError::Forged(_)));
        let malformed = |result| result == Err(AuthError::Malformed);
        let good =
            r#"{"alg":"ES256","kid":"a/b+c=","typ":"JWT","jku":"http://evil.example","x5c":7}"#;
        assert_eq!(read(good, "{}", ".AA"), Ok(()));
        for alg in ["none", "None", "NONE", "noNE"] {
            assert!(
                forged(read(&format!(r#"{{"alg":"{alg}"}}"#), "{}", ".")),
                "{alg}"
            );
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
        ] {
            assert!(forged(read(header, "{}", ".AA")), "{header}");
        }
        for header in [
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
            assert!(malformed(read(header, "{}", ".AA")), "{header}");
        }
        for claims in ["", "[]", "7", r#"{"iss":"a","iss":"b"}"#] {
            assert!(
                malformed(read(r#"{"alg":"ES256"}"#, claims, ".AA")),
                "{claims}"
            );
        }
        for rest in ["", ".AA.", ".AA.AA", ".AA.AA.AA", ".AA.AA.AA.AA"] {
            assert!(malformed(read(r#"{"alg":"ES256"}"#, "{}", rest)), "{rest}");
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
            assert!(malformed(Compact::read(text).map(|_| ())), "{text}");
        }
    }

    #[test]
    fn types_are_those_of_tokens_that_stand_for_somebody() {
        let known = |header: &str| {
            let text = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
            Compact::read(&text).unwrap().is_of_known_type()
        };
        for typ in ["JWT", "jwt", "at+jwt", "AT+JWT"] {
            assert!(
                known(&format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#)),
                "{typ}"
            );
        }
        assert!(known(r#"{"alg":"ES256"}"#));
        for typ in ["", "JWE", "logout+jwt", "dpop+jwt", "secevent+jwt", "JWT "] {
            assert!(
                !known(&format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#)),
                "{typ}"
            );
        }
    }
}
