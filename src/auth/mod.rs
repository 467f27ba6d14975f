//! Verifies bearer tokens of configured issuers: which identity a caller acts for.

mod claims;
mod compact;
mod credential;
mod http;
mod issuers;
mod json;
mod jwk;
mod jwks;
mod keys;
mod lookup;
mod profile;
mod trust;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use serde_json::Value;
use tokio_util::task::TaskTracker;

pub use self::credential::{Credential, bearer};
pub use self::http::FetchError;

use self::compact::Compact;
use self::credential::Fingerprint;
use self::http::Http;
use self::issuers::{Candidates, Issuers, Verified};
use self::jwks::Fetcher;
use self::lookup::About;
use self::profile::Profile;
use self::trust::Trust;
use crate::clock::{Clock, Tick, Timestamp};
use crate::config::Auth;
use crate::domain::{Account, Identity, Naming};

/// How long a verified token is accepted without being verified again.
const VERIFIED_FOR: Duration = Duration::from_mins(1);
/// Most verified tokens that are remembered.
const MAX_VERIFIED: usize = 16_384;

/// Why a token is not accepted. Callers learn only that it is not; the log has the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not valid, as tokens of honest callers may be: malformed, expired, encrypted, for another
    /// audience, signed with another algorithm or a key that is gone.
    #[error("rejected: {0}")]
    Rejected(&'static str),
    /// No honest client sends it: `alg: none`, or a signature that does not verify under a key of
    /// its issuer.
    #[error("forged: {0}")]
    Forged(&'static str),
    /// The issuer's keys could not be fetched yet.
    #[error("the issuer's keys are not available")]
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

pub use crate::domain::Condition as KeysCondition;

/// Why an authenticator cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The settings of an issuer contradict each other, or its keys cannot be read.
    #[error("issuer {issuer} cannot be used: {why}")]
    Keys {
        /// The issuer.
        issuer: String,
        /// The contradiction.
        why: &'static str,
    },
    /// The HTTP client could not be built.
    #[error("the HTTP client for issuers could not be built")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Verifies bearer tokens.
pub struct Authenticator {
    issuers: Issuers,
    default_role: Option<Box<str>>,
    naming: Naming,
    clock: Arc<dyn Clock>,
    verified: Cache<Fingerprint, Arc<Known>>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authenticator")
    }
}

/// A token that passed every check that needs no cryptography. See [`Authenticator::screen`].
#[derive(Debug)]
pub struct Screened<'a> {
    credential: &'a Credential,
    fingerprint: Fingerprint,
    step: Step<'a>,
}

#[derive(Debug)]
enum Step<'a> {
    /// Verified within the last minute.
    Known(Arc<Known>),
    /// Its signature is not verified yet.
    Unverified {
        token: Box<Compact<'a>>,
        candidates: Candidates,
        ends: Timestamp,
    },
}

impl Screened<'_> {
    /// Returns true when the token was verified within the last minute, so that
    /// [`Authenticator::verify`] computes no signature.
    pub const fn is_verified(&self) -> bool {
        matches!(self.step, Step::Known(_))
    }
}

/// A token that was verified within the last minute.
#[derive(Debug)]
struct Known {
    verified: Verified,
    until: Tick,
    ends: Timestamp,
    /// Identity by the claims alone. Lacks the default role while a look-up may find another.
    identity: Arc<Identity>,
    needs_lookup: bool,
}

