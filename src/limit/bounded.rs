//! A hash map with an upper bound on its entries.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use crate::clock::Tick;

/// Entries of which some end with time.
#[derive(Debug)]
pub(super) struct Bounded<K, V, S = RandomState> {
    pub(super) entries: HashMap<K, V, S>,
    capacity: usize,
    looks_again: Tick,
}

impl<K: Copy + Eq + Hash, V, S: BuildHasher + Default> Bounded<K, V, S> {
    /// Returns an empty map for `capacity` entries.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: HashMap::default(),
            capacity,
            looks_again: Tick::default(),
        }
    }

    /// Returns whether one more entry has room. A full map first drops the entries that `is_over`, at
    /// most once in `pause`: a flood must not make it look at every arrival.
    pub(super) fn has_room(
        &mut self,
        (now, pause): (Tick, Duration),
        mut is_over: impl FnMut(&mut V) -> bool,
    ) -> bool {
        if self.entries.len() >= self.capacity && now >= self.looks_again {
            self.looks_again = now.plus(pause);
            self.entries.retain(|_, entry| !is_over(entry));
        }
        self.entries.len() < self.capacity
    }

    /// Returns whether one more entry has room. In a full map the entry that ended first is evicted. When none has
    /// ended, the map looks again after `pause`.
    pub(super) fn makes_room(
        &mut self,
        (now, pause): (Tick, Duration),
        ends: impl Fn(&V) -> Tick,
    ) -> bool {
        if self.entries.len() >= self.capacity && now >= self.looks_again {
            let ends = self.entries.iter().map(|(key, entry)| (ends(entry), key));
            match ends.min_by_key(|(ends, _)| *ends) {
                Some((ends, key)) if ends <= now => {
                    let key = *key;
                    self.entries.remove(&key);
                }
                _ => self.looks_again = now.plus(pause),
            }
        }
        self.entries.len() < self.capacity
    }

    /// Drops the entries that `is_over` and gives their memory back.
    pub(super) fn sweep(&mut self, mut is_over: impl FnMut(&mut V) -> bool) {
        self.entries.retain(|_, entry| !is_over(entry));
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to_fit();
        }
    }
}
