//! Reads the bearer token that a caller shows.

use aws_lc_rs::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};

use super::AuthError::{self, Rejected};
use super::require;

/// Longest token that is read, in bytes. Tokens with many roles or groups outgrow 8 KiB.
const MAX_LENGTH: usize = 16 * 1024;

/// What a caller shows: a JSON Web Token in its compact form. Hides itself.
#[derive(Clone, Debug)]
pub struct Credential(SecretString);

impl Credential {
    /// Reads the value of a request's only `Authorization` header.
    pub fn parse(line: &[u8]) -> Result<Self, AuthError> {
        let token =
            bearer(line).ok_or(Rejected("the Authorization header holds no bearer token"))?;
        let placeholders = ["undefined", "null", "false", "NaN", "[object Object]"];
        require(
            !placeholders.contains(&token),
            "the client sent a placeholder (undefined, null) instead of a token: nobody is signed in",
        )?;
        require(
            token.len() <= MAX_LENGTH,
            "the token is longer than 16 KiB: reduce the claims that the issuer puts into it",
        )?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        require(
            token.bytes().all(is_plain),
            "the token holds characters that no JSON Web Token has",
        )?;
        Ok(Self(token.into()))
    }

    /// Returns the token itself, for those who verify it.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the hash under which the token is remembered.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hash = Fingerprint::default();
        hash.copy_from_slice(digest(&SHA256, self.expose().as_bytes()).as_ref());
        hash
    }
}

/// The SHA-256 hash of a token. A copy of the memory holds no token that could be replayed.
pub(super) type Fingerprint = [u8; 32];

/// Returns the token of an `Authorization` header (RFC 6750 §2.1): the scheme in any case, blanks,
/// then the token. Returns `None` for another scheme and for an empty token.
pub fn bearer(line: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(line).ok()?.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_read_in_any_case_and_with_blanks_around_it() {
        for line in [
            "Bearer a.b.c",
            "bearer a.b.c",
            "BEARER   a.b.c ",
            " Bearer a.b.c",
        ] {
            assert_eq!(bearer(line.as_bytes()), Some("a.b.c"), "{line:?}");
        }
        for line in [
            "",
            "Bearer",
            "Bearer ",
            "Basic a.b.c",
            "a.b.c",
            "Bearera.b.c",
        ] {
            assert_eq!(bearer(line.as_bytes()), None, "{line:?}");
        }
        assert_eq!(bearer(b"Bearer \xff"), None);
    }

    #[test]
    fn f17_f19_each_unusable_token_has_its_own_reason_and_none_is_forged() {
        let long = "a".repeat(MAX_LENGTH + 1);
        for (token, reason) in [
            ("undefined", "placeholder"),
            ("null", "placeholder"),
            ("[object Object]", "placeholder"),
            ("", "no bearer token"),
            (&*long, "longer than 16 KiB"),
            ("a b", "characters"),
            ("é.e.e", "characters"),
        ] {
            let outcome = Credential::parse(format!("Bearer {token}").as_bytes());
            let Err(Rejected(said)) = outcome else {
                panic!("{outcome:?}");
            };
            assert!(said.contains(reason), "{said}");
        }
        assert!(Credential::parse(format!("Bearer {}", &long[1..]).as_bytes()).is_ok());
    }
}
