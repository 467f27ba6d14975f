//! Verifies bearer tokens of configured issuers: which identity a caller acts for.

mod claims;
mod compact;
mod credential;
mod http;
mod json;
mod jwk;
mod keys;
mod lookup;
mod profile;
mod source;
mod trust;
mod unverified;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use quick_cache::sync::Cache;

pub use self::credential::{Credential, bearer};
pub use self::http::FetchError;

use self::credential::Fingerprint;
use self::http::Fetcher;
use self::keys::KeySet;
use self::trust::Trust;
use self::unverified::{Unverified, Verified};
use crate::clock::{Clock, Tick, Timestamp};
use crate::config::Auth;
use crate::domain::{Identity, Naming, SERVICE_KEYS};
use crate::http_client::{ClientError, Way};

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
    Client(#[from] ClientError),
}

/// Returns an error with `reason` unless `is_met`.
fn require(is_met: bool, reason: &'static str) -> Result<(), AuthError> {
    is_met.then_some(()).ok_or(AuthError::Rejected(reason))
}

/// Verifies bearer tokens.
pub struct Authenticator {
    trusting: RwLock<Arc<Trusting>>,
    fetcher: Fetcher,
    naming: Naming,
    clock: Arc<dyn Clock>,
    verified: Cache<Fingerprint, Arc<Known>>,
}

/// Whom the settings trust. An operator may change it while the broker runs.
pub struct Trusting {
    /// The entries of the settings, in their order. An issuer may have several, one for each key source.
    trusted: Vec<Arc<Trust>>,
    /// The programs by the hashes of their keys.
    programs: HashMap<Fingerprint, Arc<Identity>>,
    default_role: Option<Box<str>>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authenticator")
    }
}

/// A token that passed every check that needs no cryptography. See [`Authenticator::screen`].
pub struct Screened<'a> {
    credential: &'a Credential,
    fingerprint: Fingerprint,
    step: Step<'a>,
}

enum Step<'a> {
    /// Verified a short while ago.
    Known(Arc<Known>),
    Unverified(Box<Unverified<'a>>),
    /// The key of a program, which its hash proves.
    Program(Arc<Identity>),
}

impl Screened<'_> {
    /// Returns true when the token was verified within the last minute (five with a look-up), so that
    /// [`Authenticator::verify`] computes no signature.
    pub const fn is_verified(&self) -> bool {
        matches!(self.step, Step::Known(_) | Step::Program(_))
    }

    /// True for the key of one of the operator's own programs.
    pub const fn is_of_program(&self) -> bool {
        matches!(self.step, Step::Program(_))
    }
}

/// A verified token.
struct Known {
    identity: Arc<Identity>,
    trust: Arc<Trust>,
    /// The keys by which it was verified.
    keys: Arc<KeySet>,
    /// When it is verified again.
    until: Tick,
    ends: Timestamp,
}

impl Authenticator {
    /// Returns an authenticator for the issuers of `settings`. Names identities by `naming`, and
    /// goes this `way` to their issuers. Fetches nothing yet.
    pub fn new(
        settings: &Auth,
        naming: Naming,
        clock: Arc<dyn Clock>,
        way: &Way,
    ) -> Result<Self, SetupError> {
        // The library panics at first use when two providers are compiled in and none is installed.
        // A second installation changes nothing.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let fetcher = Fetcher::new(way, &settings.allow_plain_http, Arc::clone(&clock))?;
        let trusting = Trusting::new(settings, (&fetcher, &naming), &[])?;
        Ok(Self {
            trusting: RwLock::new(Arc::new(trusting)),
            fetcher,
            naming,
            clock,
            verified: Cache::new(MAX_VERIFIED),
        })
    }

    /// Returns whom changed `settings` trust, for [`Authenticator::adopt`]. Keys of issuers that are the same are those that
    /// were fetched before. Hosts of `auth.allow_plain_http` stay as they are.
    pub fn prepare(&self, settings: &Auth) -> Result<Trusting, SetupError> {
        let before = self.trusting();
        Trusting::new(settings, (&self.fetcher, &self.naming), &before.trusted)
    }

    /// Trusts others from now on. Whoever was verified before is verified again, because a key may be gone, and the role may be
    /// another one.
    pub fn adopt(&self, trusting: Trusting) {
        *self.trusting.write() = Arc::new(trusting);
        self.verified.clear();
    }

    fn trusting(&self) -> Arc<Trusting> {
        Arc::clone(&self.trusting.read())
    }

