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
const LOOKS_PER_WINDOW: u32 = 64;

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
    room: usize,
    sketch: Option<Box<Sketch>>,
    sketch_lines: u32,
    looks_again: Tick,
}

impl Table {
    /// An empty table for `capacity` keys.
    pub(super) fn new(capacity: usize) -> Self {
        let count = capacity.div_ceil(SHARD_KEYS).max(1);
        let shard = |_| {
            Lane(Mutex::new(Shard {
                windows: HashMap::default(),
                room: capacity / count,
                sketch: None,
                sketch_lines: u32::try_from(SKETCH_LINES / count).unwrap_or(1),
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
        if self.windows.len() >= self.room && ask.now >= self.looks_again {
            self.looks_again = ask.now.plus(ask.rate.window / LOOKS_PER_WINDOW);
            self.windows
                .retain(|_, window| !window.is_over(ask.rate.window, ask.now));
        }
        self.windows.len() < self.room
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
