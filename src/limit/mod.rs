//! Owns the rules of limiting: who has had enough, and who is not heard at all.

mod blocks;
pub(crate) mod claims;
mod guard;
mod memory;
mod scores;
mod sketch;
mod table;
mod window;

#[cfg(test)]
mod scenarios;

use std::net::IpAddr;
use std::num::NonZeroU64;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{IdentityKey, Network, Rate};

pub use memory::MemoryLimits;
pub(crate) use scores::RARELY;
pub(crate) use window::Verdict;

/// One rule: at most so many per key in any stretch as long as the window.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// What callers and gauges call it.
    pub name: &'static str,
    /// How many, in how long.
    pub rate: Rate,
    /// Keys remembered exactly; beyond them strangers are estimated, never too low.
    pub capacity: usize,
    /// True when everybody counts under the same key: how that stands is not told to those who are let through.
    pub is_shared: bool,
}

/// A policy's place in the list that a store was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(usize);

impl PolicyId {
    /// The policy at `place`, counted from 0.
    pub const fn at(place: usize) -> Self {
        Self(place)
    }

    /// Its place, counted from 0.
    pub(crate) const fn place(self) -> usize {
        self.0
    }
}

/// What is counted: a network, or 128 bits that stand for something else, like a keyed hash of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64, u64);

impl Key {
    /// The key that everybody counts under.
    pub const EVERYBODY: Self = Self(0, 0);

    /// The key made of these bits.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub const fn from_bits(bits: u128) -> Self {
        Self((bits >> 64) as u64, bits as u64)
    }

    /// The bits it is made of.
    pub(crate) const fn to_bits(self) -> u128 {
        (self.0 as u128) << 64 | self.1 as u128
    }
}

impl From<IdentityKey> for Key {
    fn from(identity: IdentityKey) -> Self {
        Self::from_bits(identity.to_bits())
    }
}

impl From<Network> for Key {
    fn from(network: Network) -> Self {
        Self::from_bits(network.to_bits())
    }
}

/// Most claims one request may make.
pub const MOST_CLAIMS: usize = 6;

/// One key under one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The rule.
    pub policy: PolicyId,
    /// Who it is applied to.
    pub key: Key,
}

/// Where a key stands under a policy after a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The policy's name.
    pub policy: &'static str,
    /// What it allows.
    pub rate: Rate,
    /// Places left.
    pub remaining: u32,
    /// How long until at least one more place than `remaining` is free: until the oldest admission that counts
    /// leaves the window. After a refusal this is the wait.
    pub resets_in: Duration,
}

/// What becomes of a request.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most decisions admit; a box would be an allocation for each of them"
)]
pub enum Decision {
    /// It was counted under every claim.
    Admitted {
        /// The claim with the fewest places left, of those that are the caller's own; `None` when there were none.
        tightest: Option<Standing>,
        /// Gives exactly these places back.
        receipt: Receipt,
    },
    /// At least one policy has no place; nothing was counted.
    Refused {
        /// Where it stands under the policy with the longest wait.
        standing: Standing,
        /// Exact and sufficient: after it there is a place, unless somebody else with the same key took it.
        wait: Duration,
        /// True when it is only the share of a replica that goes, or lately went, by itself: the limit may have places, so
        /// the caller has done nothing wrong.
        is_share: bool,
    },
    /// The address is under a block; nothing was counted.
    Blocked {
        /// How long the block still lasts.
        wait: Duration,
    },
}

/// The places that one admitted request took. Dropped, they stay taken.
#[derive(Debug)]
pub struct Receipt {
    /// When they were taken in this process' memory, in nanoseconds of its clock; `None` when they were not.
    taken: Option<NonZeroU64>,
    places: [Option<Place>; MOST_CLAIMS],
}

impl Receipt {
    /// For places that were taken in a store that replicas share, each at its stamp.
    pub(crate) fn shared(taken: impl Iterator<Item = (Claim, u64)>) -> Self {
        let mut places = [None; MOST_CLAIMS];
        for (place, (claim, stamp)) in places.iter_mut().zip(taken) {
            *place = Some(Place {
                claim,
                estimated: false,
                shared: NonZeroU64::new(stamp),
            });
        }
        Self {
            taken: None,
            places,
        }
    }

    /// The same places, taken in a store that replicas share as `other` says, too.
    #[must_use]
    pub(crate) fn and_in(mut self, other: &Self) -> Self {
        for place in self.places.iter_mut().flatten() {
            let mut theirs = other.places.iter().flatten();
            let same = theirs.find(|theirs| theirs.claim == place.claim);
            place.shared = same.and_then(|theirs| theirs.shared);
        }
        self
    }

    /// What was taken in a store that replicas share, and at which stamp of it.
    pub(crate) fn shared_places(&self) -> impl Iterator<Item = (Claim, u64)> {
        let places = self.places.iter().flatten();
        places.filter_map(|place| Some((place.claim, place.shared?.get())))
    }

    /// The same receipt: places are given back once, in whatever stores they were taken.
    pub(crate) const fn again(&self) -> Self {
        Self {
            taken: self.taken,
            places: self.places,
        }
    }

    /// The part of it under the policies that `chosen` says yes to. The other places stay taken.
    #[must_use]
    pub fn only(mut self, chosen: impl Fn(PolicyId) -> bool) -> Self {
        for place in &mut self.places {
            place.take_if(|place| !chosen(place.claim.policy));
        }
        self
    }
}

/// One place taken: exact, or in an estimate.
#[derive(Clone, Copy, Debug)]
struct Place {
    claim: Claim,
    estimated: bool,
    /// When it was taken in a store that replicas share, in microseconds of its clock; `None` when it was not.
    shared: Option<NonZeroU64>,
}

