//! Owns the sliding window: the admissions of one key, and whether one more may follow.

use std::time::Duration;

use crate::clock::Tick;
use crate::domain::Rate;

/// What is to be said of one more admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is a place.
    Free {
        /// Places left once it is taken.
        remaining: u32,
        /// How long until one more is free.
        resets_in: Duration,
    },
    /// There is none.
    Full {
        /// How long until there is one.
        wait: Duration,
    },
}

impl Verdict {
    /// What is to be said when `held` admissions count, of which the oldest leaves the window in `resets_in`.
    pub(crate) const fn over(rate: Rate, held: u32, resets_in: Duration) -> Self {
        match rate.limit.checked_sub(held.saturating_add(1)) {
            Some(remaining) => Self::Free {
                remaining,
                resets_in,
            },
            None => Self::Full { wait: resets_in },
        }
    }
}

/// The admissions that still count, oldest first. Most keys of a flood have one or two, which need no memory of their
/// own.
///
/// Time must not go back from one call to the next.
#[derive(Clone, Debug)]
pub(super) enum SlidingWindow {
    /// At most two; `NEVER` stands for none.
    Few([Tick; 2]),
    /// More, until less than two are left.
    Many(Ring),
}

/// No moment. Nothing happens so late, 584 years after the start.
const NEVER: Tick = Tick::from_nanos(u64::MAX);

impl SlidingWindow {
    /// A window with nothing in it.
    pub(super) const fn empty() -> Self {
        Self::Few([NEVER; 2])
    }

    /// Whether `rate` has a place at `now`. Takes nothing.
    pub(super) fn check(&mut self, rate: Rate, now: Tick) -> Verdict {
        self.forget(rate.window, now);
        let (held, oldest) = match self {
            Self::Few(few) => (
                few.iter().map(|&stamp| u32::from(stamp != NEVER)).sum(),
                few[0],
            ),
            Self::Many(ring) => (ring.len, ring.oldest().unwrap_or(NEVER)),
        };
        let resets_in = if oldest == NEVER {
            rate.window
        } else {
            oldest.plus(rate.window).since(now)
        };
        Verdict::over(rate, held, resets_in)
    }

    /// Takes a place that `check` has just found free.
    pub(super) fn take(&mut self, rate: Rate, now: Tick) {
        match self {
            Self::Few([first, _]) if *first == NEVER => *first = now,
            Self::Few([_, second]) if *second == NEVER => *second = now,
            Self::Few(few) => {
                let mut ring = Ring::default();
                for stamp in [few[0], few[1], now] {
                    ring.push(stamp, rate.limit);
                }
                *self = Self::Many(ring);
            }
            Self::Many(ring) => ring.push(now, rate.limit),
        }
    }

    /// Gives back the place taken at `taken`, if it still counts.
    pub(super) fn give_back(&mut self, taken: Tick) {
        match self {
            Self::Few([_, second]) if *second == taken => *second = NEVER,
            Self::Few(few) if few[0] == taken => *few = [few[1], NEVER],
            Self::Few(_) => {}
            Self::Many(ring) => ring.remove(taken),
        }
    }

    /// True when nothing in it counts any more.
    pub(super) fn is_over(&self, window: Duration, now: Tick) -> bool {
        let newest = match self {
            Self::Few([first, NEVER]) => *first,
            Self::Few([_, second]) => *second,
            Self::Many(ring) => ring.newest().unwrap_or(NEVER),
        };
        newest == NEVER || newest.plus(window) <= now
    }

    /// Gives back the memory that it does not need now.
    pub(super) fn shrink(&mut self, window: Duration, now: Tick) {
        self.forget(window, now);
        if let Self::Many(ring) = self {
            let held = ring.len as usize;
            if held * 2 < ring.stamps.len() {
                ring.resize(held);
            }
        }
    }

