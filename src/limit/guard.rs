//! Turns offences into scores, and full scores into timed blocks.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer};

use super::blocks::Blocks;
use super::scores::{Draining, Scores};
use super::{Block, Offence, Tolerance};
use crate::clock::Tick;
use crate::domain::Party;
use crate::domain::written::{fraction, lasting, whole};

/// In milliseconds.
const DAY: u64 = 86_400_000;
const WEEK: u64 = 7 * DAY;

/// Points for an offence, in thousandths, so that sums are exact. 0 forgives the offence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Points(#[serde(deserialize_with = "thousandths::<0, _>")] pub u32);

/// When offences become a block, and for how long.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct GuardRules {
    /// The score that earns a block, in thousandths of a point.
    #[serde(deserialize_with = "thousandths::<100, _>")]
    pub threshold: u32,
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
    /// Points for each offence.
    #[serde(deserialize_with = "weights")]
    pub weights: BTreeMap<Offence, Points>,
}

impl GuardRules {
    /// Returns what `offence` adds, in thousandths.
    pub(crate) fn points(&self, offence: Offence) -> u32 {
        self.weights.get(&offence).map_or(0, |points| points.0)
    }

    /// Returns how a score drains.
    pub(crate) fn draining(&self) -> Draining {
        Draining::of(self.threshold, self.decay)
    }
}

/// The scores and blocks of one process. Locks are taken in the order of the fields.
#[derive(Debug)]
pub struct Guard {
    rules: GuardRules,
    scores: Mutex<Scores>,
    blocks: RwLock<Blocks>,
}

impl Guard {
    /// Returns a guard without scores and blocks.
    pub fn new(rules: GuardRules) -> Self {
        Self {
            scores: Mutex::new(Scores::new(rules.capacity, rules.draining())),
            blocks: RwLock::new(Blocks::new(rules.capacity, rules.block, rules.block_max)),
            rules,
        }
    }

    /// Returns how long `party` is still blocked.
    pub fn blocked(&self, party: Party, now: Tick) -> Option<Duration> {
        self.blocks.read().left(party, now)
    }

    /// Adds an offence of `party`, unless it is within its tolerance. Returns the block if exactly this
    /// offence earned one.
    pub fn offend(
        &self,
        party: Party,
        (offence, tolerance): (Offence, Option<Tolerance>),
        now: Tick,
    ) -> Option<Block> {
        let points = self.rules.points(offence);
        let mut scores = self.scores.lock();
        if points == 0 || self.blocked(party, now).is_some() {
            return None;
        }
        if scores.add(party, (points, offence, tolerance), now) < self.rules.threshold {
            return None;
        }
        scores.reset(party);
        self.blocks.write().add(party, now)
    }

    /// Blocks `party` for `lasts`, as another replica has decided, if there is room.
    pub fn adopt(&self, party: Party, lasts: Duration, now: Tick) {
        self.blocks.write().adopt(party, now.plus(lasts), now);
    }

    /// Ends the block of `party` and forgets its score and earlier blocks. Returns whether it was
    /// blocked.
    pub fn lift(&self, party: Party, now: Tick) -> bool {
        self.scores.lock().remove(party);
        self.blocks.write().lift(party, now)
    }

    /// Returns at most `most` blocks in force, the longest first.
    pub fn in_force(&self, most: usize, now: Tick) -> Vec<Block> {
        self.blocks.read().in_force(most, now)
    }

    /// Forgets what no longer matters.
    pub fn sweep(&self, now: Tick) {
        self.scores.lock().sweep(now);
        self.blocks.write().sweep(now);
    }

    /// Returns the number of parties that have a score.
    pub fn scores(&self) -> usize {
        self.scores.lock().len()
    }
}

/// Reads points as whole thousandths, from `LEAST` of them to a thousand points.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the number is within its bounds"
)]
fn thousandths<'de, const LEAST: u32, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let points = fraction::<LEAST, 1_000_000, _>(from)?;
    Ok((points * 1000.0).round() as u32)
}

/// Reads points by the names of offences. The names are read as texts first, so that an error can say
/// which of them has the wrong points.
fn weights<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Offence, Points>, D::Error> {
    let named: BTreeMap<String, Points> = Deserialize::deserialize(from)?;
    let weights = named.into_iter().map(|(name, points)| {
        let offence = Offence::deserialize(name.into_deserializer())?;
        Ok((offence, points))
    });
    weights.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_counted_in_thousandths_within_their_bounds() {
        for (points, counted) in [
            ("0.25", Some(250)),
            ("3", Some(3_000)),
            ("0.30000000000000004", Some(300)),
            ("0", Some(0)),
            ("1000", Some(1_000_000)),
            ("-1", None),
            ("1000.001", None),
        ] {
            let read = serde_json::from_str::<Points>(points).ok();
            assert_eq!(read.map(|points| points.0), counted, "{points}");
        }
    }
}
