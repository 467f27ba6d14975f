//! Holds clients back that send audio faster than anybody speaks.

use std::time::Duration;

use crate::clock::Tick;

/// Bytes of audio that a client may send in a second: twice those of the largest format, PCM of 24 kHz and 16 bits.
const RATE: u64 = 2 * 48_000;
/// Bytes that a client may be ahead of that rate. The provider's largest append has 15 MiB.
const AHEAD: u64 = 16 * 1024 * 1024;
/// A client that is this many bytes below `AHEAD` has stopped sending too fast: the time until it is cut off begins anew.
const PAUSE: u64 = 1024 * 1024;
/// Bytes that each message counts for at least, pings included, because even a small message costs work.
const LEAST: usize = 512;
/// Time of sending too fast after which a client is cut off.
const LONGEST: Duration = Duration::from_mins(1);

/// How far a client is ahead of the time that its audio takes.
pub(super) struct Pace {
    ahead: u64,
    at: Tick,
    held_since: Option<Tick>,
}

impl Pace {
    pub(super) const fn new(now: Tick) -> Self {
        Self {
            ahead: 0,
            at: now,
            held_since: None,
        }
    }

    /// Counts a message of the client, of `length` bytes in base64.
    pub(super) fn counts(&mut self, length: usize) {
        let length = length.max(LEAST) as u64;
        self.ahead = self.ahead.saturating_add(length / 4 * 3);
    }

    /// True when another message of the client may be read.
    pub(super) fn is_free(&mut self, now: Tick) -> bool {
        let passed = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let spoken = passed.saturating_mul(RATE) / 1_000;
        if spoken > 0 {
            self.ahead = self.ahead.saturating_sub(spoken);
            self.at = now;
        }
        let is_free = self.ahead < AHEAD;
        if !is_free {
            self.held_since.get_or_insert(now);
        } else if self.ahead < AHEAD - PAUSE {
            self.held_since = None;
        }
        is_free
    }

    /// True when the client was held back for too long.
    pub(super) fn is_over(&self, now: Tick) -> bool {
        self.held_since
            .is_some_and(|since| now.since(since) >= LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock, Timestamp};

    /// The bytes of a message with a tenth of a second of PCM in base64.
    const TENTH: usize = 6_400;

    #[test]
    fn re31_who_speaks_or_plays_a_recording_twice_as_fast_is_never_held_back() {
        let clock = ManualClock::at(Timestamp::from_seconds(1));
        let mut pace = Pace::new(clock.tick());
        for _ in 0..36_000 {
            assert!(pace.is_free(clock.tick()));
            pace.counts(2 * TENTH);
            clock.advance(Duration::from_millis(100));
        }
        // The largest append, and what follows it at once.
        pace.counts(20 * 1024 * 1024);
        assert!(pace.is_free(clock.tick()) && !pace.is_over(clock.tick()));
    }

    #[test]
    fn re31_a_flood_is_held_to_twice_the_speed_of_speech_and_ends_after_a_minute() {
        let clock = ManualClock::at(Timestamp::from_seconds(1));
        let mut pace = Pace::new(clock.tick());
        let mut passed = 0;
        for second in 0..=60 {
            while pace.is_free(clock.tick()) {
                pace.counts(64 * 1024);
                passed += 48 * 1024;
            }
            assert_eq!(pace.is_over(clock.tick()), second == 60);
            clock.advance(Duration::from_secs(1));
        }
        assert!(passed <= AHEAD + 61 * RATE + 48 * 1024, "{passed}");
        // After a pause, it may go on.
        clock.advance(Duration::from_secs(20));
        assert!(pace.is_free(clock.tick()) && !pace.is_over(clock.tick()));
    }
}
