//! Owns the way from offences to blocks.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::blocks::Blocks;
use super::scores::{self, Points, Scores};
use super::{Block, GuardRules, Offence};
use crate::clock::{Clock, Tick};
use crate::domain::{Network, canonical};

/// Scores and blocks by the operator's rules. Locks are taken in the order of the fields.
#[derive(Debug)]
pub(super) struct Guard {
    rules: GuardRules,
    scores: Mutex<Scores>,
    blocks: RwLock<Blocks>,
    /// When the last of all blocks ends, in nanoseconds; 0 before the first. Nobody is blocked after it.
    last_end: AtomicU64,
}

impl Guard {
    /// No scores and no blocks.
    pub(super) fn new(rules: GuardRules) -> Self {
        let full = rules.full();
        Self {
            scores: Mutex::new(Scores::new(rules.capacity, full, rules.decay)),
            blocks: RwLock::new(Blocks::new(rules.capacity, rules.block, rules.block_max)),
            last_end: AtomicU64::new(0),
            rules,
        }
    }

    /// How long `address` is still blocked. Does not even ask for the time before the first block.
    pub(super) fn blocked(&self, address: IpAddr, clock: &dyn Clock) -> Option<Duration> {
        let last_end = self.last_end.load(Ordering::Acquire);
        if last_end == 0 {
            return None;
        }
        let now = clock.tick();
        if now.as_nanos() >= last_end {
            return None;
        }
        let left = self.left(Network::of(address), now)?;
        (!self.rules.is_exempt(address)).then_some(left)
    }

    /// Adds an offence of `address`; `Some` when it earned a block.
    pub(super) fn offend(&self, address: IpAddr, offence: Offence, now: Tick) -> Option<Block> {
        let points = Points {
            thousandths: self.rules.points(offence),
            rarely: offence == Offence::RateLimited,
        };
        if points.thousandths == 0 || self.rules.is_exempt(address) {
            return None;
        }
        let network = Network::of(address);
        let mut scores = self.scores.lock().unwrap_or_else(PoisonError::into_inner);
        if self.left(network, now).is_some() {
            return None;
        }
        let score = scores.add(network, points, now);
        if score < self.rules.full() {
            return None;
        }
        scores.remove(network);
        self.block(network, now)
    }

    /// Blocks the network of `address` for so long, if there is room.
    pub(super) fn adopt(&self, address: IpAddr, lasts: Duration, now: Tick) {
        let ends = now.plus(lasts);
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        if blocks.adopt(Network::of(address), ends, now) {
            self.last_end.fetch_max(ends.as_nanos(), Ordering::AcqRel);
        }
    }

    /// Forgets what no longer matters.
    pub(super) fn sweep(&self, now: Tick) {
        self.scores
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .sweep(now);
        self.blocks
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .sweep(now);
    }

    /// Networks with a score.
    #[cfg(test)]
    pub(super) fn scores(&self) -> usize {
        self.scores
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Networks that are blocked.
    #[cfg(test)]
    pub(super) fn blocks(&self, now: Tick) -> usize {
        self.blocks
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .lasting(now)
    }

    fn left(&self, network: Network, now: Tick) -> Option<Duration> {
        self.blocks
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .left(network, now)
    }

    fn block(&self, network: Network, now: Tick) -> Option<Block> {
        let mut blocks = self.blocks.write().unwrap_or_else(PoisonError::into_inner);
        let block = blocks.add(network, now)?;
        self.last_end
            .fetch_max(now.plus(block.lasts).as_nanos(), Ordering::AcqRel);
        Some(block)
    }
}

impl GuardRules {
    /// The score that earns a block, in thousandths.
    pub(crate) fn full(&self) -> u32 {
        thousandths(self.threshold)
    }

    /// What `offence` adds, in thousandths.
    pub(crate) fn points(&self, offence: Offence) -> u32 {
        thousandths(self.weights.of(offence))
    }

    /// How a score drains: so many thousandths in each step, and how long a step is.
    pub(crate) fn draining(&self) -> (u32, Duration) {
        scores::draining(self.full(), self.decay)
    }

    /// True for an address that is never blocked.
    pub(crate) fn is_exempt(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        let mut exempt = self.never_block.iter();
        exempt.any(|network| network.contains(&address))
    }
}

/// Points in whole thousandths. At least 0, at most what fits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts from floats saturate, and make 0 of what is not a number"
)]
fn thousandths(points: f64) -> u32 {
    (points * 1000.0).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_counted_in_thousandths_whatever_they_are() {
        for (points, counted) in [
            (0.25, 250),
            (3.0, 3_000),
            (0.1 + 0.2, 300),
            (0.0, 0),
            (-1.0, 0),
            (f64::NAN, 0),
            (f64::INFINITY, u32::MAX),
        ] {
            assert_eq!(thousandths(points), counted);
        }
    }
}
