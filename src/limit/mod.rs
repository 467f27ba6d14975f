//! The pure rules of limiting: sliding windows, scores of offences, timed blocks, floods of log lines.
//!
//! * A table never admits more than its limit for one key in any half-open stretch as long as its
//!   window. An admission at `t` gives its place back exactly at `t + window`.
//! * Memory is bounded. Keys beyond a table's capacity share estimates, which may refuse too early
//!   and never too late. A flood never makes a table forget a key that is limited or a party that is
//!   blocked.

mod blocks;
mod bounded;
mod folding;
mod guard;
mod overflow;
mod scores;
mod table;
mod window;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{IdentityKey, Network, Party};

pub use folding::{Folded, Folding};
pub use guard::{Guard, GuardRules, Points};
pub(crate) use scores::RARELY;
pub use table::{Held, Table};
pub use window::Verdict;

/// What a window belongs to: a network, or 128 bits that stand for something else, like a hash of an
/// identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u128);

impl Key {
    /// The key of a window that all callers share.
    pub const EVERYBODY: Self = Self(0);

    /// Returns the key made of these bits.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Returns the bits that the key is made of.
    pub(crate) const fn to_bits(self) -> u128 {
        self.0
    }
}

impl From<IdentityKey> for Key {
    fn from(identity: IdentityKey) -> Self {
        Self(identity.to_bits())
    }
}

impl From<Network> for Key {
    fn from(network: Network) -> Self {
        Self(network.to_bits())
    }
}

impl From<Party> for Key {
    fn from(party: Party) -> Self {
        match party {
            Party::Network(network) => network.into(),
            Party::Identity(identity) => identity.into(),
        }
    }
}

/// Something that adds to the score of a party. Records and settings use the names in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
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
    /// Returns the word for it, as records and settings have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Malformed => "malformed",
            Self::ForgedCredential => "forged_credential",
            Self::WrongOrigin => "wrong_origin",
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

impl Tolerance {
    /// How many times its limit may be refused to a party in one window before that is an offence.
    const FACTOR: u32 = 10;

    /// Returns the tolerance for refusals under the limit stored as `slot`, of `limit` per `window`.
    pub const fn of(slot: &'static str, limit: u32, window: Duration) -> Self {
        Self {
            slot,
            refusals: limit.saturating_mul(Self::FACTOR),
            window,
        }
    }
}

/// A timed refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The party that is refused.
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
