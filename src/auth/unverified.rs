//! Finds the entries of the settings that may have signed a token, and verifies it by them.

use std::sync::Arc;

use jsonwebtoken::AlgorithmFamily;

use super::AuthError::{self, Rejected};
use super::claims;
use super::compact::Compact;
use super::credential::Credential;
use super::keys::KeySet;
use super::trust::Trust;
use crate::clock::Timestamp;
use crate::domain::Algorithm;

/// A token whose signature is not verified yet.
pub(super) struct Unverified<'a> {
    pub(super) token: Compact<'a>,
    algorithm: Algorithm,
    /// The first moment at which the token is no longer valid.
    pub(super) ends: Timestamp,
    /// Entries that may have signed the token. The first one's rules accept its claims.
    entries: Vec<Entry>,
}

/// An entry of the settings, and the subject of a token or why the entry's rules reject it.
type Entry = (Arc<Trust>, Result<Box<str>, AuthError>);

/// A token whose signature and claims were verified.
pub(super) struct Verified {
    /// The entry that verified it.
    pub(super) trust: Arc<Trust>,
    /// The keys by which it was verified.
    pub(super) keys: Arc<KeySet>,
    pub(super) subject: Box<str>,
}

impl<'a> Unverified<'a> {
    /// Parses a token and checks its times, issuer, algorithm, key id and claims. Rejects a token that
    /// none of `trusted` can have signed.
    pub(super) fn read(
        credential: &'a Credential,
        trusted: &[Arc<Trust>],
        now: Timestamp,
    ) -> Result<Self, AuthError> {
        let token = Compact::read(credential.expose())?;
        let ends = claims::end(&token.claims, now)?;
        let issuer = claims::issuer(&token.claims)?;
        let is_theirs = |trust: &&Arc<Trust>| *trust.rules.issuer == *issuer;
        let mut theirs = trusted.iter().filter(is_theirs).peekable();
        if theirs.peek().is_none() {
            return Err(Rejected("the token's issuer is not configured"));
        }
        let algorithm = token.algorithm.ok_or(WRONG_ALGORITHM)?;
        let (mut entries, mut refusals) = (Vec::new(), Vec::new());
        let fits = |trust: &&Arc<Trust>| trust.rules.algorithms.contains(&algorithm);
        for trust in theirs.filter(fits) {
            let subject = || claims::subject(&token.claims, &trust.rules);
            match trust.keys.screen(&token) {
                Ok(()) => entries.push((Arc::clone(trust), subject())),
                Err(refusal) => refusals.push(refusal),
            }
        }
        // The entries whose rules accept the claims come first.
        entries.sort_by_key(|(_, subject)| subject.is_err());
        match entries.first() {
            Some((_, Ok(_))) => Ok(Self {
                token,
                algorithm,
                ends,
                entries,
            }),
            Some((_, Err(refusal))) => Err(refusal.clone()),
            None => Err(most_telling(refusals).unwrap_or(match algorithm.family() {
                AlgorithmFamily::Hmac => NO_SECRET,
                _ => WRONG_ALGORITHM,
            })),
        }
    }

    /// Verifies the signature. A token that an entry with other rules signed is rejected by these rules,
    /// and not forged.
    pub(super) async fn verify(&self) -> Result<Verified, AuthError> {
        let mut refusals = Vec::new();
        for (trust, subject) in &self.entries {
            match trust.keys.verify(&self.token, self.algorithm).await {
                Ok(keys) => {
                    return Ok(Verified {
                        trust: Arc::clone(trust),
                        keys,
                        subject: subject.clone()?,
                    });
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        Err(most_telling(refusals).unwrap_or(WRONG_ALGORITHM))
    }
}

const WRONG_ALGORITHM: AuthError = Rejected("the token's algorithm is not one of its issuer's");
const NO_SECRET: AuthError = Rejected(
    "the token is signed with a shared secret, and its issuer is configured without one: set \
     auth.supabase_jwt_secret for a Supabase project with the legacy secret, or hmac_secret in \
     [[auth.issuers]]",
);

/// Returns the error of the entry that came closest to accepting the token.
fn most_telling(refusals: Vec<AuthError>) -> Option<AuthError> {
    refusals.into_iter().max_by_key(|refusal| match refusal {
        AuthError::Forged(_) => 1,
        AuthError::Rejected(_) => 2,
        AuthError::Unavailable { .. } => 3,
    })
}
