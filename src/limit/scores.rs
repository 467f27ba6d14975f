//! Adds offences up to scores, which drain over time.

use std::time::Duration;

use super::bounded::Bounded;
use super::{Offence, Tolerance};
use crate::clock::Tick;
use crate::domain::Party;

/// Steps in which a full score drains.
const STEPS: u32 = 12;
/// Least time between two refusals of one party that count as offences.
pub(crate) const RARELY: Duration = Duration::from_secs(1);

/// How scores drain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draining {
    /// Thousandths of a point that drain in a step.
    pub(crate) thousandths: u32,
    /// Length of a step.
    pub(crate) step: Duration,
}

impl Draining {
    /// Returns how `full` thousandths drain in `decay`.
    pub(super) fn of(full: u32, decay: Duration) -> Self {
        Self {
            thousandths: full.div_ceil(STEPS).max(1),
            step: (decay / STEPS).max(Duration::from_nanos(1)),
        }
    }
}

/// The score of one party, and the refusals that may become offences.
#[derive(Debug)]
struct Score {
    thousandths: u32,
    /// Start of the next step of draining.
    drained: Tick,
    /// When a refusal last counted as an offence.
    refused: Option<Tick>,
    refusals: Vec<Refusals>,
}

/// How often requests were refused under one limit, in a window that began with the first refusal.
#[derive(Debug)]
struct Refusals {
    slot: &'static str,
    ends: Tick,
    count: u32,
}

/// The scores of all parties that have one.
#[derive(Debug)]
pub(super) struct Scores {
    of: Bounded<Party, Score>,
    draining: Draining,
}

impl Scores {
    /// Returns an empty table for `capacity` scores.
    pub(super) fn new(capacity: usize, draining: Draining) -> Self {
        Self {
            of: Bounded::new(capacity),
            draining,
        }
    }

    /// Adds an offence, weighted in thousandths, unless it is within its tolerance. Returns the new score.
    /// A newcomer to a full table is not remembered, and its refusals are not counted.
    pub(super) fn add(
        &mut self,
        party: Party,
        (thousandths, offence, tolerance): (u32, Offence, Option<Tolerance>),
        now: Tick,
    ) -> u32 {
        let draining = self.draining;
        // Between two steps hardly any score drains.
        let pause = (now, draining.step);
        if !self.of.entries.contains_key(&party)
            && !self
                .of
                .has_room(pause, |score| score.gives_way(draining, now))
        {
            return tolerance.map_or(thousandths, |_| 0);
        }
        let score = self.of.entries.entry(party).or_insert(Score {
            thousandths: 0,
            drained: now,
            refused: None,
            refusals: Vec::new(),
        });
        score.drain(draining, now);
        let is_tolerated = tolerance.is_some_and(|given| !score.is_beyond(given, now));
        if is_tolerated || (offence == Offence::RateLimited && score.was_refused_lately(now)) {
            return score.thousandths;
        }
        if offence == Offence::RateLimited {
            score.refused = Some(now);
        }
        score.thousandths = score.thousandths.saturating_add(thousandths);
        score.thousandths
    }

    /// Sets the score of `party` to 0.
    pub(super) fn reset(&mut self, party: Party) {
        if let Some(score) = self.of.entries.get_mut(&party) {
            score.thousandths = 0;
        }
    }

    /// Forgets `party`.
    pub(super) fn remove(&mut self, party: Party) {
        self.of.entries.remove(&party);
    }

    /// Returns the number of parties that are remembered.
    pub(super) fn len(&self) -> usize {
        self.of.entries.len()
    }

    /// Forgets parties whose score has drained.
    pub(super) fn sweep(&mut self, now: Tick) {
        let draining = self.draining;
        self.of.sweep(|score| score.is_over(draining, now));
    }
}

impl Score {
    /// True when nothing is lost that a score would need.
    fn is_over(&mut self, draining: Draining, now: Tick) -> bool {
        self.refusals.retain(|refusals| refusals.ends > now);
        self.refusals.is_empty() && self.gives_way(draining, now)
    }

    /// True when a full table may drop the score: tolerated refusals alone keep no place.
    fn gives_way(&mut self, draining: Draining, now: Tick) -> bool {
        self.drain(draining, now);
        self.thousandths == 0 && !self.was_refused_lately(now)
    }

    fn was_refused_lately(&self, now: Tick) -> bool {
        self.refused
            .is_some_and(|refused| now.since(refused) < RARELY)
    }

    /// Counts one more refusal. Returns whether `tolerance` is used up.
    fn is_beyond(&mut self, tolerance: Tolerance, now: Tick) -> bool {
        self.refusals.retain(|refusals| refusals.ends > now);
        let mut known = self.refusals.iter_mut();
        if let Some(known) = known.find(|known| known.slot == tolerance.slot) {
            known.count = known.count.saturating_add(1);
            return known.count > tolerance.refusals;
        }
        self.refusals.push(Refusals {
            slot: tolerance.slot,
            ends: now.plus(tolerance.window),
            count: 1,
        });
        tolerance.refusals == 0
    }

