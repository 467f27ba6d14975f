//! Owns the keys of one policy: exact while there is room, estimated beyond.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::sketch::{self, Sketch};
use super::window::{SlidingWindow, Verdict};
use crate::clock::Tick;
use crate::domain::Rate;

/// A key asks for a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// The key, as 64 bits that nobody outside can foresee. Two keys that share them would share a window: with a
    /// full table that is one arrival in 2^46.
    pub(super) hash: u64,
    pub(super) rate: Rate,
    pub(super) now: Tick,
}

/// Where a key is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// In a window of its own.
    Known,
    /// In a window of its own, which there is room for.
    New,
    /// In the estimate.
    Estimated,
}

/// A `HashMap` of 4,096 buckets takes so many entries before it doubles.
const SHARD_KEYS: usize = 3_584;
/// Lines of all sketches of a policy together: 8 MiB.
const SKETCH_LINES: usize = 1 << 17;
/// A full shard looks for finished windows at most so often in a window, so that a flood cannot make it look at every
/// arrival.
const LOOKS_PER_WINDOW: u32 = 8;

/// The windows of all keys of one policy.
#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Lane]>,
}

/// One shard in a cache line of its own.
#[repr(align(64))]
#[derive(Debug)]
struct Lane(Mutex<Shard>);

/// The windows of some keys of one policy.
#[derive(Debug)]
pub(super) struct Shard {
    windows: HashMap<u64, SlidingWindow, BuildHasherDefault<AlreadyHashed>>,
    room: u32,
    sketch: Option<Box<Sketch>>,
    sketch_lines: u32,
    looks_again: Tick,
}

impl Table {
    /// An empty table for `capacity` keys.
    pub(super) fn new(capacity: usize) -> Self {
        Self::with_lines(capacity, SKETCH_LINES)
    }

    fn with_lines(capacity: usize, lines: usize) -> Self {
        let count = capacity.div_ceil(SHARD_KEYS).max(1);
        let shard = |_| {
            Lane(Mutex::new(Shard {
                windows: HashMap::default(),
                room: u32::try_from(capacity / count).unwrap_or(u32::MAX),
                sketch: None,
                sketch_lines: u32::try_from(lines / count).unwrap_or(1),
                looks_again: Tick::default(),
            }))
        };
        Self {
            shards: (0..count).map(shard).collect(),
        }
    }

    /// The shard that counts the key of `hash`, held.
    pub(super) fn hold(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // Neither end of the hash: the map inside uses the lowest bits for the place and the highest for the tag.
        let place = scale((hash >> 16) & u64::from(u32::MAX), self.shards.len());
        held(&self.shards[place])
    }

    /// Drops what has expired, shard by shard.
    pub(super) fn sweep(&self, rate: Rate, now: Tick) {
        for lane in &self.shards {
            held(lane).sweep(rate, now);
        }
    }

    /// Keys with a window of their own.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.shards
            .iter()
            .map(|lane| held(lane).windows.len())
            .sum()
    }

    /// True while some keys are only estimated.
    pub(super) fn is_estimating(&self) -> bool {
        self.shards.iter().any(|lane| held(lane).sketch.is_some())
    }
}

fn held(lane: &Lane) -> MutexGuard<'_, Shard> {
    lane.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Maps 32 random bits evenly onto `0..count`.
pub(super) fn scale(bits: u64, count: usize) -> usize {
    usize::try_from((bits * count as u64) >> 32).unwrap_or(0)
}

impl Shard {
    /// Reads what `check` will read, and nothing more. Touching the memory of all claims of a request before the first
    /// is checked lets the processor fetch it all at once.
    pub(super) fn touch(&self, hash: u64) {
        let known = self.windows.contains_key(&hash);
        let estimate = self.sketch.as_ref().map(|sketch| sketch.touch(hash));
        std::hint::black_box((known, estimate));
    }

