//! Owns what is believed of one issuer: its rules, and the keys that it signs with.

use std::sync::Arc;

use secrecy::ExposeSecret;
use url::Url;

use super::algorithm::Family;
use super::claims;
use super::compact::Compact;
use super::http::FetchError;
use super::jwks::{Jwks, Means};
use super::keys::{KeySet, one_family};
use super::lookup::LookUp;
use super::{AuthError, KeysCondition, SetupError};
use crate::config::{Algorithm, Issuer, KeySource};
use crate::domain::is_loopback;

/// One entry of the settings.
pub(super) struct Trust {
    pub(super) rules: Issuer,
    keys: Keys,
    /// Whom to ask for what the claims do not say.
    pub(super) lookup: Option<LookUp>,
}

enum Keys {
    /// The operator wrote them down.
    Fixed(KeySet),
    /// The issuer publishes them.
    Published(Arc<Jwks>),
}

/// A token whose signature and claims were verified.
#[derive(Debug)]
pub(super) struct Verified {
    /// `sub`.
    pub(super) subject: Box<str>,
    /// Generation of the keys that verified it.
    pub(super) generation: u64,
}

impl Trust {
    /// What `rules` say, once they make sense.
    pub(super) fn new(rules: &Issuer, means: &Means) -> Result<Self, SetupError> {
        let (keys, lookup) = parts(rules, means).map_err(|why| SetupError::Keys {
            issuer: (*rules.issuer).to_owned(),
            why,
        })?;
        Ok(Self {
            rules: rules.clone(),
            keys,
            lookup,
        })
    }

    /// Rejects `token` when its signature cannot verify under any key that this issuer has, or may
    /// have published since the last fetch. Computes no signature.
    pub(super) fn screen(&self, token: &Compact<'_>) -> Result<(), AuthError> {
        self.published().map_or(Ok(()), |jwks| jwks.screen(token))
    }

    /// Verifies that this issuer signed `token` with `algorithm`, and that its claims are for us.
    /// Returns the subject and the generation of the keys.
    pub(super) async fn verify(
        &self,
        token: &Compact<'_>,
        algorithm: Algorithm,
    ) -> Result<Verified, AuthError> {
        let generation = match &self.keys {
            Keys::Fixed(keys) => {
                keys.verify_any(token, algorithm)?;
                0
            }
            Keys::Published(jwks) => {
                let had = jwks.keys_for(token).await?;
                if let Err(error) = had.keys.verify_named(token, algorithm) {
                    if token.kid.is_none() {
                        // Without a key id, a failure is the only sign of a new key.
                        let _ = jwks.begin();
                    }
                    return Err(error);
                }
                had.generation
            }
        };
        Ok(Verified {
            subject: claims::subject(&token.claims, &self.rules)?,
            generation,
        })
    }

    /// The generation of the keys that can be used now.
    pub(super) fn generation(&self) -> Option<u64> {
        match &self.keys {
            Keys::Fixed(_) => Some(0),
            Keys::Published(jwks) => jwks.usable().map(|had| had.generation),
        }
    }

    /// Its published keys, if that is what it has.
    pub(super) fn published(&self) -> Option<&Arc<Jwks>> {
        match &self.keys {
            Keys::Fixed(_) => None,
            Keys::Published(jwks) => Some(jwks),
        }
    }

    /// Fetches the keys, if they must be: how many there are.
    pub(super) async fn check(&self) -> Result<usize, FetchError> {
        match &self.keys {
            Keys::Fixed(keys) => Ok(keys.len()),
            Keys::Published(jwks) => jwks.fetch().await,
        }
    }

    /// True when `other` is an entry of the same issuer.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.rules.issuer == other.rules.issuer
    }

    /// Whether the keys are at hand.
    pub(super) fn condition(&self) -> KeysCondition {
        self.published()
            .map_or(KeysCondition::Operational, |jwks| jwks.condition())
    }
}

fn parts(rules: &Issuer, means: &Means) -> Result<(Keys, Option<LookUp>), &'static str> {
    if !rules.names_us() {
        return Err("it names neither audience nor authorized parties");
    }
    let shared = one_family(&rules.algorithms)? == Family::Hmac;
    let keys = match (&rules.keys, shared) {
        (KeySource::Hmac(secret), true) => Keys::Fixed(KeySet::from_secret(
            secret.expose_secret(),
            &rules.algorithms,
        )?),
        (KeySource::Pem(text), false) => Keys::Fixed(KeySet::from_pem(text, &rules.algorithms)?),
        (KeySource::Jwks(url), false) => {
            is_private_enough(url)?;
            Keys::Published(Jwks::new(rules, url, means.clone()))
        }
        (KeySource::Hmac(_), false) => return Err("a shared secret is only for HS algorithms"),
        (KeySource::Pem(_) | KeySource::Jwks(_), true) => {
            return Err("public keys are not for HS algorithms");
        }
    };
    let lookup = rules.lookup.as_ref();
    let lookup = lookup.map(|settings| LookUp::new(settings, means));
    Ok((keys, lookup.transpose()?))
}

/// Who can change what is fetched can be anybody: nothing but TLS, or a socket that never leaves the machine.
pub(super) fn is_private_enough(url: &Url) -> Result<(), &'static str> {
    (url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url)))
        .then_some(())
        .ok_or("its addresses must be https; plain http is for loopback only")
}
