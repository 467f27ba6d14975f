//! Keeps a sliding window for each key of one limit: exact while there is room, estimated beyond.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use parking_lot::{Mutex, MutexGuard};

use super::Key;
use super::bounded::Bounded;
use super::overflow::{Overflow, scale};
use super::window::{SlidingWindow, Verdict};
use crate::clock::Tick;
use crate::domain::Rate;

/// Keys of one shard: as many as a `HashMap` of 4,096 buckets holds before it doubles.
const SHARD_KEYS: usize = 3_584;
/// Overflow cells of a table, over all shards: 8 MiB.
const OVERFLOW_CELLS: usize = 1 << 21;
/// How often in a window a full shard looks for finished windows, at most.
const LOOKS_PER_WINDOW: u32 = 8;

/// The sliding windows of all keys of one limit. Memory is bounded: keys beyond the capacity share
/// estimates, which may refuse too early and never too late.
#[derive(Debug)]
pub struct Table {
    rate: Rate,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
}

/// The windows of some keys, by the keys' hashes. Two keys with the same 64 random bits would share
/// a window: with a full table that is one arrival in 2^46.
#[derive(Debug)]
struct Shard {
    rate: Rate,
    windows: Bounded<u64, SlidingWindow, BuildHasherDefault<Hashed>>,
    overflow: Option<Overflow>,
    overflow_cells: usize,
}

/// Hashes what [`Table::hasher`] has hashed already: with a random key, so that callers cannot choose keys that collide. The
/// halves change places, because the topmost bits have chosen the shard and are alike within it, and a `HashMap` tells its
/// entries apart by the topmost bits.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0.rotate_left(32)
    }

    // The map's keys are `u64`, so that this is not called.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// One key whose shard is locked, so that a check and a take are one step.
pub struct Held<'a> {
    shard: MutexGuard<'a, Shard>,
    hash: u64,
}

impl Table {
    /// Returns a table that remembers `capacity` keys exactly.
    pub fn new(rate: Rate, capacity: usize) -> Self {
        Self::with_cells(rate, capacity, OVERFLOW_CELLS)
    }

    fn with_cells(rate: Rate, capacity: usize, cells: usize) -> Self {
        let count = capacity.div_ceil(SHARD_KEYS).max(1);
        let shard = |_| {
            Mutex::new(Shard {
                rate,
                windows: Bounded::new(capacity / count),
                overflow: None,
                overflow_cells: cells / count,
            })
        };
        Self {
            rate,
            hasher: RandomState::new(),
            shards: (0..count).map(shard).collect(),
        }
    }

    /// Returns the rate that each key is held to.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Locks the shard of `key`. Two tables must be locked in one order everywhere.
    pub fn hold(&self, key: Key) -> Held<'_> {
        let hash = self.hasher.hash_one(key);
        let place = scale(hash >> 32, self.shards.len());
        Held {
            shard: self.shards[place].lock(),
            hash,
        }
    }

    /// Takes a place for `key` if one is free. Returns whether one was.
    pub fn admit(&self, key: Key, now: Tick) -> bool {
        let mut held = self.hold(key);
        let is_free = held.check(now).is_free();
        if is_free {
            held.take(now);
        }
        is_free
    }

    /// Drops what has expired, one shard at a time.
    pub fn sweep(&self, now: Tick) {
        for shard in &self.shards {
            shard.lock().sweep(now);
        }
    }

    /// Returns the number of keys that have a window of their own.
    pub fn keys(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| shard.lock().windows.entries.len()).sum()
    }

    /// Returns whether some keys are only estimated.
    pub fn is_estimating(&self) -> bool {
        let mut shards = self.shards.iter();
        shards.any(|shard| shard.lock().overflow.is_some())
    }
}

impl Held<'_> {
    /// Returns whether the key has a free place at `now`. Takes nothing.
    ///
    /// A key stays where it has a count: in its window until that is over, in the estimate until
    /// that is 0. So no key ever has two allowances.
    pub fn check(&mut self, now: Tick) -> Verdict {
        let rate = self.shard.rate;
        match self.shard.windows.entries.get_mut(&self.hash) {
            Some(window) => window.check(rate, now),
            None => self
                .estimate(now)
                .unwrap_or_else(|| Verdict::over(rate, 0, rate.window)),
        }
    }

    /// Takes the place that `check` has just found free.
    pub fn take(&mut self, now: Tick) {
        let is_exact = self.shard.windows.entries.contains_key(&self.hash)
            || (self.estimate(now).is_none() && self.shard.has_room(now));
        let shard = &mut *self.shard;
        if is_exact {
            let window = shard.windows.entries.entry(self.hash);
            window.or_default().take(now);
        } else {
            let new = || Overflow::new(shard.rate, shard.overflow_cells);
            let overflow = shard.overflow.get_or_insert_with(new);
            overflow.take(self.hash, now);
        }
    }

    /// Gives back the place taken at `taken`, if it still counts.
    pub fn give_back(&mut self, taken: Tick, now: Tick) {
        let shard = &mut *self.shard;
        // While the place counts, the key is still counted where the place was taken.
        if now.since(taken) >= shard.rate.window {
            return;
        }
        if let Some(window) = shard.windows.entries.get_mut(&self.hash) {
            window.give_back(taken);
        } else if let Some(overflow) = &mut shard.overflow {
            overflow.give_back(self.hash, (taken, now));
        }
    }

    fn estimate(&mut self, now: Tick) -> Option<Verdict> {
        self.shard.overflow.as_mut()?.check(self.hash, now)
    }
}

