//! Owns the estimate for keys that found no room: counts that strangers may share, never too low.

use std::time::Duration;

use super::table::{Ask, scale};
use super::window::Verdict;
use crate::clock::Tick;

/// Rows of a count-min sketch; a key counts in one cell of each, and the lowest is its estimate.
const ROWS: usize = 2;
/// Cells of one row in one line.
const COLUMNS: usize = 7;

/// What a key may touch, in one cache line: its cells of both rows and of both epochs. Even epochs count in the first
/// number of a cell, odd ones in the second.
#[repr(align(64))]
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    epoch: u32,
    cells: [[[u16; 2]; COLUMNS]; ROWS],
}

impl Line {
    /// Empties what does not count in `epoch`, which begins or goes on.
    fn enter(&mut self, epoch: u32) {
        let passed = epoch.wrapping_sub(self.epoch);
        if passed == 1 {
            for cell in self.cells.iter_mut().flatten() {
                cell[parity(epoch)] = 0;
            }
        } else if passed > 1 {
            *self = Self::default();
        }
        self.epoch = epoch;
    }
}

/// An upper bound of what a key was admitted, in the epoch that runs and the one before. An epoch is as long as the
/// window, so the two cover every window that ends now.
#[derive(Debug)]
pub(super) struct Sketch {
    lines: Box<[Line]>,
    used: Tick,
}

/// Where a key counts.
struct Spot {
    line: usize,
    columns: [usize; ROWS],
}

impl Sketch {
    /// An empty one of so many lines of 64 bytes.
    pub(super) fn new(lines: usize) -> Self {
        Self {
            lines: vec![Line::default(); lines.max(1)].into_boxed_slice(),
            used: Tick::default(),
        }
    }

    /// Reads what `check` will read.
    pub(super) fn touch(&self, hash: u64) -> u32 {
        self.lines[self.spot(hash).line].epoch
    }

    /// Whether the key has a place; `None` when it has certainly not been counted here.
    pub(super) fn check(&mut self, ask: Ask) -> Option<Verdict> {
        let (total, current) = self.estimate(ask);
        (total > 0).then(|| verdict(ask, total, current))
    }

    /// Counts the key and says how it stands, which `check` has just found free or unknown.
    pub(super) fn take(&mut self, ask: Ask) {
        let (epoch, spot) = (epoch(ask), self.spot(ask.hash));
        let line = &mut self.lines[spot.line];
        line.enter(epoch);
        for (row, column) in line.cells.iter_mut().zip(spot.columns) {
            let count = &mut row[column][parity(epoch)];
            *count = count.saturating_add(1);
        }
        self.used = ask.now;
    }

    /// Takes back one count of the moment `taken`, seen at `ask.now`.
    pub(super) fn give_back(&mut self, ask: Ask, taken: Tick) {
        let (epoch_now, spot) = (epoch(ask), self.spot(ask.hash));
        let epoch_taken = epoch(Ask { now: taken, ..ask });
        if epoch_now.wrapping_sub(epoch_taken) > 1 {
            return;
        }
        let line = &mut self.lines[spot.line];
        line.enter(epoch_now);
        for (row, column) in line.cells.iter_mut().zip(spot.columns) {
            let count = &mut row[column][parity(epoch_taken)];
            // A full counter has forgotten how much it holds: it stays full, rather than say too little.
            if *count < u16::MAX {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// True when nothing in it counts any more.
    pub(super) fn is_over(&self, window: Duration, now: Tick) -> bool {
        now.since(self.used) >= window * 2
    }

    /// Counts of both epochs, and those that will still count in the next one.
    fn estimate(&mut self, ask: Ask) -> (u32, u32) {
        let (epoch, spot) = (epoch(ask), self.spot(ask.hash));
        let line = &mut self.lines[spot.line];
        line.enter(epoch);
        let mut least = (u32::MAX, u32::MAX);
        for (row, column) in line.cells.iter().zip(spot.columns) {
            let cell = row[column];
            let current = u32::from(cell[parity(epoch)]);
            let before = u32::from(cell[parity(epoch) ^ 1]);
            least = (least.0.min(current + before), least.1.min(current));
        }
        least
    }

    fn spot(&self, hash: u64) -> Spot {
        // The table has used the hash's own bits: which keys meet in a line must not depend on where they stand there.
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let column = |bits: u64| scale((bits & 0xffff) << 16, COLUMNS);
        Spot {
            line: scale(mixed >> 32, self.lines.len()),
            columns: [column(mixed), column(mixed >> 16)],
        }
    }
}

/// How a key stands with an estimate of `total`, of which `current` will count in the next epoch.
pub(super) fn verdict(ask: Ask, total: u32, current: u32) -> Verdict {
    let limit = ask.rate.limit.min(u32::from(u16::MAX));
    match limit.checked_sub(total + 1) {
        Some(remaining) => Verdict::Free {
            remaining,
            resets_in: until_epoch(ask, if current < total { 1 } else { 2 }),
        },
        None => Verdict::Full {
            wait: until_epoch(ask, if current < limit { 1 } else { 2 }),
        },
    }
}

fn window_nanos(ask: Ask) -> u64 {
    u64::try_from(ask.rate.window.as_nanos())
        .unwrap_or(u64::MAX)
        .max(1)
}

fn epoch(ask: Ask) -> u32 {
    let epoch = ask.now.as_nanos() / window_nanos(ask);
    // The shortest window is a second: the number lasts for 136 years.
    u32::try_from(epoch).unwrap_or(u32::MAX)
}

/// Which number of a cell counts in `epoch`.
const fn parity(epoch: u32) -> usize {
    (epoch & 1) as usize
}

/// How long until `ahead` epochs from now begin.
fn until_epoch(ask: Ask, ahead: u64) -> Duration {
    let window = window_nanos(ask);
    let into_epoch = ask.now.as_nanos() % window;
    Duration::from_nanos(window.saturating_mul(ahead) - into_epoch)
}
