//! Counts the admissions of one key in a sliding window.

use std::time::Duration;

use smallvec::SmallVec;

use crate::clock::Tick;
use crate::domain::Rate;

/// The answer to "may one more be admitted?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Places that are left once this one is taken; `None` when the window is full.
    pub remaining: Option<u32>,
    /// Time until one more place is free.
    pub resets_in: Duration,
}

impl Verdict {
    /// Returns the verdict for `held` admissions, of which the oldest leaves the window in `resets_in`.
    pub(crate) const fn over(rate: Rate, held: u32, resets_in: Duration) -> Self {
        Self {
            remaining: rate.limit.checked_sub(held.saturating_add(1)),
            resets_in,
        }
    }

    /// Returns whether the window has a free place.
    pub const fn is_free(self) -> bool {
        self.remaining.is_some()
    }
}

/// Admissions, oldest first. Those that no longer count are dropped by and by. Most keys of a flood
/// have one or two admissions, which are stored without an allocation.
///
/// Time must not go back from one call to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct SlidingWindow(SmallVec<[Tick; 2]>);

impl SlidingWindow {
    /// Returns whether `rate` has a free place at `now`. Takes nothing.
    pub(super) fn check(&mut self, rate: Rate, now: Tick) -> Verdict {
        let mut gone = self.gone(rate.window, now);
        // Dropping the older half at once costs each admission one move.
        if gone * 2 >= self.0.len() {
            self.0.drain(..gone);
            gone = 0;
        }
        let held = u32::try_from(self.0.len() - gone).unwrap_or(u32::MAX);
        let oldest = self.0.get(gone);
        let resets_in = oldest.map_or(rate.window, |oldest| oldest.plus(rate.window).since(now));
        Verdict::over(rate, held, resets_in)
    }

    /// Takes a place that `check` has just found free.
    pub(super) fn take(&mut self, now: Tick) {
        self.0.push(now);
    }

    /// Gives back the place taken at `taken`, if it still counts.
    pub(super) fn give_back(&mut self, taken: Tick) {
        // A place that is given back was taken a moment ago.
        if let Some(place) = self.0.iter().rposition(|stamp| *stamp == taken) {
            self.0.remove(place);
        }
    }

    /// Returns whether no admission counts any more.
    pub(super) fn is_over(&self, window: Duration, now: Tick) -> bool {
        let newest = self.0.last();
        newest.is_none_or(|newest| newest.plus(window) <= now)
    }

    /// Gives back memory that the remaining admissions do not need.
    pub(super) fn shrink(&mut self, window: Duration, now: Tick) {
        self.0.drain(..self.gone(window, now));
        if self.0.len() * 2 < self.0.capacity() {
            self.0.shrink_to_fit();
        }
    }

    /// Returns the number of admissions that no longer count.
    fn gone(&self, window: Duration, now: Tick) -> usize {
        self.0.partition_point(|stamp| stamp.plus(window) <= now)
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
        Verdict {
            remaining: None,
            resets_in: Duration::from_nanos(nanos),
        }
    }

    /// A model that keeps every admission and counts them all each time.
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
            let remaining = (held < rate.limit).then(|| rate.limit - held - 1);
            Verdict {
                remaining,
                resets_in,
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
            let (mut window, mut naive, mut now) = (SlidingWindow::default(), Naive::default(), 0);
            for (gap, step) in steps {
                now += gap;
                match step {
                    Step::Ask => {
                        let verdict = window.check(rate, at(now));
                        prop_assert_eq!(verdict, naive.check(rate, now));
                        if verdict.is_free() {
                            window.take(at(now));
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
            let (mut window, mut now, mut admitted) = (SlidingWindow::default(), 0, Vec::new());
            for gap in gaps {
                now += gap;
                if window.check(rate, at(now)).is_free() {
                    window.take(at(now));
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
            let (mut window, mut now) = (SlidingWindow::default(), 0);
            for gap in gaps {
                now += gap;
                let verdict = window.check(rate, at(now));
                if verdict.is_free() {
                    window.take(at(now));
                } else {
                    let then = at(now).plus(verdict.resets_in);
                    let early = at(then.as_nanos() - 1);
                    prop_assert!(!window.clone().check(rate, early).is_free());
                    prop_assert!(window.clone().check(rate, then).is_free());
                }
            }
        }
    }

    #[test]
    fn a_place_is_free_again_exactly_when_the_window_has_passed() {
        let rate = rate(1, 100);
        let mut window = SlidingWindow::default();
        assert!(window.check(rate, at(5)).is_free());
        window.take(at(5));
        assert_eq!(window.check(rate, at(104)), wait(1));
        assert!(!window.is_over(rate.window, at(104)));
        assert!(window.is_over(rate.window, at(105)));
        assert!(window.check(rate, at(105)).is_free());
    }

    #[test]
    fn memory_grows_with_what_happened_and_not_with_what_is_allowed() {
        let rate = rate(1_000_000, 100);
        let mut window = SlidingWindow::default();
        for now in 0..10 {
            window.take(at(now));
        }
        assert!(window.0.capacity() <= 16, "{}", window.0.capacity());
        window.shrink(rate.window, at(108));
        assert_eq!(window.0.as_slice(), [at(9)]);
        assert!(!window.0.spilled(), "one admission needs no allocation");
        assert_eq!(size_of::<(u64, SlidingWindow)>(), 40);
    }
}
