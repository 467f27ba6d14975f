//! The pure rules of limiting: sliding windows, scores of offences, timed blocks.
//!
//! * A table never admits more than its limit for one key in any half-open stretch as long as its
//!   window. An admission at `t` gives its place back exactly at `t + window`.
//! * Memory is bounded. Keys beyond a table's capacity share estimates, which may refuse too early
//!   and never too late. A flood never makes a table forget a key that is limited or a party that is
//!   blocked.

mod blocks;
mod guard;
mod overflow;
mod refusals;
mod scores;
mod table;
mod window;

use std::time::Duration;

use serde::Deserialize;

use crate::domain::written::fraction;
use crate::domain::{IdentityKey, Network, Party};

pub use guard::{Guard, GuardRules};
pub(crate) use scores::RARELY;
pub use table::{Held, Table, Taken};
pub use window::Verdict;

/// What a window belongs to: a network, or 128 bits that stand for something else, like a hash of an
/// identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64, u64);

impl Key {
    /// The key of a window that all callers share.
    pub const EVERYBODY: Self = Self(0, 0);

    /// Returns the key made of these bits.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub const fn from_bits(bits: u128) -> Self {
        Self((bits >> 64) as u64, bits as u64)
    }

    /// Returns the bits that the key is made of.
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

/// Something that adds to the score of a party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// The party kept asking after a window had refused it many times. At most one a second counts.
    RateLimited,
    /// The party sent a body that is not JSON.
    Malformed,
    /// The party showed a credential whose signature is not its issuer's.
    ForgedCredential,
    /// The party called from an origin that is not allowed, and no page can have made a browser do so.
    WrongOrigin,
}

impl Offence {
    /// Returns the name of the offence in records and in its setting.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Malformed => "malformed",
            Self::ForgedCredential => "forged_credential",
            Self::WrongOrigin => "wrong_origin",
        }
    }
}

/// Points per offence. 0 forgives the offence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// Points of [`Offence::RateLimited`].
    #[serde(deserialize_with = "fraction::<0, 1_000_000, _>")]
    pub rate_limited: f64,
    /// Points of [`Offence::ForgedCredential`].
    #[serde(deserialize_with = "fraction::<0, 1_000_000, _>")]
    pub forged_credential: f64,
    /// Points of [`Offence::Malformed`].
    #[serde(deserialize_with = "fraction::<0, 1_000_000, _>")]
    pub malformed: f64,
    /// Points of [`Offence::WrongOrigin`].
    #[serde(deserialize_with = "fraction::<0, 1_000_000, _>")]
    pub wrong_origin: f64,
}

impl Weights {
    /// Returns the points for `offence`.
    pub const fn of(&self, offence: Offence) -> f64 {
        match offence {
            Offence::RateLimited => self.rate_limited,
            Offence::ForgedCredential => self.forged_credential,
            Offence::Malformed => self.malformed,
            Offence::WrongOrigin => self.wrong_origin,
        }
    }
}

/// Refusals of a party under one limit that are no offence yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// The limit's name where counts are stored.
    pub slot: &'static str,
    /// The highest number of refusals that is no offence.
    pub refusals: u32,
    /// The stretch in which refusals are counted.
    pub window: Duration,
}

/// A timed refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Who is refused.
    pub party: Party,
    /// The time that the block has left, counted from now.
    pub lasts: Duration,
    /// How many blocks before this one are remembered; 0 for the first.
    pub repetition: u32,
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
}
