//! Folds floods of log lines: the first lines of each kind and party are written, the others are counted.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Tick;
use crate::domain::Party;

/// Upper bound on the lines of one kind from one party that are written each minute.
const LINES_PER_PARTY: u32 = 5;
/// Upper bound on the lines of one kind that are written each minute.
const LINES_PER_KIND: u32 = 500;
/// Time after which the folded lines are summed up in one line of each kind.
const FOLD: Duration = Duration::from_mins(1);

/// The lines of the current minute. Holds a bounded number of parties of each kind.
#[derive(Debug)]
pub struct Folding<K>(Mutex<Minute<K>>);

#[derive(Debug)]
struct Minute<K> {
    since: Option<Tick>,
    kinds: HashMap<K, Kind>,
}

#[derive(Debug, Default)]
struct Kind {
    lines: Folded,
    by_party: HashMap<Option<Party>, u32>,
}

/// How many lines of one kind were written, and how many were only counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Lines that were written.
    pub written: u32,
    /// Lines that were counted instead.
    pub folded: u64,
}

impl<K> Default for Folding<K> {
    fn default() -> Self {
        Self(Mutex::new(Minute::new()))
    }
}

impl<K> Minute<K> {
    fn new() -> Self {
        Self {
            since: None,
            kinds: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash> Folding<K> {
    /// Counts one more line of `party`, or of nobody. Returns whether it is written in full.
    pub fn admits(&self, kind: K, party: Option<Party>, now: Tick) -> bool {
        let mut minute = self.0.lock();
        minute.since.get_or_insert(now);
        let kind = minute.kinds.entry(kind).or_default();
        let known = kind.by_party.get(&party).copied().unwrap_or_default();
        let admitted = kind.lines.written < LINES_PER_KIND && known < LINES_PER_PARTY;
        if admitted {
            kind.lines.written += 1;
            kind.by_party.insert(party, known + 1);
        } else {
            kind.lines.folded += 1;
        }
        admitted
    }

    /// Ends the minute when it is over, or at once when `even_early`. Returns the kinds of which lines were folded.
    pub fn sum_up(&self, now: Tick, even_early: bool) -> Vec<(K, Folded)> {
        let mut minute = self.0.lock();
        let is_over = |since| now.since(since) >= FOLD;
        if !even_early && !minute.since.is_some_and(is_over) {
            return Vec::new();
        }
        let ended = std::mem::replace(&mut *minute, Minute::new());
        drop(minute);
        let counts = ended.kinds.into_iter().map(|(kind, of)| (kind, of.lines));
        counts.filter(|(_, lines)| lines.folded > 0).collect()
    }
}
