//! Finds the issuer of a token among the configured ones, and reports whether their keys are available.

use std::sync::Arc;

use super::AuthError::{self, Rejected};
use super::compact::Compact;
use super::http::FetchError;
use super::jwks::{self, land};
use super::trust::{Trust, Verified};
use super::{KeysCondition, claims, lookup};
use crate::config::Algorithm;

/// The entries of the settings, in their order. An issuer may have several, one for each key source.
pub(super) struct Issuers(pub(super) Vec<Trust>);

impl Issuers {
    /// Returns the algorithm of `token`, when an entry of its issuer allows it and may have its key.
    pub(super) fn screen(&self, token: &Compact<'_>) -> Result<Algorithm, AuthError> {
        let issuer = claims::issuer(&token.claims)?;
        if !self.0.iter().any(|trust| *trust.rules.issuer == *issuer) {
            return Err(Rejected("the token's issuer is not configured"));
        }
        let Some(algorithm) = token.algorithm else {
            return Err(WRONG_ALGORITHM);
        };
        let mut refused = None;
        for (_, trust) in self.candidates(issuer, algorithm) {
            match trust.screen(token) {
                Ok(()) => return Ok(algorithm),
                Err(error) => refused = Some(more_telling(refused, error)),
            }
        }
        Err(refused.unwrap_or(match algorithm {
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => NO_SECRET,
            _ => WRONG_ALGORITHM,
        }))
    }

    /// Verifies `token`, which passed [`Issuers::screen`]. Returns the index of the entry that did.
    pub(super) async fn verify(
        &self,
        token: &Compact<'_>,
        algorithm: Algorithm,
    ) -> Result<(usize, Verified), AuthError> {
        let issuer = claims::issuer(&token.claims)?;
        let mut refused = None;
        for (nth, trust) in self.candidates(issuer, algorithm) {
            match trust.verify(token, algorithm).await {
                Ok(verified) => return Ok((nth, verified)),
                Err(error) => refused = Some(more_telling(refused, error)),
            }
        }
        Err(refused.unwrap_or(WRONG_ALGORITHM))
    }

    /// Returns the entries, with their indices, that may have signed a token with `algorithm`.
    fn candidates(
        &self,
        issuer: &str,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = (usize, &Trust)> {
        self.0.iter().enumerate().filter(move |(_, trust)| {
            *trust.rules.issuer == *issuer && trust.rules.algorithms.contains(&algorithm)
        })
    }

    /// Returns the condition of the issuer that is worst off.
    pub(super) fn condition(&self) -> KeysCondition {
        self.conditions()
            .max()
            .unwrap_or(KeysCondition::Operational)
    }

    /// Returns true once at least one issuer's keys were fetched, or none need to be.
    pub(super) fn is_ready(&self) -> bool {
        self.0.is_empty()
            || self
                .conditions()
                .any(|condition| condition != KeysCondition::Down)
    }

    /// Returns the condition of each issuer. An issuer with several entries (one per algorithm) is as
    /// healthy as its healthiest entry: it publishes keys for one of them only.
    fn conditions(&self) -> impl Iterator<Item = KeysCondition> {
        self.0.iter().filter_map(|one| {
            let theirs = self.0.iter().filter(|other| one.is_beside(other));
            theirs.map(Trust::condition).min()
        })
    }

    /// Fetches keys that are missing or about to be stale, when that is due.
    pub(super) async fn keep_fresh(&self) {
        let published = self.0.iter().filter_map(Trust::published);
        let begun: Vec<_> = published.map(jwks::Jwks::keep_fresh).collect();
        for landing in begun {
            land(landing).await;
        }
    }

    /// Fetches all keys now. Returns the number of usable keys of each issuer.
    pub(super) async fn check(&self) -> Vec<(Arc<str>, Result<usize, FetchError>)> {
        let mut checked: Vec<(Arc<str>, _)> = Vec::with_capacity(self.0.len());
        for trust in &self.0 {
            let (issuer, found) = (&trust.rules.issuer, trust.check().await);
            match checked.iter_mut().find(|(known, _)| known == issuer) {
                Some((_, sum)) => *sum = together(*sum, found),
                None => checked.push((Arc::clone(issuer), found)),
            }
        }
        checked
    }

    /// Returns how many look-ups failed since the start.
    pub(super) fn failed_lookups(&self) -> u64 {
        let lookups = self.0.iter().filter_map(|trust| trust.lookup.as_ref());
        lookups.map(lookup::LookUp::failed).sum()
    }
}

const WRONG_ALGORITHM: AuthError = Rejected("the token's algorithm is not one of its issuer's");
const NO_SECRET: AuthError = Rejected(
    "the token is signed with a shared secret, and its issuer is configured without one: set \
     auth.supabase_jwt_secret for a Supabase project with the legacy secret, or hmac_secret in \
     [[auth.issuers]]",
);

/// Adds up what two entries of one issuer found. An error counts only where there are no keys.
fn together(
    one: Result<usize, FetchError>,
    other: Result<usize, FetchError>,
) -> Result<usize, FetchError> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok(one + other),
        (Ok(0), Err(error)) | (Err(error), Ok(0) | Err(_)) => Err(error),
        (Ok(keys), Err(_)) | (Err(_), Ok(keys)) => Ok(keys),
    }
}

/// Returns the error of the entry that came closest to accepting the token.
fn more_telling(one: Option<AuthError>, other: AuthError) -> AuthError {
    let rank = |error: &AuthError| match error {
        AuthError::Forged(_) => 1,
        AuthError::Rejected(_) => 2,
        AuthError::Unavailable { .. } => 3,
    };
    one.filter(|one| rank(one) > rank(&other)).unwrap_or(other)
}
