//! Verifies tokens by one entry of the settings: an issuer's rules and keys.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jsonwebtoken::AlgorithmFamily;
use secrecy::ExposeSecret;
use url::Url;

use super::compact::Compact;
use super::http::FetchError;
use super::jwks::{Fetcher, Jwks};
use super::keys::{KeySet, one_family};
use super::lookup::LookUp;
use super::profile::Pointers;
use super::{AuthError, KeysCondition, SetupError};
use crate::config::{Issuer, KeySource};
use crate::domain::{Algorithm, is_loopback};

/// One entry of the settings.
pub(super) struct Trust {
    pub(super) rules: Issuer,
    keys: Keys,
    /// Where the claims hold role and name.
    pub(super) pointers: Pointers,
    /// The request for a role or name that the claims lack.
    pub(super) lookup: Option<LookUp>,
}

enum Keys {
    /// Written in the settings.
    Fixed(KeySet),
    /// Published by the issuer.
    Published(Arc<Jwks>),
}

impl Trust {
    /// Returns the entry that `rules` describe, unless they contradict each other.
    pub(super) fn new(
        rules: &Issuer,
        known_roles: &Arc<[Box<str>]>,
        fetcher: &Fetcher,
    ) -> Result<Self, SetupError> {
        let refused = |why| SetupError::Keys {
            issuer: (*rules.issuer).to_owned(),
            why,
        };
        let keys = keys(rules, fetcher).map_err(refused)?;
        let lookup = rules.lookup.as_ref();
        let finds_role = lookup.is_some_and(|lookup| lookup.role_pointer.is_some());
        let lookup = lookup.map(|settings| {
            let pointers = Pointers {
                issuer: Arc::clone(&rules.issuer),
                role: settings.role_pointer.clone(),
                name: settings.name_pointer.clone(),
                known_roles: Arc::clone(known_roles),
                is_warned: AtomicBool::new(false),
            };
            LookUp::new(settings, pointers, fetcher)
        });
        Ok(Self {
            keys,
            pointers: Pointers {
                issuer: Arc::clone(&rules.issuer),
                role: rules.role_pointer.clone(),
                name: rules.name_pointer.clone(),
                known_roles: Arc::clone(known_roles),
                // A look-up finds the roles that claims lack.
                is_warned: AtomicBool::new(finds_role),
            },
            lookup: lookup.transpose().map_err(refused)?,
            rules: rules.clone(),
        })
    }

    /// Rejects `token` when no key can verify it, not even one published since the last fetch.
    pub(super) fn screen(&self, token: &Compact<'_>) -> Result<(), AuthError> {
        self.published().map_or(Ok(()), |jwks| jwks.screen(token))
    }

    /// Verifies the signature of `token`. Returns the generation of the keys.
    pub(super) async fn verify(
        &self,
        token: &Compact<'_>,
        algorithm: Algorithm,
    ) -> Result<u64, AuthError> {
        match &self.keys {
            Keys::Fixed(keys) => keys.verify_any(token, algorithm).map(|()| 0),
            Keys::Published(jwks) => {
                let keys = jwks.keys_for(token).await?;
                if let Err(error) = keys.set.verify_named(token, algorithm) {
                    if token.kid.is_none() {
                        // Without a key id, a failure is the only sign of a new key.
                        let _ = jwks.begin();
                    }
                    return Err(error);
                }
                Ok(keys.generation)
            }
        }
    }

    /// Returns the generation of the keys in use.
    pub(super) fn generation(&self) -> Option<u64> {
        match &self.keys {
            Keys::Fixed(_) => Some(0),
            Keys::Published(jwks) => jwks.usable().map(|keys| keys.generation),
        }
    }

    /// Returns the published keys, if the issuer publishes them.
    pub(super) fn published(&self) -> Option<&Arc<Jwks>> {
        match &self.keys {
            Keys::Fixed(_) => None,
            Keys::Published(jwks) => Some(jwks),
        }
    }

    /// Fetches published keys now. Returns the number of usable keys.
    pub(super) async fn check(&self) -> Result<usize, FetchError> {
        match &self.keys {
            Keys::Fixed(keys) => Ok(keys.len()),
            Keys::Published(jwks) => jwks.fetch().await,
        }
    }

    /// Returns whether the keys are available.
    pub(super) fn condition(&self) -> KeysCondition {
        self.published()
            .map_or(KeysCondition::Operational, |jwks| jwks.condition())
    }
}

fn keys(rules: &Issuer, fetcher: &Fetcher) -> Result<Keys, &'static str> {
    if !rules.names_us() {
        return Err("it names neither audience nor authorized parties");
    }
    let is_secret = one_family(&rules.algorithms)? == AlgorithmFamily::Hmac;
    match (&rules.keys, is_secret) {
        (KeySource::Hmac(secret), true) => {
            KeySet::from_secret(secret.expose_secret(), &rules.algorithms).map(Keys::Fixed)
        }
        (KeySource::Pem(text), false) => KeySet::from_pem(text, &rules.algorithms).map(Keys::Fixed),
        (KeySource::Jwks(url), false) => {
            is_private_enough(url)?;
            Ok(Keys::Published(Jwks::new(rules, url, fetcher.clone())))
        }
        (KeySource::Hmac(_), false) => Err("a shared secret is only for HS algorithms"),
        (KeySource::Pem(_) | KeySource::Jwks(_), true) => {
            Err("public keys are not for HS algorithms")
        }
    }
}

/// Refuses plain http beyond this machine: whoever can change the answer can be anybody.
pub(super) fn is_private_enough(url: &Url) -> Result<(), &'static str> {
    (url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url)))
        .then_some(())
        .ok_or("its addresses must be https; plain http is for loopback only")
}