    /// Checks everything about `credential` but its signature: form, issuer, algorithm, key id, times
    /// and claims. Recognises tokens that were verified a short while ago. Needs neither cryptography
    /// nor the network.
    pub fn screen<'a>(&self, credential: &'a Credential) -> Result<Screened<'a>, AuthError> {
        let fingerprint = credential.fingerprint();
        let known = self.verified.get(&fingerprint);
        let trusting = self.trusting();
        let program = trusting.programs.get(&fingerprint).cloned();
        let step = if let Some(known) = known.filter(|known| self.is_current(known)) {
            Step::Known(known)
        } else if let Some(program) = program {
            Step::Program(program)
        } else {
            let unverified = Unverified::read(credential, &trusting.trusted, self.clock.now())?;
            Step::Unverified(Box::new(unverified))
        };
        Ok(Screened {
            credential,
            fingerprint,
            step,
        })
    }

    /// Returns the identity that a screened token stands for. Verifies its signature and asks for what
    /// its claims lack, unless that was done a short while ago. Cancel-safe. Callers with the same token
    /// share that work; when the caller that started it leaves, the next one repeats it.
    pub async fn verify(&self, screened: Screened<'_>) -> Result<Arc<Identity>, AuthError> {
        let unverified = match screened.step {
            Step::Known(known) => return Ok(Arc::clone(&known.identity)),
            Step::Program(program) => return Ok(program),
            Step::Unverified(unverified) => unverified,
        };
        let fingerprint = &screened.fingerprint;
        let is_stale = |known: &Arc<Known>| !self.is_current(known);
        self.verified.remove_if(fingerprint, is_stale);
        let know = async {
            let Verified {
                trust,
                keys,
                subject,
            } = unverified.verify().await?;
            let profile = trust.profile(&unverified.token.claims, &subject, screened.credential);
            let (profile, lasting) = profile.await;
            let account = self.naming.account(&trust.rules.issuer, &subject);
            let identity = Identity {
                key: account.key(),
                account,
                role: profile
                    .role
                    .or_else(|| self.trusting().default_role.clone()),
                name: profile.name,
                personas: Arc::default(),
            };
            Ok(Arc::new(Known {
                identity: Arc::new(identity),
                trust,
                keys,
                until: self.clock.tick().plus(lasting),
                ends: unverified.ends,
            }))
        };
        let known = self.verified.get_or_insert_async(fingerprint, know).await?;
        Ok(Arc::clone(&known.identity))
    }

    /// Returns true while a verified token is valid, and its issuer is still trusted by the same rules and keys.
    fn is_current(&self, known: &Known) -> bool {
        let is_its = |trust| Arc::ptr_eq(trust, &known.trust);
        self.clock.tick() < known.until
            && self.clock.now() < known.ends
            && known.trust.keys.is_current(&known.keys)
            && self.trusting().trusted.iter().any(is_its)
    }

    /// Returns the condition of the issuer whose keys are worst off.
    pub fn condition(&self) -> KeysCondition {
        self.trusting().conditions().max().unwrap_or_default()
    }

    /// Returns true once at least one issuer's keys were fetched, or none need to be.
    pub fn is_ready(&self) -> bool {
        let is_up = |condition| condition != KeysCondition::Down;
        let trusting = self.trusting();
        trusting.trusted.is_empty() || trusting.conditions().any(is_up)
    }

    /// Fetches keys that are missing or about to be stale. To be called about once a second, off the
    /// request path: nothing is fetched unless it is due, at most every 30 seconds. Cancel-safe: a
    /// fetch that was started goes on.
    pub async fn keep_fresh(&self) {
        let trusting = self.trusting();
        for trust in &trusting.trusted {
            trust.keys.keep_fresh();
        }
        for trust in &trusting.trusted {
            trust.keys.wait().await;
        }
    }

    /// Fetches the keys of all issuers now, one after the other. Returns the number of usable keys
    /// of each, by all of its entries together.
    pub async fn check_issuers(&self) -> Vec<(Arc<str>, Result<usize, FetchError>)> {
        let trusting = self.trusting();
        let mut checked: Vec<(Arc<str>, _)> = Vec::with_capacity(trusting.trusted.len());
        for trust in &trusting.trusted {
            let (issuer, found) = (&trust.rules.issuer, trust.keys.fetch().await);
            match checked.iter_mut().find(|(known, _)| known == issuer) {
                Some((_, sum)) => *sum = together(*sum, found),
                None => checked.push((Arc::clone(issuer), found)),
            }
        }
        checked
    }
}

impl Trusting {
    /// Returns whom `settings` trust. Takes the keys over that an entry of `before` has fetched from the same place.
    fn new(
        settings: &Auth,
        (fetcher, naming): (&Fetcher, &Naming),
        before: &[Arc<Trust>],
    ) -> Result<Self, SetupError> {
        let known_roles = settings.known_roles.as_slice().into();
        let trusted = settings.issuers.iter();
        let trusted: Result<_, _> = trusted
            .map(|rules| Trust::new(rules, &known_roles, (fetcher, before)).map(Arc::new))
            .collect();
        Ok(Self {
            trusted: trusted?,
            programs: programs(settings, naming),
            default_role: settings.default_role.clone(),
        })
    }

    /// Returns the condition of each issuer. An issuer with several entries (one per algorithm) is as
    /// healthy as its healthiest entry: it publishes keys for one of them only.
    fn conditions(&self) -> impl Iterator<Item = KeysCondition> {
        self.trusted.iter().filter_map(|one| {
            let is_theirs = |other: &&Arc<Trust>| one.rules.issuer == other.rules.issuer;
            let theirs = self.trusted.iter().filter(is_theirs);
            theirs.map(|trust| trust.keys.condition()).min()
        })
    }
}

/// Returns the identities of the operator's own programs, by the hashes of their keys.
fn programs(settings: &Auth, naming: &Naming) -> HashMap<Fingerprint, Arc<Identity>> {
    let issuer = SERVICE_KEYS.into();
    let keys = settings.service_keys.iter();
    keys.map(|key| {
        let account = naming.account(&issuer, &key.name);
        let identity = Identity {
            key: account.key(),
            account,
            role: key.role.clone().or_else(|| settings.default_role.clone()),
            name: None,
            personas: key.personas.as_slice().into(),
        };
        (key.hash, Arc::new(identity))
    })
    .collect()
}

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
