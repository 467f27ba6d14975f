//! Trusts tokens by one entry of the settings: an issuer's rules and keys.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jsonwebtoken::AlgorithmFamily;
use serde_json::Value;

use super::http::Fetcher;
use super::keys::one_family;
use super::lookup::LookUp;
use super::profile::{KnownRoles, Pointers, Profile};
use super::source::Source;
use super::{Credential, SetupError};
use crate::config::{Issuer, KeySource};

/// How long a verified token is accepted without being verified again.
const VERIFIED_FOR: Duration = Duration::from_mins(1);

/// One entry of the settings.
pub(super) struct Trust {
    pub(super) rules: Issuer,
    pub(super) keys: Arc<Source>,
    /// Where the claims hold role and name.
    pub(super) pointers: Pointers,
    /// The request for a role or name that the claims lack.
    pub(super) lookup: Option<LookUp>,
}

impl Trust {
    /// Returns the entry that `rules` describe, unless they contradict each other. It has the keys of the entry among `before`
    /// that takes them from the same place.
    pub(super) fn new(
        rules: &Issuer,
        known_roles: &KnownRoles,
        (fetcher, before): (&Fetcher, &[Arc<Self>]),
    ) -> Result<Self, SetupError> {
        let refused = |why| SetupError::Keys {
            issuer: (*rules.issuer).to_owned(),
            why,
        };
        fit_together(rules).map_err(refused)?;
        let pointers = |role: &Option<String>, name: &Option<String>, is_warned| Pointers {
            issuer: Arc::clone(&rules.issuer),
            role: role.clone(),
            name: name.clone(),
            known_roles: Arc::clone(known_roles),
            is_warned: AtomicBool::new(is_warned),
        };
        let lookup = rules.lookup.as_ref();
        // A look-up finds the roles that claims lack.
        let finds_role = lookup.is_some_and(|lookup| lookup.role_pointer.is_some());
        let lookup = lookup.map(|lookup| {
            let pointers = pointers(&lookup.role_pointer, &lookup.name_pointer, false);
            LookUp::new(lookup, pointers, fetcher)
        });
        let mut alike = before
            .iter()
            .filter(|known| has_keys_of(&known.rules, rules));
        let keys = match alike.next() {
            Some(known) => Arc::clone(&known.keys),
            None => Source::new(rules, fetcher).map_err(refused)?,
        };
        Ok(Self {
            keys,
            pointers: pointers(&rules.role_pointer, &rules.name_pointer, finds_role),
            lookup: lookup.transpose().map_err(refused)?,
            rules: rules.clone(),
        })
    }

    /// Returns the profile of a verified token, and how long the token may be accepted without being
    /// verified again. Asks the issuer for what the claims lack.
    pub(super) async fn profile(
        &self,
        claims: &Value,
        subject: &str,
        credential: &Credential,
    ) -> (Profile, Duration) {
        let claimed = self.pointers.read(claims);
        match &self.lookup {
            Some(lookup) if lookup.completes(&claimed) => {
                let (found, kept) = lookup.profile(subject, credential).await;
                (claimed.or(found), kept)
            }
            _ => (claimed, VERIFIED_FOR),
        }
    }
}

/// True when both entries have the same published keys. Keys of the settings need not be kept.
fn has_keys_of(one: &Issuer, other: &Issuer) -> bool {
    let is_same = match (&one.keys, &other.keys) {
        (KeySource::Jwks(url), KeySource::Jwks(known)) => url == known,
        _ => false,
    };
    is_same && one.issuer == other.issuer && one.algorithms == other.algorithms
}

/// Refuses keys that do not go with the algorithms, and rules that accept tokens for somebody else.
fn fit_together(rules: &Issuer) -> Result<(), &'static str> {
    if !rules.names_us() {
        return Err("it names neither audience nor authorized parties");
    }
    let is_hmac = one_family(&rules.algorithms)? == AlgorithmFamily::Hmac;
    match (&rules.keys, is_hmac) {
        (KeySource::Hmac(_), false) => Err("a shared secret is only for HS algorithms"),
        (KeySource::Pem(_) | KeySource::Jwks(_), true) => {
            Err("public keys are not for HS algorithms")
        }
        _ => Ok(()),
    }
}