impl Authenticator {
    /// Returns an authenticator for the issuers of `settings`. Names identities by `naming`, and trusts
    /// the certificates in `ca_file` beside the public ones. Fetches nothing yet.
    pub fn new(
        settings: &Auth,
        naming: Naming,
        clock: Arc<dyn Clock>,
        ca_file: Option<&Path>,
    ) -> Result<Self, SetupError> {
        // The library panics at first use when two providers are compiled in and none is installed.
        // A second installation changes nothing.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let fetcher = Fetcher {
            http: Http::new(ca_file)?,
            clock: Arc::clone(&clock),
            tasks: TaskTracker::new(),
        };
        let known_roles: Arc<[_]> = settings.known_roles.as_slice().into();
        let entries = settings.issuers.iter();
        let entries: Result<_, _> = entries
            .map(|rules| Trust::new(rules, &known_roles, &fetcher))
            .collect();
        Ok(Self {
            issuers: Issuers(entries?),
            default_role: settings.default_role.clone(),
            naming,
            clock,
            verified: Cache::new(MAX_VERIFIED),
        })
    }

    /// Checks everything about `credential` but its signature: form, issuer, algorithm, key id, times
    /// and claims. Recognises tokens that were verified within the last minute. Needs neither
    /// cryptography nor the network.
    pub fn screen<'a>(&self, credential: &'a Credential) -> Result<Screened<'a>, AuthError> {
        let fingerprint = credential.fingerprint();
        let known = self.verified.get(&fingerprint);
        let step = match known.filter(|known| self.is_current(known)) {
            Some(known) => Step::Known(known),
            None => self.read(credential)?,
        };
        Ok(Screened {
            credential,
            fingerprint,
            step,
        })
    }

    /// Returns the identity that a screened token stands for. Verifies its signature, unless that
    /// was done within the last minute. Cancel-safe.
    pub async fn verify(&self, screened: Screened<'_>) -> Result<Arc<Identity>, AuthError> {
        let Screened {
            credential,
            fingerprint,
            step,
        } = screened;
        let known = match step {
            Step::Known(known) => known,
            Step::Unverified {
                token,
                candidates,
                ends,
            } => {
                let verified = self.issuers.verify(&token, candidates).await?;
                let known = Arc::new(self.known(&token.claims, verified, ends));
                self.verified.insert(fingerprint, Arc::clone(&known));
                known
            }
        };
        let trust = &self.issuers.0[known.verified.entry];
        let Some(lookup) = trust.lookup.as_ref().filter(|_| known.needs_lookup) else {
            return Ok(Arc::clone(&known.identity));
        };
        let about = About {
            subject: &known.verified.subject,
            credential,
            fingerprint,
        };
        let found = lookup.profile(about).await;
        let claimed = Profile {
            role: known.identity.role.clone(),
            name: known.identity.name.clone(),
        };
        let account = known.identity.account.clone();
        Ok(Arc::new(
            self.identity(account, claimed.or((*found).clone())),
        ))
    }

    /// Screens and verifies `credential`.
    pub async fn authenticate(&self, credential: &Credential) -> Result<Arc<Identity>, AuthError> {
        self.verify(self.screen(credential)?).await
    }

    /// Returns true while a verified token is valid and its issuer's keys are the same.
    fn is_current(&self, known: &Known) -> bool {
        let verified = &known.verified;
        self.clock.tick() < known.until
            && self.clock.now() < known.ends
            && self.issuers.0[verified.entry].generation() == Some(verified.generation)
    }

    /// Parses a token and checks its times, issuer, algorithm, key id and claims.
    fn read<'a>(&self, credential: &'a Credential) -> Result<Step<'a>, AuthError> {
        let token = Compact::read(credential.expose())?;
        let ends = claims::end(&token.claims, self.clock.now())?;
        let candidates = self.issuers.screen(&token)?;
        Ok(Step::Unverified {
            token: Box::new(token),
            candidates,
            ends,
        })
    }

    fn known(&self, claims: &Value, verified: Verified, ends: Timestamp) -> Known {
        let trust = &self.issuers.0[verified.entry];
        let claimed = trust.pointers.read(claims);
        let account = self.naming.account(&trust.rules.issuer, &verified.subject);
        let lookup = trust.lookup.as_ref();
        let needs_lookup = lookup.is_some_and(|lookup| lookup.completes(&claimed));
        let identity = if needs_lookup {
            unfinished(account, claimed)
        } else {
            self.identity(account, claimed)
        };
        Known {
            verified,
            until: self.clock.tick().plus(VERIFIED_FOR),
            ends,
            identity: Arc::new(identity),
            needs_lookup,
        }
    }

    fn identity(&self, account: Account, mut profile: Profile) -> Identity {
        profile.role = profile.role.or_else(|| self.default_role.clone());
        unfinished(account, profile)
    }

    /// Returns whether the keys of all issuers are available.
    pub fn condition(&self) -> KeysCondition {
        self.issuers.condition()
    }

    /// Returns true once at least one issuer's keys were fetched, or none need to be.
    pub fn is_ready(&self) -> bool {
        self.issuers.is_ready()
    }

    /// Fetches keys that are missing or about to be stale. To be called about once a second, off the
    /// request path: nothing is fetched unless it is due, at most every 30 seconds. Cancel-safe: a
    /// fetch that was started goes on.
    pub async fn keep_fresh(&self) {
        self.issuers.keep_fresh().await;
    }

    /// Fetches the keys of all issuers now, one after the other. Returns the number of usable keys
    /// of each, by all of its entries together.
    pub async fn check_issuers(&self) -> Vec<(Arc<str>, Result<usize, FetchError>)> {
        self.issuers.check().await
    }
}

fn unfinished(account: Account, profile: Profile) -> Identity {
    Identity {
        key: account.key(),
        account,
        role: profile.role,
        name: profile.name,
    }
}