impl Shard {
    fn has_room(&mut self, now: Tick) -> bool {
        let window = self.rate.window;
        let pause = window / LOOKS_PER_WINDOW;
        self.windows
            .has_room((now, pause), |stamps| stamps.is_over(window, now))
    }

    fn sweep(&mut self, now: Tick) {
        let window = self.rate.window;
        self.windows.sweep(|stamps| {
            stamps.shrink(window, now);
            stamps.is_over(window, now)
        });
        self.overflow.take_if(|overflow| overflow.is_over(now));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const WINDOW: u64 = 100;

    fn table(limit: u32, capacity: usize, cells: usize) -> Table {
        let window = Duration::from_nanos(WINDOW);
        Table::with_cells(Rate { limit, window }, capacity, cells)
    }

    fn held(table: &Table, key: u64) -> Held<'_> {
        table.hold(Key::from_bits(key.into()))
    }

    const fn at(nanos: u64) -> Tick {
        Tick::from_nanos(nanos)
    }

    /// Asks for a place and takes it if there is one.
    fn admit(table: &Table, key: u64, now: u64) -> Result<Tick, Duration> {
        let mut held = held(table, key);
        let verdict = held.check(at(now));
        if !verdict.is_free() {
            return Err(verdict.resets_in);
        }
        held.take(at(now));
        Ok(at(now))
    }

    /// Takes a place. Returns whether it was counted in the estimate.
    fn is_estimated(table: &Table, key: u64, now: u64) -> bool {
        admit(table, key, now).unwrap();
        let held = held(table, key);
        !held.shard.windows.entries.contains_key(&held.hash)
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
        fn no_key_is_ever_admitted_more_often_than_its_limit_wherever_it_is_counted(
            limit in 1_u32..6,
            cells in 1_usize..40,
            steps in steps(),
        ) {
            let table = table(limit, 3, cells);
            let mut now = 1_000;
            let mut admitted: Vec<(u64, Tick)> = Vec::new();
            for (key, gap, step) in steps {
                now += gap;
                let mut outcome = None;
                match step {
                    Step::Ask => outcome = admit(&table, key, now).ok(),
                    Step::AskAndWait => {
                        outcome = match admit(&table, key, now) {
                            Ok(place) => Some(place),
                            Err(wait) => {
                                now = at(now).plus(wait).as_nanos();
                                let retried = admit(&table, key, now);
                                prop_assert!(retried.is_ok(), "the wait was not sufficient");
                                retried.ok()
                            }
                        }
                    }
                    Step::GiveBack(which) if !admitted.is_empty() => {
                        let (key, place) = admitted.remove(which.index(admitted.len()));
                        held(&table, key).give_back(place, at(now));
                    }
                    Step::GiveBack(_) => {}
                    Step::Sweep => table.sweep(at(now)),
                }
                prop_assert!(table.keys() <= 3);
                if let Some(place) = outcome {
                    admitted.push((key, place));
                    let counts = |place: &Tick| at(now).since(*place).as_nanos() < WINDOW.into();
                    let live = admitted.iter().filter(|(other, place)| *other == key && counts(place));
                    prop_assert!(live.count() <= limit as usize);
                }
            }
        }
    }

    #[test]
    fn a_newcomer_takes_the_room_of_a_finished_window_and_is_estimated_otherwise() {
        let table = table(9, 2, 1_000_000);
        assert!(!is_estimated(&table, 1, 0));
        assert!(!is_estimated(&table, 2, 50));
        assert!(is_estimated(&table, 3, 60));
        assert!(!is_estimated(&table, 4, 350));
        assert!(!is_estimated(&table, 5, 350));
        assert_eq!(table.keys(), 2);
    }

    #[test]
    fn an_estimated_key_stays_estimated_until_nothing_is_left_of_it() {
        let table = table(2, 1, 1_000_000);
        assert!(!is_estimated(&table, 1, 0));
        for now in [10, 20] {
            assert!(is_estimated(&table, 2, now));
        }
        let wait = Duration::from_nanos(WINDOW * 2 - 150);
        assert_eq!(admit(&table, 2, 150), Err(wait), "there is room now");
        assert!(!is_estimated(&table, 2, 200));
    }

    #[test]
    fn sweeping_gives_back_the_memory_of_a_flood() {
        let table = table(1_000, 1_000, 1_000);
        for key in 0..3_000 {
            let _ = admit(&table, key, key / 100);
        }
        assert!(table.is_estimating());
        assert_eq!(table.keys(), 1_000);
        table.sweep(at(29 + 2 * WINDOW));
        assert!(!table.is_estimating());
        assert_eq!(table.keys(), 0);
        assert_eq!(table.shards[0].lock().windows.entries.capacity(), 0);
    }

    #[test]
    fn keys_spread_over_the_shards_of_a_large_table() {
        let table = table(1, 100_000, 1_000);
        for key in 0..50_000 {
            assert!(!is_estimated(&table, key, 0));
        }
        assert_eq!(table.shards.len(), 28);
        let shard = table.shards[0].lock();
        let tag = |hash| shard.windows.entries.hasher().hash_one(hash) >> 57;
        let tags: std::collections::HashSet<_> = shard.windows.entries.keys().map(tag).collect();
        assert!(tags.len() > 100, "keys of a shard look alike to its map");
        drop(shard);
        let keys = table
            .shards
            .iter()
            .map(|shard| shard.lock().windows.entries.len());
        let largest = keys.max();
        assert!(largest < Some(2 * 50_000 / 28), "{largest:?}");
    }
}
