//! What was seen of the conditions of alerts so far: since when each one holds, and how much counts have grown.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::COSTS;
use crate::clock::Tick;
use crate::metrics::Counts;
use crate::records::HourCosts;

/// Durations of requests are judged over a period between this length and twice this length.
const HALF: Duration = Duration::from_secs(150);

/// What was seen of the conditions so far.
#[derive(Default)]
pub(in crate::broker) struct Sightings(pub(super) Mutex<Seen>);

#[derive(Default)]
pub(super) struct Seen {
    /// Since when each condition holds.
    pub(super) since: HashMap<&'static str, Tick>,
    /// Alerts that this replica reported while the records could not be written.
    pub(super) alone: Vec<&'static str>,
    /// Alerts that the records know to be on.
    pub(super) recorded: Vec<&'static str>,
    /// What the calls of the last hour cost, and those of the days before. `None` while there is no history.
    pub(super) costs: Option<HourCosts>,
    /// The time of the last look at the costs.
    looked: Option<Tick>,
    /// The beginning of each stretch, and the count before it.
    stretches: HashMap<&'static str, (Tick, u64)>,
    /// Durations of requests at the beginnings of the last two halves.
    halves: Option<[(Tick, Counts); 2]>,
}

impl Seen {
    /// True when this replica has to report the alert `name`. `raised` is what the records answered; `None` while they cannot be
    /// written: then each replica reports alerts that neither it nor the records have reported.
    pub(super) fn is_to_be_told(&mut self, name: &'static str, raised: Option<bool>) -> bool {
        let was_told = self.alone.contains(&name);
        if let Some(is_new) = raised {
            self.alone.retain(|known| *known != name);
            if !self.recorded.contains(&name) {
                self.recorded.push(name);
            }
            is_new && !was_told
        } else if was_told || self.recorded.contains(&name) {
            false
        } else {
            self.alone.push(name);
            true
        }
    }

    /// Returns how much `total` has grown in the stretch of this length that `name` counts in.
    pub(super) fn in_stretch(
        &mut self,
        (name, total): (&'static str, u64),
        length: Duration,
        now: Tick,
    ) -> u64 {
        let stretch = self.stretches.entry(name).or_insert((now, total));
        let number = total.saturating_sub(stretch.1);
        if now.since(stretch.0) >= length {
            *stretch = (now, total);
        }
        number
    }

    /// Returns the part of `counts` that was counted in the last minutes.
    pub(super) fn lately(&mut self, counts: Counts, now: Tick) -> Counts {
        let halves = self.halves.get_or_insert([(now, counts); 2]);
        if now.since(halves[1].0) >= HALF {
            *halves = [halves[1], (now, counts)];
        }
        let before = halves[0].1;
        std::array::from_fn(|place| counts[place].saturating_sub(before[place]))
    }

    /// True when the costs are to be looked up again.
    pub(super) fn costs_are_due(&mut self, now: Tick) -> bool {
        let is_due = self.looked.is_none_or(|looked| now.since(looked) >= COSTS);
        if is_due {
            self.looked = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock, Timestamp};

    #[test]
    fn durations_of_the_last_minutes_are_those_since_two_and_a_half_to_five_minutes_ago() {
        let clock = ManualClock::at(Timestamp::from_seconds(0));
        let mut seen = Seen::default();
        let mut counts = Counts::default();
        let mut found = Vec::new();
        for _ in 0..10 {
            found.push(seen.lately(counts, clock.tick())[0]);
            clock.advance(Duration::from_secs(75));
            counts[0] += 1;
        }
        assert_eq!(found, [0, 1, 2, 3, 2, 3, 2, 3, 2, 3]);
    }
}