    fn forget(&mut self, window: Duration, now: Tick) {
        let counts = |stamp: Tick| stamp.plus(window) > now;
        match self {
            Self::Few([first, _]) if counts(*first) => {}
            Self::Few([_, second]) if counts(*second) => *self = Self::Few([*second, NEVER]),
            Self::Few(_) => *self = Self::empty(),
            Self::Many(ring) => {
                while ring.oldest().is_some_and(|oldest| !counts(oldest)) {
                    ring.pop();
                }
                if ring.len < 2 {
                    *self = Self::Few([ring.oldest().unwrap_or(NEVER), NEVER]);
                }
            }
        }
    }
}

/// A queue of moments in a block of memory that grows as needed. Smaller than a `VecDeque`, so that a key with its
/// window fits into 32 bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Ring {
    stamps: Box<[Tick]>,
    first: u32,
    len: u32,
}

/// Stamps in the smallest block.
const LEAST_STAMPS: usize = 4;

impl Ring {
    fn oldest(&self) -> Option<Tick> {
        (self.len > 0).then(|| self.stamps[self.place(0)])
    }

    fn newest(&self) -> Option<Tick> {
        let last = self.len.checked_sub(1)?;
        Some(self.stamps[self.place(last)])
    }

    /// Where the `nth` oldest stands.
    fn place(&self, nth: u32) -> usize {
        let place = self.first as usize + nth as usize;
        place.checked_sub(self.stamps.len()).unwrap_or(place)
    }

    /// Appends; `most` is how many there will ever be, so that the last block is no larger.
    fn push(&mut self, stamp: Tick, most: u32) {
        let held = self.stamps.len();
        if self.len as usize == held {
            let roomy = (held * 2).max(LEAST_STAMPS).min(most as usize);
            self.resize(roomy.max(held + 1));
        }
        self.len += 1;
        let place = self.place(self.len - 1);
        self.stamps[place] = stamp;
    }

    fn pop(&mut self) {
        self.first = if self.first as usize + 1 == self.stamps.len() {
            0
        } else {
            self.first + 1
        };
        self.len -= 1;
    }

    /// Takes `stamp` out. Looks at the newest first: what is given back was taken a moment ago.
    fn remove(&mut self, stamp: Tick) {
        let Some(nth) = (0..self.len)
            .rev()
            .find(|&nth| self.stamps[self.place(nth)] == stamp)
        else {
            return;
        };
        for later in nth + 1..self.len {
            let (to, from) = (self.place(later - 1), self.place(later));
            self.stamps[to] = self.stamps[from];
        }
        self.len -= 1;
    }

    fn resize(&mut self, size: usize) {
        let mut stamps = Vec::with_capacity(size);
        stamps.extend((0..self.len).map(|nth| self.stamps[self.place(nth)]));
        stamps.resize(size, Tick::default());
        self.stamps = stamps.into_boxed_slice();
        self.first = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn rate(limit: u32, window: u64) -> Rate {
        Rate {
            limit,
            window: Duration::from_nanos(window),
        }
    }

    const fn at(nanos: u64) -> Tick {
        Tick::from_nanos(nanos)
    }

    fn wait(nanos: u64) -> Verdict {
        Verdict::Full {
            wait: Duration::from_nanos(nanos),
        }
    }

    fn is_free(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Free { .. })
    }

    /// Every admission ever made, counted anew each time.
    #[derive(Default)]
    struct Naive(Vec<u64>);

    impl Naive {
        fn check(&self, rate: Rate, now: u64) -> Verdict {
            let window = u64::try_from(rate.window.as_nanos()).unwrap();
            let live: Vec<u64> = self
                .0
                .iter()
                .rev()
                .copied()
                .take_while(|stamp| now - stamp < window)
                .collect();
            let resets_in =
                Duration::from_nanos(live.last().map_or(window, |oldest| oldest + window - now));
            let held = u32::try_from(live.len()).unwrap();
            if held < rate.limit {
                let remaining = rate.limit - held - 1;
                Verdict::Free {
                    remaining,
                    resets_in,
                }
            } else {
                Verdict::Full { wait: resets_in }
            }
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Ask,
        GiveBack(prop::sample::Index),
        Shrink,
    }

