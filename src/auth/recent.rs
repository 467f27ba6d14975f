//! Owns what is remembered of recent credentials: in bounded memory, under a hash of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

/// So many locks, so that callers rarely meet at one.
const SHARDS: usize = 16;

/// A credential as 256 bits: who reads memory does not find one that can be shown again.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Print([u8; 32]);

impl Print {
    /// The hash of `text`.
    pub(super) fn of(text: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Self(bytes)
    }
}

impl fmt::Debug for Print {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Print(…)")
    }
}

/// What was put in most recently, or used. When there is no room, what was not used for longest goes, in bulk.
#[derive(Debug)]
pub(super) struct Recent<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    /// Most entries of one half of one shard.
    half: usize,
}

/// The younger half fills; then it becomes the older half, and what that held is forgotten.
#[derive(Debug)]
struct Shard<V> {
    young: HashMap<Print, V>,
    old: HashMap<Print, V>,
}

impl<V> Default for Shard<V> {
    fn default() -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }
}

impl<V: Clone> Shard<V> {
    fn get(&mut self, print: Print, half: usize) -> Option<V> {
        if let Some(value) = self.young.get(&print) {
            return Some(value.clone());
        }
        let value = self.old.remove(&print)?;
        self.insert(print, value.clone(), half);
        Some(value)
    }

    fn insert(&mut self, print: Print, value: V, half: usize) {
        if self.young.len() >= half && !self.young.contains_key(&print) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&print);
        self.young.insert(print, value);
    }
}

impl<V: Clone> Recent<V> {
    /// For at most `most` entries, rounded down to a multiple of 32.
    pub(super) fn with_room_for(most: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            half: (most / SHARDS / 2).max(1),
        }
    }

    /// What is remembered of `print`.
    pub(super) fn get(&self, print: Print) -> Option<V> {
        self.shard(print).get(print, self.half)
    }

    /// Remembers `value`.
    pub(super) fn insert(&self, print: Print, value: V) {
        self.shard(print).insert(print, value, self.half);
    }

    /// What is remembered of `print`, if it `is_good`, or else what `make` makes, which is remembered from now on.
    pub(super) fn get_or_insert(
        &self,
        print: Print,
        is_good: impl FnOnce(&V) -> bool,
        make: impl FnOnce() -> V,
    ) -> V {
        let mut shard = self.shard(print);
        if let Some(value) = shard.get(print, self.half).filter(is_good) {
            return value;
        }
        let value = make();
        shard.insert(print, value.clone(), self.half);
        value
    }

    /// How many entries there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        let lens = self.shards.iter().map(|shard| {
            let shard = shard.lock().unwrap();
            shard.young.len() + shard.old.len()
        });
        lens.sum()
    }

    /// A panic elsewhere leaves a shard usable: every change to it is whole.
    fn shard(&self, print: Print) -> MutexGuard<'_, Shard<V>> {
        let place = usize::from(print.0[31]) % self.shards.len();
        self.shards[place]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(nth: usize) -> Print {
        Print::of(&nth.to_string())
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let recent = Recent::with_room_for(1024);
        let favourite = print(usize::MAX);
        recent.insert(favourite, 0);
        for nth in 0..50_000 {
            recent.insert(print(nth), nth);
            assert_eq!(recent.get(favourite), Some(0), "{nth}");
        }
        assert!((512..=1024).contains(&recent.len()), "{}", recent.len());
        assert_eq!(recent.get(print(49_999)), Some(49_999));
        assert_eq!(recent.get(print(0)), None);
    }

    #[test]
    fn what_is_good_stays_and_what_is_not_is_made_anew() {
        let recent = Recent::with_room_for(32);
        assert_eq!(recent.get_or_insert(print(1), |_| true, || 1), 1);
        assert_eq!(recent.get_or_insert(print(1), |_| true, || 2), 1);
        assert_eq!(recent.get_or_insert(print(1), |_| false, || 3), 3);
        assert_eq!(recent.get(print(1)), Some(3));
        assert_eq!(format!("{:?}", print(1)), "Print(…)");
    }
}