    fn drain(&mut self, draining: Draining, now: Tick) {
        let passed = now.since(self.drained).as_nanos() / draining.step.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        let gone = draining.thousandths.saturating_mul(passed);
        self.thousandths = self.thousandths.saturating_sub(gone);
        self.drained = match self.thousandths {
            0 => now,
            _ => self.drained.plus(draining.step.saturating_mul(passed)),
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

    fn scores(capacity: usize) -> Scores {
        Scores::new(capacity, Draining::of(FULL, DECAY))
    }

    fn add(scores: &mut Scores, host: u32, thousandths: u32, now: Tick) -> u32 {
        scores.add(party(host), (thousandths, Offence::Malformed, None), now)
    }

    #[test]
    fn a_score_drains_in_twelve_equal_steps() {
        let mut scores = scores(10);
        assert_eq!(add(&mut scores, 1, 2_750, at(7)), 2_750);
        for (seconds, left) in [
            (56, 2_750),
            (57, 2_500),
            (106, 2_500),
            (107, 2_250),
            (556, 250),
            (557, 0),
            (9999, 0),
        ] {
            assert_eq!(add(&mut scores, 1, 0, at(seconds)), left, "{seconds}");
        }
        assert_eq!(add(&mut scores, 1, 500, at(10_000)), 500);
        assert_eq!(add(&mut scores, 1, 0, at(10_049)), 500);
        assert_eq!(add(&mut scores, 1, 0, at(10_050)), 250);
    }

    #[test]
    fn a_rare_offence_counts_once_a_second() {
        let mut scores = scores(10);
        let millis = |millis| Tick::from_duration(Duration::from_millis(millis));
        let refuse = |scores: &mut Scores, host, now| {
            scores.add(
                party(host),
                (1_000, Offence::RateLimited, None),
                millis(now),
            )
        };
        assert_eq!(refuse(&mut scores, 1, 0), 1_000);
        assert_eq!(refuse(&mut scores, 1, 999), 1_000);
        assert_eq!(add(&mut scores, 1, 250, millis(999)), 1_250);
        assert_eq!(refuse(&mut scores, 1, 1_000), 2_250);
        assert_eq!(refuse(&mut scores, 2, 1_000), 1_000);
    }

    #[test]
    fn a_full_table_forgets_what_has_drained_before_it_turns_newcomers_away() {
        let mut scores = scores(2);
        add(&mut scores, 1, 2_750, at(0));
        add(&mut scores, 2, 250, at(0));
        assert_eq!(add(&mut scores, 3, 1_000, at(1)), 1_000);
        assert_eq!(add(&mut scores, 3, 1_000, at(2)), 1_000);
        assert_eq!(scores.len(), 2);
        assert_eq!(add(&mut scores, 3, 1_000, at(60)), 1_000);
        assert_eq!(add(&mut scores, 3, 1_000, at(61)), 2_000);
        assert_eq!(add(&mut scores, 1, 0, at(61)), 2_500);
        assert_eq!(scores.len(), 2);
        scores.sweep(at(10_000));
        assert_eq!(scores.len(), 0);
    }

    /// Returns whether one more refusal under `tolerance` is an offence.
    fn is_beyond(scores: &mut Scores, host: u32, tolerance: Tolerance, now: Tick) -> bool {
        scores.reset(party(host));
        let offence = (1_000, Offence::RateLimited, Some(tolerance));
        scores.add(party(host), offence, now) > 0
    }

    #[test]
    fn more_than_ten_times_the_limit_in_one_window_is_beyond_the_tolerance() {
        let tolerance = Tolerance::of("token", 2, Duration::from_mins(1));
        let mut scores = scores(10);
        for _ in 0..20 {
            assert!(!is_beyond(&mut scores, 1, tolerance, at(0)));
        }
        assert!(is_beyond(&mut scores, 1, tolerance, at(58)));
        assert!(
            !is_beyond(&mut scores, 2, tolerance, at(59)),
            "another one's"
        );
        let other = Tolerance {
            slot: "refresh",
            ..tolerance
        };
        assert!(!is_beyond(&mut scores, 1, other, at(59)), "another limit");
        assert!(is_beyond(&mut scores, 1, tolerance, at(59)));
        assert!(
            !is_beyond(&mut scores, 1, tolerance, at(60)),
            "a new window"
        );
    }

    #[test]
    fn tolerated_refusals_keep_no_place_in_a_full_table() {
        let tolerance = Tolerance::of("token", 2, Duration::from_mins(1));
        let mut scores = scores(2);
        assert!(!is_beyond(&mut scores, 1, tolerance, at(0)));
        assert_eq!(add(&mut scores, 2, 2_000, at(0)), 2_000);
        assert_eq!(add(&mut scores, 3, 1_000, at(0)), 1_000);
        assert_eq!(add(&mut scores, 3, 1_000, at(0)), 2_000, "is remembered");
        assert_eq!(add(&mut scores, 2, 250, at(0)), 2_250);
    }

    #[test]
    fn a_full_table_counts_no_newcomers_until_refusals_are_over() {
        let tolerance = Tolerance::of("token", 0, Duration::from_mins(1));
        let mut scores = scores(1);
        assert!(is_beyond(&mut scores, 1, tolerance, at(0)));
        assert!(!is_beyond(&mut scores, 2, tolerance, at(0)));
        assert!(is_beyond(&mut scores, 1, tolerance, at(1)));
        scores.reset(party(1));
        scores.sweep(at(60));
        assert!(is_beyond(&mut scores, 2, tolerance, at(60)));
    }
}