    fn steps(gap_max: u64, count: usize) -> impl Strategy<Value = Vec<(u64, Step)>> {
        let step = prop_oneof![
            30 => Just(Step::Ask),
            1 => any::<prop::sample::Index>().prop_map(Step::GiveBack),
            1 => Just(Step::Shrink),
        ];
        prop::collection::vec((0..=gap_max, step), count)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn verdicts_are_those_of_a_naive_log(limit in 1_u32..40, steps in steps(12, 4_100)) {
            let rate = rate(limit, 100);
            let (mut window, mut naive, mut now) = (SlidingWindow::empty(), Naive::default(), 0);
            for (gap, step) in steps {
                now += gap;
                match step {
                    Step::Ask => {
                        let verdict = window.check(rate, at(now));
                        prop_assert_eq!(verdict, naive.check(rate, now));
                        if is_free(verdict) {
                            window.take(rate, at(now));
                            naive.0.push(now);
                        }
                    }
                    Step::GiveBack(which) if !naive.0.is_empty() => {
                        let taken = naive.0.remove(which.index(naive.0.len()));
                        window.give_back(at(taken));
                    }
                    Step::GiveBack(_) => {}
                    Step::Shrink => window.shrink(rate.window, at(now)),
                }
            }
        }

        #[test]
        fn no_stretch_as_long_as_the_window_holds_more_than_the_limit(
            limit in 1_usize..12,
            gaps in prop::collection::vec(0_u64..30, 500),
        ) {
            let rate = rate(u32::try_from(limit).unwrap(), 100);
            let (mut window, mut now, mut admitted) = (SlidingWindow::empty(), 0, Vec::new());
            for gap in gaps {
                now += gap;
                if is_free(window.check(rate, at(now))) {
                    window.take(rate, at(now));
                    admitted.push(now);
                }
            }
            for stretch in admitted.windows(limit + 1) {
                prop_assert!(stretch[limit] - stretch[0] >= 100);
            }
        }

        #[test]
        fn a_wait_is_exact_and_sufficient(
            limit in 1_u32..12,
            gaps in prop::collection::vec(0_u64..30, 200),
        ) {
            let rate = rate(limit, 100);
            let (mut window, mut now) = (SlidingWindow::empty(), 0);
            for gap in gaps {
                now += gap;
                match window.check(rate, at(now)) {
                    Verdict::Free { .. } => window.take(rate, at(now)),
                    Verdict::Full { wait } => {
                        let then = at(now).plus(wait);
                        let early = at(then.as_nanos() - 1);
                        prop_assert!(!is_free(window.clone().check(rate, early)));
                        prop_assert!(is_free(window.clone().check(rate, then)));
                    }
                }
            }
        }
    }

    #[test]
    fn a_place_is_free_again_exactly_when_the_window_has_passed() {
        let rate = rate(1, 100);
        let mut window = SlidingWindow::empty();
        assert!(is_free(window.check(rate, at(5))));
        window.take(rate, at(5));
        assert_eq!(window.check(rate, at(104)), wait(1));
        assert!(!window.is_over(rate.window, at(104)));
        assert!(window.is_over(rate.window, at(105)));
        assert!(is_free(window.check(rate, at(105))));
    }

    #[test]
    fn memory_grows_with_what_happened_and_not_with_what_is_allowed() {
        let rate = rate(1_000_000, 100);
        let mut window = SlidingWindow::empty();
        for now in 0..10 {
            window.take(rate, at(now));
        }
        let SlidingWindow::Many(ring) = &window else {
            panic!("ten admissions need memory");
        };
        assert_eq!(ring.stamps.len(), 16);
        window.shrink(rate.window, at(108));
        assert!(matches!(window, SlidingWindow::Few([last, NEVER]) if last == at(9)));
        assert_eq!(size_of::<(u64, SlidingWindow)>(), 32);
    }
}
