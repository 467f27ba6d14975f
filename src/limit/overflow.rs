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
    cells: Box<[Cell]>,
    epoch: u64,
    used: Tick,
}

/// The counts of one cell.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    current: u16,
    before: u16,
}

impl Overflow {
    /// Returns an overflow of so many cells of four bytes.
    pub(super) fn new(cells: usize) -> Self {
        Self {
            cells: vec![Cell::default(); cells.max(1)].into_boxed_slice(),
            epoch: 0,
            used: Tick::default(),
        }
    }

    /// Returns whether the key of `hash` has a free place; `None` when the key was certainly not
    /// counted here.
    pub(super) fn check(&mut self, hash: u64, rate: Rate, now: Tick) -> Option<Verdict> {
        let cell = *self.cell(hash, rate, now);
        (cell.total() > 0).then(|| cell.verdict(rate, now))
    }

    /// Counts an admission of the key of `hash`.
    pub(super) fn take(&mut self, hash: u64, rate: Rate, now: Tick) {
        self.used = now;
        let cell = self.cell(hash, rate, now);
        cell.current = cell.current.saturating_add(1);
    }

    /// Takes back one admission of the moment `taken`.
    pub(super) fn give_back(&mut self, hash: u64, rate: Rate, (taken, now): (Tick, Tick)) {
        let passed = epoch_of(rate, now) - epoch_of(rate, taken);
        let cell = self.cell(hash, rate, now);
        let count = match passed {
            0 => &mut cell.current,
            1 => &mut cell.before,
            _ => return,
        };
        // A saturated counter does not know how much it holds, so it stays saturated.
        if *count < u16::MAX {
            *count = count.saturating_sub(1);
        }
    }

    /// Returns whether nothing in it counts any more.
    pub(super) fn is_over(&self, window: Duration, now: Tick) -> bool {
        now.since(self.used) >= window * 2
    }

    /// Returns the cell of the key of `hash`, in the epoch of `now`.
    fn cell(&mut self, hash: u64, rate: Rate, now: Tick) -> &mut Cell {
        let epoch = epoch_of(rate, now);
        let passed = epoch.saturating_sub(self.epoch);
        if passed > 0 {
            for cell in &mut self.cells {
                let before = if passed == 1 { cell.current } else { 0 };
                *cell = Cell { current: 0, before };
            }
            self.epoch = epoch;
        }
        // The table has used the hash's own bits: which keys meet here must not depend on those.
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = scale(mixed >> 32, self.cells.len());
        &mut self.cells[place]
    }
}

impl Cell {
    fn total(self) -> u32 {
        u32::from(self.current) + u32::from(self.before)
    }

    fn verdict(self, rate: Rate, now: Tick) -> Verdict {
        let limit = rate.limit.min(u32::from(u16::MAX));
        // A place is free when the epoch before is forgotten, or else the running one.
        let frees_soon = if self.total() < limit {
            self.before > 0
        } else {
            u32::from(self.current) < limit
        };
        let resets_in = until_epoch(rate, now, if frees_soon { 1 } else { 2 });
        Verdict::over(Rate { limit, ..rate }, self.total(), resets_in)
    }
}

/// Maps 32 random bits evenly onto `0..count`.
pub(super) fn scale(bits: u64, count: usize) -> usize {
    usize::try_from((bits * count as u64) >> 32).unwrap_or(0)
}

fn window_nanos(rate: Rate) -> u64 {
    u64::try_from(rate.window.as_nanos())
        .unwrap_or(u64::MAX)
        .max(1)
}

fn epoch_of(rate: Rate, now: Tick) -> u64 {
    now.as_nanos() / window_nanos(rate)
}

/// Returns the time until `ahead` epochs after the running one begin.
fn until_epoch(rate: Rate, now: Tick, ahead: u64) -> Duration {
    let window = window_nanos(rate);
    let into_epoch = now.as_nanos() % window;
    Duration::from_nanos(window.saturating_mul(ahead) - into_epoch)
}
