//! Counts refusals, so that only a flood of them is an offence.

use std::collections::HashMap;
use std::time::Duration;

use super::Tolerance;
use crate::clock::Tick;
use crate::domain::Party;

/// How many requests of each party were refused under each limit, in a window that began with the
/// first refusal.
#[derive(Debug)]
pub(super) struct Refusals {
    of: HashMap<(Party, &'static str), Count>,
    capacity: usize,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    ends: Tick,
    refusals: u32,
}

impl Refusals {
    /// Returns an empty table for `capacity` counts.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            of: HashMap::new(),
            capacity,
        }
    }

    /// Counts one more refusal of `party`. Returns whether `tolerance` is used up. In a full table
    /// newcomers are not counted, which errs on the kind side.
    pub(super) fn is_beyond(&mut self, party: Party, tolerance: Tolerance, now: Tick) -> bool {
        let key = (party, tolerance.slot);
        if self.of.len() >= self.capacity && !self.of.contains_key(&key) {
            return false;
        }
        let fresh = Count {
            ends: now.plus(tolerance.window),
            refusals: 0,
        };
        let count = self.of.entry(key).or_insert(fresh);
        if count.ends <= now {
            *count = fresh;
        }
        count.refusals = count.refusals.saturating_add(1);
        count.refusals > tolerance.refusals
    }

    /// Forgets counts whose window is over and gives their memory back.
    pub(super) fn sweep(&mut self, now: Tick) {
        self.of.retain(|_, count| count.ends > now);
        if self.of.len() < self.of.capacity() / 4 {
            self.of.shrink_to_fit();
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Network;

    fn party(host: u32) -> Party {
        Party::Network(Network::of(std::net::Ipv4Addr::from_bits(host).into()))
    }

    fn at(seconds: u64) -> Tick {
        Tick::from_duration(Duration::from_secs(seconds))
    }

    #[test]
    fn more_than_ten_times_the_limit_in_one_window_is_beyond_the_tolerance() {
        let tolerance = Tolerance::of("token", 2, Duration::from_mins(1));
        let mut refusals = Refusals::new(10);
        for _ in 0..20 {
            assert!(!refusals.is_beyond(party(1), tolerance, at(0)));
        }
        assert!(refusals.is_beyond(party(1), tolerance, at(59)));
        assert!(
            !refusals.is_beyond(party(2), tolerance, at(59)),
            "another one's"
        );
        let other = Tolerance {
            slot: "refresh",
            ..tolerance
        };
        assert!(
            !refusals.is_beyond(party(1), other, at(59)),
            "another limit"
        );
        assert!(
            !refusals.is_beyond(party(1), tolerance, at(60)),
            "a new window"
        );
    }

    #[test]
    fn a_full_table_counts_no_newcomers_until_it_is_swept() {
        let tolerance = Tolerance::of("token", 0, Duration::from_mins(1));
        let mut refusals = Refusals::new(1);
        assert!(refusals.is_beyond(party(1), tolerance, at(0)));
        assert!(!refusals.is_beyond(party(2), tolerance, at(0)));
        assert!(refusals.is_beyond(party(1), tolerance, at(1)));
        refusals.sweep(at(60));
        assert!(refusals.is_beyond(party(2), tolerance, at(60)));
    }
}
