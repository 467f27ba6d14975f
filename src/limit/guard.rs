//! Turns offences into scores, and full scores into timed blocks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde::Deserialize;

use super::blocks::Blocks;
use super::refusals::Refusals;
use super::scores::{self, Points, Scores};
use super::{Block, Offence, Tolerance, Weights};
use crate::clock::{Clock, Tick};
use crate::domain::Party;
use crate::domain::written::{fraction, lasting, whole};

/// In milliseconds.
const DAY: u64 = 86_400_000;
const WEEK: u64 = 7 * DAY;

/// When offences become a block, and for how long.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct GuardRules {
    /// The score that earns a block. Scores count in thousandths of a point.
    #[serde(deserialize_with = "fraction::<100, 1_000_000, _>")]
    pub threshold: f64,
    /// How long a score of `threshold` takes to drain, in twelve equal steps.
    #[serde(deserialize_with = "lasting::<1_000, DAY, _>")]
    pub decay: Duration,
    /// How long the first block lasts; each repetition doubles it.
    #[serde(deserialize_with = "lasting::<1_000, WEEK, _>")]
    pub block: Duration,
    /// The longest block, and how long after its end a repetition is still remembered.
    #[serde(deserialize_with = "lasting::<1_000, WEEK, _>")]
    pub block_max: Duration,
    /// Upper bound on the scores and on the blocks that are remembered.
    #[serde(deserialize_with = "whole::<1, 16_777_216, _, _>")]
    pub capacity: usize,
    /// Points per offence.
    pub weights: Weights,
}

impl GuardRules {
    /// Returns the score that earns a block, in thousandths.
    pub(crate) fn full(&self) -> u32 {
        thousandths(self.threshold)
    }

    /// Returns what `offence` adds, in thousandths.
    pub(crate) fn points(&self, offence: Offence) -> u32 {
        thousandths(self.weights.of(offence))
    }

    /// Returns how a score drains: thousandths for each step, and the step's length.
    pub(crate) fn draining(&self) -> (u32, Duration) {
        scores::draining(self.full(), self.decay)
    }
}

/// The scores and blocks of one process. Locks are taken in the order of the fields.
#[derive(Debug)]
pub struct Guard {
    rules: GuardRules,
    refusals: Mutex<Refusals>,
    scores: Mutex<Scores>,
    blocks: RwLock<Blocks>,
    /// When the last of all blocks ends, in nanoseconds; 0 before the first block.
    last_end: AtomicU64,
}

impl Guard {
    /// Returns a guard without scores and blocks.
    pub fn new(rules: GuardRules) -> Self {
        let full = rules.full();
        Self {
            refusals: Mutex::new(Refusals::new(rules.capacity)),
            scores: Mutex::new(Scores::new(rules.capacity, full, rules.decay)),
            blocks: RwLock::new(Blocks::new(rules.capacity, rules.block, rules.block_max)),
            last_end: AtomicU64::new(0),
            rules,
        }
    }

    /// Returns how long `party` is still blocked. While nobody is blocked, this skips clock and lock.
    pub fn blocked(&self, party: Party, clock: &dyn Clock) -> Option<Duration> {
        let last_end = self.last_end.load(Ordering::Acquire);
        if last_end == 0 {
            return None;
        }
        let now = clock.tick();
        if now.as_nanos() >= last_end {
            return None;
        }
        self.blocks.read().left(party, now)
    }

    /// Adds an offence of `party`, unless it is within `tolerance`. Returns the block if exactly this
    /// offence earned one.
    pub fn offend(
        &self,
        party: Party,
        (offence, tolerance): (Offence, Option<Tolerance>),
        now: Tick,
    ) -> Option<Block> {
        let points = Points {
            thousandths: self.rules.points(offence),
            rarely: offence == Offence::RateLimited,
        };
        let is_tolerated =
            tolerance.is_some_and(|given| !self.refusals.lock().is_beyond(party, given, now));
        if points.thousandths == 0 || is_tolerated {
            return None;
        }
        let mut scores = self.scores.lock();
        if self.blocks.read().left(party, now).is_some() {
            return None;
        }
        if scores.add(party, points, now) < self.rules.full() {
            return None;
        }
        scores.remove(party);
        let block = self.blocks.write().add(party, now)?;
        self.note_end(now.plus(block.lasts));
        Some(block)
    }

    /// Blocks `party` for `lasts`, as another replica has decided, if there is room.
    pub fn adopt(&self, party: Party, lasts: Duration, now: Tick) {
        let ends = now.plus(lasts);
        if self.blocks.write().adopt(party, ends, now) {
            self.note_end(ends);
        }
    }

    /// Ends the block of `party` and forgets its score and earlier blocks. Returns whether it was
    /// blocked.
    pub fn lift(&self, party: Party, now: Tick) -> bool {
        self.scores.lock().remove(party);
        self.blocks.write().lift(party, now)
    }

    /// Returns at most `most` blocks in force, the longest first.
    pub fn in_force(&self, most: usize, now: Tick) -> Vec<Block> {
        self.blocks.read().in_force(now).take(most).collect()
    }

    /// Forgets what no longer matters.
    pub fn sweep(&self, now: Tick) {
        self.refusals.lock().sweep(now);
        self.scores.lock().sweep(now);
        self.blocks.write().sweep(now);
    }

    /// Returns the number of parties that have a score.
    pub fn scores(&self) -> usize {
        self.scores.lock().len()
    }

    fn note_end(&self, ends: Tick) {
        self.last_end.fetch_max(ends.as_nanos(), Ordering::AcqRel);
    }
}

/// Returns points in whole thousandths: at least 0, at most what fits.
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
