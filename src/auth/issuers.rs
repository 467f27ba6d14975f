//! Finds the issuer of a token among the configured ones, and reports whether their keys are available.

use std::sync::Arc;

use jsonwebtoken::AlgorithmFamily;

use super::AuthError::{self, Rejected};
use super::compact::Compact;
use super::http::FetchError;
use super::jwks::{Jwks, wait_for};
use super::trust::Trust;
use super::{KeysCondition, claims};
use crate::domain::Algorithm;

/// The entries of the settings, in their order. An issuer may have several, one for each key source.
pub(super) struct Issuers(pub(super) Vec<Trust>);

/// Entries that may have signed a token. The first one's rules accept its claims.
#[derive(Debug)]
pub(super) struct Candidates {
    algorithm: Algorithm,
    /// Index, and the token's subject or why the entry's rules reject it.
    entries: Vec<(usize, Result<Box<str>, AuthError>)>,
}

/// A token whose signature and claims were verified.
#[derive(Debug)]
pub(super) struct Verified {
    /// Index of the entry that verified it, and the generation of its keys.
    pub(super) entry: usize,
    pub(super) generation: u64,
    pub(super) subject: Box<str>,
}

impl Issuers {
    /// Returns the entries, with their indices, that may have signed `token`. Rejects a token that
    /// none of them can have signed.
    pub(super) fn screen(&self, token: &Compact<'_>) -> Result<Candidates, AuthError> {
        let issuer = claims::issuer(&token.claims)?;
        let mut theirs = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, trust)| *trust.rules.issuer == *issuer)
            .peekable();
        if theirs.peek().is_none() {
            return Err(Rejected("the token's issuer is not configured"));
        }
        let algorithm = token.algorithm.ok_or(WRONG_ALGORITHM)?;
        let (mut entries, mut refused) = (Vec::new(), None);
        let fits = |(_, trust): &(usize, &Trust)| trust.rules.algorithms.contains(&algorithm);
        for (index, trust) in theirs.filter(fits) {
            match trust.screen(token) {
                Ok(()) => entries.push((index, claims::subject(&token.claims, &trust.rules))),
                Err(error) => refused = Some(more_telling(refused, error)),
            }
        }
        // The entries whose rules accept the claims come first.
        entries.sort_by_key(|(_, subject)| subject.is_err());
        match entries.first() {
            Some((_, Ok(_))) => Ok(Candidates { algorithm, entries }),
            Some((_, Err(error))) => Err(error.clone()),
            None => Err(refused.unwrap_or(match algorithm.family() {
                AlgorithmFamily::Hmac => NO_SECRET,
                _ => WRONG_ALGORITHM,
            })),
        }
    }

    /// Verifies the signature of `token` by its candidates. A token that an entry with other rules
    /// signed is rejected by these rules, and not forged.
    pub(super) async fn verify(
        &self,
        token: &Compact<'_>,
        candidates: Candidates,
    ) -> Result<Verified, AuthError> {
        let mut refused = None;
        for (entry, subject) in candidates.entries {
            match self.0[entry].verify(token, candidates.algorithm).await {
                Ok(generation) => {
                    return subject.map(|subject| Verified {
                        entry,
                        generation,
                        subject,
                    });
                }
                Err(error) => refused = Some(more_telling(refused, error)),
            }
        }
        Err(refused.unwrap_or(WRONG_ALGORITHM))
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
            let theirs = self
                .0
                .iter()
                .filter(|other| one.rules.issuer == other.rules.issuer);
            theirs.map(Trust::condition).min()
        })
    }

    /// Fetches keys that are missing or about to be stale, when that is due.
    pub(super) async fn keep_fresh(&self) {
        let published = self.0.iter().filter_map(Trust::published);
        let begun: Vec<_> = published.map(Jwks::keep_fresh).collect();
        for end in begun {
            wait_for(end).await;
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
