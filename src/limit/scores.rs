//! Adds offences up to scores, which drain over time.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Tick;
use crate::domain::Party;

/// Steps in which a full score drains.
const STEPS: u32 = 12;
/// Least time between two refusals of one party that count as offences.
pub(crate) const RARELY: Duration = Duration::from_secs(1);

/// Returns how `full` thousandths drain in `decay`: thousandths for each step, and the step's length.
pub(super) fn draining(full: u32, decay: Duration) -> (u32, Duration) {
    let step = (decay / STEPS).max(Duration::from_nanos(1));
    (full.div_ceil(STEPS).max(1), step)
}

/// What one offence adds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Points {
    /// Thousandths of a point.
    pub(super) thousandths: u32,
    /// Whether at most one such offence a second counts.
    pub(super) rarely: bool,
}

/// One party's score.
#[derive(Clone, Copy, Debug)]
struct Score {
    thousandths: u32,
    /// Start of the next step of draining.
    drained: Tick,
    /// When an offence that counts once a second last counted.
    rare: Option<Tick>,
}

/// The scores of all parties that have one.
#[derive(Debug)]
pub(super) struct Scores {
    of: HashMap<Party, Score>,
    capacity: usize,
    /// Thousandths that drain in one step.
    drains: u32,
    step: Duration,
    looks_again: Tick,
}

impl Scores {
    /// Returns an empty table for `capacity` scores, of which `full` thousandths drain in `decay`.
    pub(super) fn new(capacity: usize, full: u32, decay: Duration) -> Self {
        let (drains, step) = draining(full, decay);
        Self {
            of: HashMap::new(),
            capacity,
            drains,
            step,
            looks_again: Tick::default(),
        }
    }

    /// Adds an offence and returns the new score. A newcomer to a full table is not remembered.
    pub(super) fn add(&mut self, party: Party, points: Points, now: Tick) -> u32 {
        let known = self.of.get(&party).copied();
        let mut score = known.unwrap_or(Score {
            thousandths: 0,
            drained: now,
            rare: None,
        });
        self.drain(&mut score, now);
        if points.rarely {
            if score.rare.is_some_and(|rare| now.since(rare) < RARELY) {
                return score.thousandths;
            }
            score.rare = Some(now);
        }
        score.thousandths = score.thousandths.saturating_add(points.thousandths);
        if known.is_some() || self.has_room(now) {
            self.of.insert(party, score);
        }
        score.thousandths
    }

    /// Forgets the score of `party`.
    pub(super) fn remove(&mut self, party: Party) {
        self.of.remove(&party);
    }

    /// Returns the number of scores that are remembered.
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// Forgets what has drained and gives its memory back.
    pub(super) fn sweep(&mut self, now: Tick) {
        self.forget_drained(now);
        if self.of.len() < self.of.capacity() / 4 {
            self.of.shrink_to_fit();
        }
    }

    fn has_room(&mut self, now: Tick) -> bool {
        // Between two steps hardly any score drains, so a flood of newcomers must not burn time here.
        if self.of.len() >= self.capacity && now >= self.looks_again {
            self.looks_again = now.plus(self.step);
            self.forget_drained(now);
        }
        self.of.len() < self.capacity
    }

    fn forget_drained(&mut self, now: Tick) {
        let mut scores = std::mem::take(&mut self.of);
        scores.retain(|_, score| {
            self.drain(score, now);
            let counted_lately = score.rare.is_some_and(|rare| now.since(rare) < RARELY);
            score.thousandths > 0 || counted_lately
        });
        self.of = scores;
    }

    fn drain(&self, score: &mut Score, now: Tick) {
        let passed = now.since(score.drained).as_nanos() / self.step.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        score.thousandths = score
            .thousandths
            .saturating_sub(self.drains.saturating_mul(passed));
        score.drained = if score.thousandths == 0 {
            now
        } else {
            score.drained.plus(self.step.saturating_mul(passed))
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Network;

    const FULL: u32 = 3_000;
    const DECAY: Duration = Duration::from_mins(10);

    fn party(host: u32) -> Party {
        Party::Network(Network::of(std::net::Ipv4Addr::from_bits(host).into()))
    }

    fn at(seconds: u64) -> Tick {
        Tick::from_duration(Duration::from_secs(seconds))
    }

    const fn points(thousandths: u32) -> Points {
        Points {
            thousandths,
            rarely: false,
        }
    }

    #[test]
    fn a_score_drains_in_twelve_equal_steps() {
        let mut scores = Scores::new(10, FULL, DECAY);
        assert_eq!(scores.add(party(1), points(2_750), at(7)), 2_750);
        for (seconds, left) in [
            (56, 2_750),
            (57, 2_500),
            (106, 2_500),
            (107, 2_250),
            (556, 250),
            (557, 0),
            (9999, 0),
        ] {
            assert_eq!(
                scores.add(party(1), points(0), at(seconds)),
                left,
                "{seconds}"
            );
        }
        assert_eq!(scores.add(party(1), points(500), at(10_000)), 500);
        assert_eq!(scores.add(party(1), points(0), at(10_049)), 500);
        assert_eq!(scores.add(party(1), points(0), at(10_050)), 250);
    }

    #[test]
    fn a_rare_offence_counts_once_a_second() {
        let mut scores = Scores::new(10, FULL, DECAY);
        let rare = Points {
            thousandths: 1_000,
            rarely: true,
        };
        let millis = |millis| Tick::from_duration(Duration::from_millis(millis));
        assert_eq!(scores.add(party(1), rare, millis(0)), 1_000);
        assert_eq!(scores.add(party(1), rare, millis(999)), 1_000);
        assert_eq!(scores.add(party(1), points(250), millis(999)), 1_250);
        assert_eq!(scores.add(party(1), rare, millis(1_000)), 2_250);
        assert_eq!(scores.add(party(2), rare, millis(1_000)), 1_000);
    }

    #[test]
    fn a_full_table_forgets_what_has_drained_before_it_turns_newcomers_away() {
        let mut scores = Scores::new(2, FULL, DECAY);
        scores.add(party(1), points(2_750), at(0));
        scores.add(party(2), points(250), at(0));
        assert_eq!(scores.add(party(3), points(1_000), at(1)), 1_000);
        assert_eq!(scores.add(party(3), points(1_000), at(2)), 1_000);
        assert_eq!(scores.len(), 2);
        assert_eq!(scores.add(party(3), points(1_000), at(60)), 1_000);
        assert_eq!(scores.add(party(3), points(1_000), at(61)), 2_000);
        assert_eq!(scores.add(party(1), points(0), at(61)), 2_500);
        assert_eq!(scores.len(), 2);
        scores.sweep(at(10_000));
        assert_eq!(scores.len(), 0);
    }
}
