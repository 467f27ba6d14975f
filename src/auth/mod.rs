//! Owns the contract of authentication: whom a credential stands for.

mod algorithm;
mod claims;
mod compact;
mod http;
mod json;
mod jwk;
mod jwks;
mod keys;
mod lookup;
mod profile;
mod recent;
mod trust;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio_util::task::TaskTracker;

pub use self::http::FetchError;

use self::compact::Compact;
use self::http::Http;
use self::jwks::{Means, land};
use self::lookup::About;
use self::profile::Profile;
use self::recent::{Print, Recent};
use self::trust::{Trust, Verified};
use crate::clock::{Clock, Tick, Timestamp};
use crate::config::Auth;
use crate::domain::{Account, Identity, Naming};

/// Longest credential that is looked at.
const LONGEST: usize = 8 * 1024;
/// Longest time that a credential is believed without being verified again.
const BELIEVED: Duration = Duration::from_mins(1);
/// Most credentials that are believed at the same time.
const ROOM: usize = 16_384;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeysCondition {
    /// All of them, and fresh.
    Operational,
    /// Some issuer's are stale, because it does not answer.
    Degraded,
    /// Some issuer's were never there.
    Down,
}

/// What the authenticator cannot be made of.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The settings of an issuer contradict each other, or its keys are not keys.
    #[error("issuer {issuer} cannot be used: {why}")]
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

/// Says whom credentials stand for.
pub struct Authenticator {
    trusts: Vec<Trust>,
    default_role: Option<Box<str>>,
    naming: Naming,
    clock: Arc<dyn Clock>,
    believed: Recent<Arc<Belief>>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authenticator")
    }
}

/// A credential that was verified a moment ago.
struct Belief {
    /// Which entry of the settings it was verified by, and with which keys of it: others may not have the key.
    trust: usize,
    generation: u64,
    until: Tick,
    ends: Timestamp,
    subject: Box<str>,
    /// What its claims say. The default role is not among that while a look-up may know better.
    identity: Arc<Identity>,
    asks: bool,
}