    /// Whether the key has a place, and where it is counted. Takes nothing.
    ///
    /// A key stays where it has a count: in its window until that is over, in the estimate until that is 0. So it
    /// never has two allowances.
    pub(super) fn check(&mut self, ask: Ask) -> (Seat, Verdict) {
        if let Some(window) = self.windows.get_mut(&ask.hash) {
            return (Seat::Known, window.check(ask.rate, ask.now));
        }
        let estimate = self.sketch.as_mut().and_then(|sketch| sketch.check(ask));
        if let Some(verdict) = estimate {
            return (Seat::Estimated, verdict);
        }
        if self.has_room(ask) {
            let verdict = SlidingWindow::empty().check(ask.rate, ask.now);
            return (Seat::New, verdict);
        }
        (Seat::Estimated, sketch::verdict(ask, 0, 0))
    }

    /// Takes the place that `check` has just found free.
    pub(super) fn take(&mut self, ask: Ask, seat: Seat) {
        match seat {
            Seat::Known | Seat::New => self
                .windows
                .entry(ask.hash)
                .or_insert_with(SlidingWindow::empty)
                .take(ask.rate, ask.now),
            Seat::Estimated => {
                let lines = self.sketch_lines as usize;
                self.sketch
                    .get_or_insert_with(|| Box::new(Sketch::new(lines)))
                    .take(ask);
            }
        }
    }

    /// Gives back the place taken at `taken`.
    pub(super) fn give_back(&mut self, ask: Ask, taken: Tick, estimated: bool) {
        if estimated {
            if let Some(sketch) = &mut self.sketch {
                sketch.give_back(ask, taken);
            }
        } else if let Some(window) = self.windows.get_mut(&ask.hash) {
            window.give_back(taken);
        }
    }

    fn has_room(&mut self, ask: Ask) -> bool {
        if self.windows.len() >= self.room as usize && ask.now >= self.looks_again {
            self.looks_again = ask.now.plus(ask.rate.window / LOOKS_PER_WINDOW);
            self.windows
                .retain(|_, window| !window.is_over(ask.rate.window, ask.now));
        }
        self.windows.len() < self.room as usize
    }

    fn sweep(&mut self, rate: Rate, now: Tick) {
        self.windows.retain(|_, window| {
            window.shrink(rate.window, now);
            !window.is_over(rate.window, now)
        });
        if self.windows.len() < self.windows.capacity() / 4 {
            self.windows.shrink_to_fit();
        }
        self.sketch
            .take_if(|sketch| sketch.is_over(rate.window, now));
    }
}