/// Something that adds to an address's score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// Refused by a window; at most one a second counts.
    RateLimited,
    /// Asked with somebody else's session.
    ForeignSession,
    /// Sent what is not a request.
    Malformed,
    /// Showed a credential that only forgers show.
    ForgedCredential,
    /// Called from an origin that may not. Not for what a foreign page made an innocent browser send.
    WrongOrigin,
}

impl Offence {
    /// What a record calls it; the same word as its setting.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::ForeignSession => "foreign_session",
            Self::Malformed => "malformed",
            Self::ForgedCredential => "forged_credential",
            Self::WrongOrigin => "wrong_origin",
        }
    }
}

/// Points per offence. 0 changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// Of [`Offence::RateLimited`].
    pub rate_limited: f64,
    /// Of [`Offence::ForeignSession`].
    pub foreign_session: f64,
    /// Of [`Offence::ForgedCredential`].
    pub forged_credential: f64,
    /// Of [`Offence::Malformed`].
    pub malformed: f64,
    /// Of [`Offence::WrongOrigin`].
    pub wrong_origin: f64,
}

impl Weights {
    /// The points for `offence`.
    pub const fn of(&self, offence: Offence) -> f64 {
        match offence {
            Offence::RateLimited => self.rate_limited,
            Offence::ForeignSession => self.foreign_session,
            Offence::ForgedCredential => self.forged_credential,
            Offence::Malformed => self.malformed,
            Offence::WrongOrigin => self.wrong_origin,
        }
    }
}

/// When offences become a block, and for how long.
#[derive(Clone, Debug)]
pub struct GuardRules {
    /// The score that earns a block. Scores count in thousandths of a point.
    pub threshold: f64,
    /// How long a score of `threshold` takes to drain, in twelve equal steps.
    pub decay: Duration,
    /// How long the first block lasts; each repetition doubles it.
    pub block: Duration,
    /// How long a block lasts at most, and for how long after it a repetition is remembered.
    pub block_max: Duration,
    /// Addresses that are never blocked and have no score. IPv4 in its plain form.
    pub never_block: Vec<ipnet::IpNet>,
    /// Most scores, and most blocks, that are remembered.
    pub capacity: usize,
    /// Points per offence.
    pub weights: Weights,
}

/// A timed refusal that an offence has just earned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Who is refused.
    pub network: Network,
    /// For how long, from now.
    pub lasts: Duration,
    /// How many blocks before this one are remembered; 0 for the first.
    pub repetition: u32,
}

/// The limits could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("the limits could not be asked")]
pub struct LimitError {
    is_unreachable: bool,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl LimitError {
    /// Because of `source`.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            is_unreachable: false,
            source: source.into(),
        }
    }

    /// Because what they are kept in cannot be reached.
    pub fn unreachable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            is_unreachable: true,
            source: source.into(),
        }
    }

    /// True when what they are kept in cannot be reached: nobody's mistake, and it passes.
    pub const fn is_unreachable(&self) -> bool {
        self.is_unreachable
    }
}

/// Counts requests against policies, and offences against addresses.
///
/// * Never more than a policy's limit is admitted under one key in any half-open stretch as long as its window: an
///   admission at `t` gives its place back exactly at `t + window`.
/// * Memory is bounded. Strangers beyond a policy's capacity share estimates, which may refuse too early and never too
///   late. Nobody's flood makes the store forget a key that is limited or an address that is blocked.
/// * An address has one score and one block per [`Network::of`].
/// * The claims of one request, at most [`MOST_CLAIMS`], name each policy at most once; anything else is an error.
/// * Every method is cancel-safe: it has happened entirely or not at all. Where a server is asked and memory counts along, one of
///   them may have counted and the other not: too much then, never too little.
#[async_trait]
pub trait LimitStore: Send + Sync {
    /// Hears a request from `address`: is it blocked, has every claim a place, then take them all. One atomic decision:
    /// a request that is refused or blocked takes nothing.
    async fn decide(&self, address: IpAddr, claims: &[Claim]) -> Result<Decision, LimitError>;

    /// Gives back what an admitted request took. For a definite failure upstream, not for an unknown outcome.
    async fn release(&self, receipt: Receipt) -> Result<(), LimitError>;

    /// Adds to the score of `address`; `Some` when exactly this offence earned a block. While blocked, an address has
    /// no score, and no offence prolongs the block.
    async fn offend(&self, address: IpAddr, offence: Offence) -> Result<Option<Block>, LimitError>;

    /// False while some callers are only estimated, and may be refused too early.
    fn is_exact(&self) -> bool;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> Key {
        Network::of(address.parse().unwrap()).into()
    }

    #[test]
    fn networks_are_different_keys_exactly_when_they_are_different_networks() {
        let wide = |address: &str| Key::from(Network::around(address.parse().unwrap()));
        assert_eq!(key("2001:db8::1"), key("2001:db8::2"));
        assert_ne!(key("2001:db8::1"), wide("2001:db8::1"));
        assert_ne!(key("203.0.113.0"), wide("203.0.113.0"));
        assert_ne!(key("0.0.0.0"), key("::"));
        assert_ne!(key("2001:db8::1"), key("2001:db9::1"));
        assert_eq!(key("::ffff:203.0.113.7"), key("203.0.113.7"));
        assert_eq!(key("64:ff9b::203.0.113.7"), key("203.0.113.7"));
    }

    #[test]
    fn a_failure_keeps_its_source() {
        let error = LimitError::new("gone");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "gone");
    }
}