impl Authenticator {
    /// One that believes the issuers of `settings`, calls identities as `naming` says, and also believes the
    /// certificates in `ca_file` on issuers' hosts. Asks nobody yet.
    pub fn new(
        settings: &Auth,
        naming: Naming,
        clock: Arc<dyn Clock>,
        ca_file: Option<&Path>,
    ) -> Result<Self, SetupError> {
        // The library panics at first use when it must choose between two; a second installation changes nothing.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let means = Means {
            http: Arc::new(Http::new(ca_file)?),
            clock: Arc::clone(&clock),
            tasks: TaskTracker::new(),
        };
        let trusts = settings.issuers.iter();
        let trusts: Result<_, _> = trusts.map(|rules| Trust::new(rules, &means)).collect();
        Ok(Self {
            trusts: trusts?,
            default_role: settings.default_role.clone(),
            naming,
            clock,
            believed: Recent::with_room_for(ROOM),
        })
    }

    /// Whom `credential` stands for. Cancel-safe.
    pub async fn authenticate(&self, credential: &Credential) -> Result<Arc<Identity>, AuthError> {
        let print = Print::of(credential.expose());
        let belief = self.belief(credential, print).await?;
        let trust = &self.trusts[belief.trust];
        let Some(lookup) = trust.lookup.as_ref().filter(|_| belief.asks) else {
            return Ok(Arc::clone(&belief.identity));
        };
        let about = About {
            issuer: &trust.rules.issuer,
            subject: &belief.subject,
            credential,
            print,
        };
        let asked = lookup.profile(about).await;
        let claimed = Profile {
            role: belief.identity.role.clone(),
            name: belief.identity.name.clone(),
        };
        let account = belief.identity.account.clone();
        Ok(Arc::new(self.identity(account, claimed.or(asked))))
    }

    /// What is believed of `credential`: for a minute, and never longer than it is good or its key is there.
    async fn belief(
        &self,
        credential: &Credential,
        print: Print,
    ) -> Result<Arc<Belief>, AuthError> {
        let believed = self.believed.get(print);
        if let Some(belief) = believed.filter(|belief| self.is_current(belief)) {
            return Ok(belief);
        }
        let belief = Arc::new(self.verify(credential).await?);
        self.believed.insert(print, Arc::clone(&belief));
        Ok(belief)
    }

    fn is_current(&self, belief: &Belief) -> bool {
        self.clock.tick() < belief.until
            && self.clock.now() < belief.ends
            && self.trusts[belief.trust].generation() == Some(belief.generation)
    }

    async fn verify(&self, credential: &Credential) -> Result<Belief, AuthError> {
        let token = Compact::read(credential.expose())?;
        let issuer = claims::issuer(&token.claims)?;
        let is_theirs = |(_, trust): &(usize, &Trust)| *trust.rules.issuer == *issuer;
        let theirs: Vec<_> = self.trusts.iter().enumerate().filter(is_theirs).collect();
        if theirs.is_empty() {
            return Err(AuthError::Rejected("its issuer is not known"));
        }
        let not_theirs = AuthError::Forged("its algorithm is not one of its issuer's");
        let Some(algorithm) = token.algorithm else {
            return Err(not_theirs);
        };
        let mut refused = None;
        for (nth, trust) in theirs {
            if !trust.rules.algorithms.contains(&algorithm) {
                continue;
            }
            match trust.verify(&token, algorithm, self.clock.now()).await {
                Ok(verified) => return Ok(self.learn(nth, &token.claims, verified)),
                Err(error) => refused = Some(excuse(refused, error)),
            }
        }
        Err(refused.unwrap_or(not_theirs))
    }

    fn learn(&self, nth: usize, claims: &Value, verified: Verified) -> Belief {
        let (trust, found) = (&self.trusts[nth], verified.found);
        let claimed = Profile {
            role: profile::role(claims, trust.rules.role_pointer.as_deref()),
            name: profile::name(claims, trust.rules.name_pointer.as_deref()),
        };
        let account = self.naming.account(&trust.rules.issuer, &found.subject);
        let lookup = trust.lookup.as_ref();
        let asks = lookup.is_some_and(|lookup| lookup.completes(&claimed));
        let identity = if asks {
            unfinished(account, claimed)
        } else {
            self.identity(account, claimed)
        };
        Belief {
            trust: nth,
            generation: verified.generation,
            until: self.clock.tick().plus(BELIEVED),
            ends: found.ends,
            subject: found.subject,
            identity: Arc::new(identity),
            asks,
        }
    }

    fn identity(&self, account: Account, mut profile: Profile) -> Identity {
        profile.role = profile.role.or_else(|| self.default_role.clone());
        unfinished(account, profile)
    }

    /// Whether the keys of all issuers are at hand.
    pub fn condition(&self) -> KeysCondition {
        self.conditions()
            .max()
            .unwrap_or(KeysCondition::Operational)
    }

    /// True once at least one issuer's keys were there, or none need to be fetched.
    pub fn is_ready(&self) -> bool {
        self.trusts.is_empty()
            || self
                .conditions()
                .any(|condition| condition != KeysCondition::Down)
    }

    /// The condition of each issuer, which is that of its best entry: it signs with one algorithm, and publishes no key
    /// for the others that it might have chosen.
    fn conditions(&self) -> impl Iterator<Item = KeysCondition> {
        self.trusts.iter().filter_map(|one| {
            let theirs = self.trusts.iter().filter(|other| one.is_beside(other));
            theirs.map(Trust::condition).min()
        })
    }

    /// Fetches keys that are missing or about to be stale. To be called about once a second, off the request path: it
    /// does nothing unless something is due, which is at most every 30 seconds. Cancel-safe: what was begun goes on.
    pub async fn keep_fresh(&self) {
        let published = self.trusts.iter().filter_map(Trust::published);
        let begun: Vec<_> = published.map(jwks::Jwks::keep_fresh).collect();
        for landing in begun {
            land(landing).await;
        }
    }

    /// Fetches the keys of all issuers now, one after the other: how many of each can be used, by all of its entries
    /// together.
    pub async fn check_issuers(&self) -> Vec<(Arc<str>, Result<usize, FetchError>)> {
        let mut checked: Vec<(Arc<str>, _)> = Vec::with_capacity(self.trusts.len());
        for trust in &self.trusts {
            let (issuer, found) = (&trust.rules.issuer, trust.check().await);
            match checked.iter_mut().find(|(known, _)| known == issuer) {
                Some((_, sum)) => *sum = together(*sum, found),
                None => checked.push((Arc::clone(issuer), found)),
            }
        }
        checked
    }

    /// How many look-ups failed since the start. Their identities had the default role.
    pub fn failed_lookups(&self) -> u64 {
        let lookups = self.trusts.iter().filter_map(|trust| trust.lookup.as_ref());
        lookups.map(lookup::LookUp::failed).sum()
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

/// What two entries of one issuer found: why there are no keys counts only where there are none.
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

/// The error that speaks better of the caller: with several entries for one issuer, one of them knows it best.
fn excuse(one: Option<AuthError>, other: AuthError) -> AuthError {
    let rank = |error: &AuthError| match error {
        AuthError::Malformed => 0,
        AuthError::Forged(_) => 1,
        AuthError::Rejected(_) => 2,
        AuthError::Unavailable { .. } => 3,
    };
    one.filter(|one| rank(one) > rank(&other)).unwrap_or(other)
}