/// Passes on what is a keyed hash already.
#[derive(Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const WINDOW: u64 = 100;

    fn ask(key: u64, limit: u32, now: u64) -> Ask {
        let rate = Rate {
            limit,
            window: Duration::from_nanos(WINDOW),
        };
        Ask {
            hash: key.wrapping_add(1).wrapping_mul(0xd6e8_feb8_6659_fd93),
            rate,
            now: Tick::from_nanos(now),
        }
    }

    /// Asks for a place and takes it if there is one.
    fn admit(table: &Table, ask: Ask) -> Result<Seat, Duration> {
        let mut shard = table.hold(ask.hash);
        match shard.check(ask) {
            (seat, Verdict::Free { .. }) => {
                shard.take(ask, seat);
                Ok(seat)
            }
            (_, Verdict::Full { wait }) => Err(wait),
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Ask,
        AskAndWait,
        GiveBack(prop::sample::Index),
        Sweep,
    }

    fn steps() -> impl Strategy<Value = Vec<(u64, u64, Step)>> {
        let step = prop_oneof![
            20 => Just(Step::Ask),
            2 => Just(Step::AskAndWait),
            2 => any::<prop::sample::Index>().prop_map(Step::GiveBack),
            1 => Just(Step::Sweep),
        ];
        prop::collection::vec((0_u64..12, 0_u64..20, step), 800)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_key_is_ever_admitted_too_often_wherever_it_is_counted(
            limit in 1_u32..6,
            lines in 1_usize..6,
            steps in steps(),
        ) {
            let table = Table::with_lines(3, lines);
            let mut now = 1_000;
            let mut admitted: Vec<(u64, u64, Seat)> = Vec::new();
            for (key, gap, step) in steps {
                now += gap;
                let mut outcome = None;
                match step {
                    Step::Ask => outcome = admit(&table, ask(key, limit, now)).ok(),
                    Step::AskAndWait => {
                        outcome = match admit(&table, ask(key, limit, now)) {
                            Ok(seat) => Some(seat),
                            Err(wait) => {
                                now = Tick::from_nanos(now).plus(wait).as_nanos();
                                let retried = admit(&table, ask(key, limit, now));
                                prop_assert!(retried.is_ok(), "the wait was not sufficient");
                                retried.ok()
                            }
                        }
                    }
                    Step::GiveBack(which) if !admitted.is_empty() => {
                        let (key, at, seat) = admitted.remove(which.index(admitted.len()));
                        let ask = ask(key, limit, now);
                        let estimated = seat == Seat::Estimated;
                        table.hold(ask.hash).give_back(ask, Tick::from_nanos(at), estimated);
                    }
                    Step::GiveBack(_) => {}
                    Step::Sweep => table.sweep(ask(0, limit, now).rate, Tick::from_nanos(now)),
                }
                prop_assert!(table.keys() <= 3);
                if let Some(seat) = outcome {
                    admitted.push((key, now, seat));
                    let live = admitted.iter().filter(|(other, at, _)| *other == key && now - at < WINDOW);
                    prop_assert!(live.count() <= limit as usize);
                }
            }
        }
    }

    #[test]
    fn a_newcomer_takes_the_room_of_a_finished_window_and_is_estimated_otherwise() {
        let table = Table::with_lines(2, 1);
        assert_eq!(admit(&table, ask(1, 9, 0)), Ok(Seat::New));
        assert_eq!(admit(&table, ask(2, 9, 50)), Ok(Seat::New));
        assert_eq!(admit(&table, ask(3, 9, 60)), Ok(Seat::Estimated));
        assert_eq!(admit(&table, ask(4, 9, 350)), Ok(Seat::New));
        assert_eq!(admit(&table, ask(5, 9, 350)), Ok(Seat::New));
        assert_eq!(table.keys(), 2);
    }

    #[test]
    fn an_estimated_key_stays_estimated_until_nothing_is_left_of_it() {
        let table = Table::with_lines(1, 64);
        assert_eq!(admit(&table, ask(1, 2, 0)), Ok(Seat::New));
        for now in [10, 20] {
            assert_eq!(admit(&table, ask(2, 2, now)), Ok(Seat::Estimated));
        }
        let wait = Duration::from_nanos(WINDOW * 2 - 150);
        assert_eq!(
            admit(&table, ask(2, 2, 150)),
            Err(wait),
            "there is room now"
        );
        assert_eq!(admit(&table, ask(2, 2, 200)), Ok(Seat::New));
    }

    #[test]
    fn sweeping_gives_back_the_memory_of_a_flood() {
        let table = Table::with_lines(1_000, 64);
        for key in 0..3_000 {
            let _ = admit(&table, ask(key, 1_000, key / 100));
        }
        assert!(table.is_estimating());
        assert_eq!(table.keys(), 1_000);
        table.sweep(ask(0, 1_000, 0).rate, Tick::from_nanos(29 + 2 * WINDOW));
        assert!(!table.is_estimating());
        assert_eq!(table.keys(), 0);
        assert_eq!(held(&table.shards[0]).windows.capacity(), 0);
    }

    #[test]
    fn keys_spread_over_the_shards_of_a_large_table() {
        let table = Table::new(100_000);
        for key in 0..50_000 {
            assert_eq!(admit(&table, ask(key, 1, 0)), Ok(Seat::New));
        }
        assert_eq!(table.shards.len(), 28);
        let largest = table
            .shards
            .iter()
            .map(|lane| held(lane).windows.len())
            .max();
        assert!(largest < Some(2 * 50_000 / 28), "{largest:?}");
        assert_eq!(size_of::<Lane>(), 64);
    }
}
