//! Counts keys that found no room in a table: fixed memory, and estimates that are never too low.

use std::time::Duration;

use super::window::Verdict;
use crate::clock::Tick;
use crate::domain::Rate;

/// Upper bounds of the admissions of each key, in the running epoch and in the one before. An epoch
/// is as long as the window, so that both together cover every window that ends now. Keys that meet
/// in one cell share its places.
#[derive(Debug)]
pub(super) struct Overflow {
    rate: Rate,
    /// Counts of the running epoch and of the one before.
    cells: Box<[[u16; 2]]>,
    epoch: u64,
    used: Tick,
}

impl Overflow {
    /// Returns an overflow with `cells` cells of four bytes.
    pub(super) fn new(rate: Rate, cells: usize) -> Self {
        Self {
            rate,
            cells: vec![[0; 2]; cells.max(1)].into_boxed_slice(),
            epoch: 0,
            used: Tick::default(),
        }
    }

    /// Returns whether the key of `hash` has a free place; `None` when the key was certainly not
    /// counted here.
    pub(super) fn check(&mut self, hash: u64, now: Tick) -> Option<Verdict> {
        let [current, before] = self.cell(hash, now).map(u32::from);
        let limit = self.rate.limit.min(u16::MAX.into());
        let total = current + before;
        // A place is free when the epoch before is forgotten, or else the running one.
        let frees_soon = if total < limit {
            before > 0
        } else {
            current < limit
        };
        let epochs = if frees_soon { 1 } else { 2 };
        let into_epoch = now.as_nanos() % self.window();
        let resets_in = self.window().saturating_mul(epochs) - into_epoch;
        let rate = Rate { limit, ..self.rate };
        let verdict = Verdict::over(rate, total, Duration::from_nanos(resets_in));
        (total > 0).then_some(verdict)
    }

    /// Counts an admission of the key of `hash`.
    pub(super) fn take(&mut self, hash: u64, now: Tick) {
        self.used = now;
        let [current, _] = self.cell(hash, now);
        *current = current.saturating_add(1);
    }

    /// Takes back one admission of the moment `taken`, which still counts.
    pub(super) fn give_back(&mut self, hash: u64, (taken, now): (Tick, Tick)) {
        let is_current = self.epoch_of(taken) == self.epoch_of(now);
        let [current, before] = self.cell(hash, now);
        let count = if is_current { current } else { before };
        // A saturated counter does not know how much it holds, so it stays saturated.
        if *count < u16::MAX {
            *count = count.saturating_sub(1);
        }
    }

    /// Returns whether no admission counts any more.
    pub(super) fn is_over(&self, now: Tick) -> bool {
        now.since(self.used) >= self.rate.window * 2
    }

    /// Returns the cell of the key of `hash`, in the epoch of `now`.
    fn cell(&mut self, hash: u64, now: Tick) -> &mut [u16; 2] {
        let epoch = self.epoch_of(now);
        let passed = epoch.saturating_sub(self.epoch);
        if passed > 0 {
            for [current, before] in &mut self.cells {
                *before = if passed == 1 { *current } else { 0 };
                *current = 0;
            }
            self.epoch = epoch;
        }
        // The table has used the hash's own bits: which keys meet here must not depend on those.
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = scale(mixed >> 32, self.cells.len());
        &mut self.cells[place]
    }

    fn epoch_of(&self, moment: Tick) -> u64 {
        moment.as_nanos() / self.window()
    }

    /// Returns the length of the window in nanoseconds, at least 1.
    fn window(&self) -> u64 {
        Tick::from_duration(self.rate.window).as_nanos().max(1)
    }
}

/// Maps 32 random bits evenly onto `0..count`.
pub(super) fn scale(bits: u64, count: usize) -> usize {
    usize::try_from((bits * count as u64) >> 32).unwrap_or(0)
}
