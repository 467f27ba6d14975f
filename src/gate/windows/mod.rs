//! The contract of the windows behind the gate: counted in memory, on Redis, or both.

pub mod memory;
pub mod redis;
pub mod share;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::claims::Claims;
use super::limits::Limit;
use crate::clock::Tick;
use crate::domain::{Party, Rate};
use crate::limit::{Block, Key, Offence, Tolerance, Verdict};

pub use memory::MemoryWindows;

/// How much of a limit is left after a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The limit.
    pub limit: Limit,
    /// What it allows.
    pub rate: Rate,
    /// Places that are left.
    pub remaining: u32,
    /// Whether the request itself found no place.
    pub is_full: bool,
    /// Time until at least one more place is free. After a refusal this is the wait.
    pub resets_in: Duration,
}

impl Standing {
    fn of(limit: Limit, rate: Rate, verdict: Verdict) -> Self {
        Self {
            limit,
            rate,
            remaining: verdict.remaining.unwrap_or(0),
            is_full: !verdict.is_free(),
            resets_in: verdict.resets_in,
        }
    }
}

/// The answer to one request.
#[derive(Debug)]
pub enum Decision {
    /// The request was counted under every claim.
    Admitted {
        /// The claim with the fewest places left, of those that callers are told about.
        tightest: Option<Standing>,
        /// Gives exactly these places back.
        receipt: Receipt,
    },
    /// At least one window is full. Nothing was counted.
    Refused(Refused),
    /// The party is blocked. Nothing was counted.
    Blocked {
        /// The time that the block has left.
        wait: Duration,
    },
}

/// Why windows refused a request.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The full window with the longest wait. After that wait it has a free place, unless another
    /// request of the same key took it.
    pub standing: Standing,
    /// All limits whose windows are full.
    pub full: Vec<Limit>,
    /// Whether the refusal comes from this replica's share while Redis is, or lately was, unreachable.
    /// The limit itself may have room, so the refusal is no offence.
    pub is_share: bool,
}

/// The places that one admitted request took. They stay taken when the receipt is dropped.
#[derive(Clone, Debug, Default)]
pub struct Receipt(BTreeMap<Limit, Place>);

/// A place in one window.
#[derive(Clone, Copy, Debug)]
struct Place {
    key: Key,
    /// When the place was taken in this process' memory, if it was taken there.
    local: Option<Tick>,
    /// The stamp on Redis in microseconds of its clock, if the place was taken there.
    shared: Option<u64>,
}

impl Receipt {
    /// Returns whether the receipt is for no place at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the part of the receipt for the limits that `chosen` accepts. The other places stay
    /// taken.
    #[must_use]
    pub fn only(mut self, chosen: impl Fn(Limit) -> bool) -> Self {
        self.0.retain(|limit, _| chosen(*limit));
        self
    }
}

/// Redis could not be asked, and the settings say that requests are refused then.
#[derive(Debug, thiserror::Error)]
#[error("the windows of the limits could not be asked")]
pub struct WindowsError(#[from] redis::LinkError);

/// Counts requests in windows, and offences of parties.
///
/// * Never more than a limit's rate is admitted under one key in any half-open stretch as long as its
///   window: an admission at `t` gives its place back exactly at `t + window`.
/// * Memory is bounded. Nobody's flood makes the windows forget a key that is limited or a party that
///   is blocked.
/// * Every method is cancel-safe: it happens entirely or not at all. Where Redis is asked and memory
///   counts along, one of them may have counted and the other not: too much then, never too little.
#[async_trait]
pub trait Windows: Send + Sync {
    /// Decides about a request in one atomic step: is `party` blocked, has every claim's window a free
    /// place, then take all of them. `None` stands for a caller who is never blocked.
    async fn decide(&self, party: Option<Party>, claims: &Claims)
    -> Result<Decision, WindowsError>;

    /// Gives back what an admitted request took.
    async fn release(&self, receipt: &Receipt) -> Result<(), WindowsError>;

    /// Adds an offence to the score of `party`, unless it is within the tolerance. Returns the block
    /// if exactly this offence earned one. While blocked, a party has no score, and no offence
    /// prolongs the block.
    async fn offend(
        &self,
        party: Party,
        offence: (Offence, Option<Tolerance>),
    ) -> Result<Option<Block>, WindowsError>;

    /// Returns at most `most` blocks in force, the longest first.
    async fn blocks(&self, most: usize) -> Result<Vec<Block>, WindowsError>;

    /// Ends the block of `party`, and forgets its score and earlier blocks. Returns whether it was
    /// blocked.
    async fn lift(&self, party: Party) -> Result<bool, WindowsError>;

    /// Returns false while some callers are only estimated, or while Redis is unreachable.
    fn is_exact(&self) -> bool;

    /// Returns how often Redis failed since the start; `None` where it is not used.
    fn failures(&self) -> Option<u64> {
        None
    }
}

/// Returns the tightest standing of those that callers are told about; the refusal when a window is
/// full.
fn outcome(standings: Vec<Standing>) -> Result<Option<Standing>, Refused> {
    let (full, free): (Vec<_>, Vec<_>) = standings.into_iter().partition(|one| one.is_full);
    match full.iter().rev().max_by_key(|one| one.resets_in) {
        None => {
            let told = free.into_iter().filter(|one| one.limit.row().is_told());
            Ok(told.min_by_key(|one| one.remaining))
        }
        Some(standing) => Err(Refused {
            standing: *standing,
            full: full.iter().map(|one| one.limit).collect(),
            is_share: false,
        }),
    }
}
