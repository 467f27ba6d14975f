//! Families of series: one atomic number, or one histogram, for each set of label values.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::RwLock;

use super::text::{Name, Page};

/// Most sets of label values of one family. Further ones are counted under [`OTHER`].
const MOST: usize = 512;
/// Longest value of a label, in bytes.
const LONGEST: usize = 100;
/// The value of every label of the set that all further ones share.
const OTHER: &str = "other";

/// Upper bounds of the buckets of [`Latency`] in milliseconds: those of OpenTelemetry's `http.server.request.duration`.
const LATENCY: [u64; BOUNDS] = [
    5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000,
];
/// Upper bounds of the buckets of [`Length`] in milliseconds: five seconds to an hour.
const LENGTH: [u64; BOUNDS] = [
    5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 180_000, 300_000, 450_000, 600_000, 900_000,
    1_200_000, 1_800_000, 3_600_000,
];
const BOUNDS: usize = 14;

/// What is kept for one set of label values.
pub trait Cell: Default {
    /// The kind, in Prometheus' words.
    const KIND: &'static str;

    /// Writes the samples.
    fn write(&self, page: &mut Page, name: &Name<'_>);
}

/// A count that only grows. With `IN_NANOS`, a count of billionths that is written in whole units.
#[derive(Debug, Default)]
pub struct Count<const IN_NANOS: bool>(AtomicU64);

/// A count of events.
pub type Total = Count<false>;
/// A sum of seconds or dollars.
pub type Nanos = Count<true>;

/// A figure that rises and falls. Holds the bits of a float.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

/// A histogram of durations. `IS_LONG` chooses its buckets.
#[derive(Debug, Default)]
pub struct Histogram<const IS_LONG: bool> {
    /// The counts between the bounds. The last one is beyond all bounds.
    counts: [AtomicU64; BOUNDS + 1],
    nanos: AtomicU64,
}

/// The numbers of durations between the bounds of a histogram. The last one is beyond all bounds.
pub type Counts = [u64; BOUNDS + 1];

/// A histogram of durations of requests.
pub type Latency = Histogram<false>;
/// A histogram of durations of calls.
pub type Length = Histogram<true>;

/// One name with its labels, and a cell for each set of their values.
pub struct Family<const N: usize, C> {
    name: &'static str,
    help: &'static str,
    labels: [&'static str; N],
    /// Sorted by the values.
    cells: RwLock<Vec<([Box<str>; N], C)>>,
}

impl<const N: usize, C: Cell> Family<N, C> {
    pub(super) fn new(name: &'static str, help: &'static str, labels: [&'static str; N]) -> Self {
        let family = Self {
            name,
            help,
            labels,
            cells: RwLock::default(),
        };
        if N == 0 {
            family.begin(labels);
        }
        family
    }

    /// Makes the cell of `values` appear before anything is counted in it.
    pub fn begin(&self, values: [&str; N]) {
        self.with(values, |_| {});
    }

    /// Calls `change` with the cell of `values`.
    fn with(&self, values: [&str; N], change: impl FnOnce(&C)) {
        let values = values.map(|value| &value[..value.floor_char_boundary(LONGEST)]);
        let cells = self.cells.read();
        if let Ok(place) = find(&cells, &values) {
            return change(&cells[place].1);
        }
        drop(cells);
        let mut cells = self.cells.write();
        let values = if cells.len() < MOST {
            values
        } else {
            [OTHER; N]
        };
        let place = find(&cells, &values).unwrap_or_else(|place| {
            cells.insert(place, (values.map(Into::into), C::default()));
            place
        });
        change(&cells[place].1);
    }

    /// Returns every set of label values, with the figure that `of` reads from its cell.
    pub fn read<T>(&self, of: impl Fn(&C) -> T) -> Vec<([Box<str>; N], T)> {
        let cells = self.cells.read();
        let figures = cells
            .iter()
            .map(|(values, cell)| (values.clone(), of(cell)));
        figures.collect()
    }

    pub(super) fn write(&self, page: &mut Page) {
        page.head(self.name, C::KIND, self.help);
        for (values, cell) in &*self.cells.read() {
            let name = Name {
                family: self.name,
                labels: &self.labels,
                values,
            };
            cell.write(page, &name);
        }
    }
}

fn find<const N: usize, C>(
    cells: &[([Box<str>; N], C)],
    values: &[&str; N],
) -> Result<usize, usize> {
    cells.binary_search_by(|(known, _)| known.iter().map(|one| &**one).cmp(values.iter().copied()))
}

impl<const N: usize, const IN_NANOS: bool> Family<N, Count<IN_NANOS>> {
    /// Adds `more` to the count of `values`.
    pub fn add(&self, values: [&str; N], more: u64) {
        self.with(values, |count| {
            count.0.fetch_add(more, Relaxed);
        });
    }

    /// Takes a count that is kept elsewhere.
    pub fn reach(&self, values: [&str; N], count: u64) {
        self.with(values, |known| {
            known.0.fetch_max(count, Relaxed);
        });
    }

    /// Returns the sum of all counts.
    pub fn sum(&self) -> u64 {
        self.cells.read().iter().map(|(_, cell)| cell.count()).sum()
    }
}

impl<const N: usize> Family<N, Level> {
    /// Forgets all figures: what they were of may be gone.
    pub fn clear(&self) {
        self.cells.write().clear();
    }

    /// Takes the figure of `values` at this moment.
    pub fn set(&self, values: [&str; N], figure: f64) {
        self.with(values, |level| level.0.store(figure.to_bits(), Relaxed));
    }
}

impl<const N: usize, const IS_LONG: bool> Family<N, Histogram<IS_LONG>> {
    /// Counts a duration of `values`.
    pub fn observe(&self, values: [&str; N], took: Duration) {
        self.with(values, |histogram| {
            let bounds = Histogram::<IS_LONG>::bounds();
            let is_below = |bound: &u64| Duration::from_millis(*bound) < took;
            histogram.counts[bounds.partition_point(is_below)].fetch_add(1, Relaxed);
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            histogram.nanos.fetch_add(nanos, Relaxed);
        });
    }

    /// Returns the numbers of all durations between the bounds.
    pub fn counts(&self) -> Counts {
        let mut sums = Counts::default();
        for (_, histogram) in &*self.cells.read() {
            for (sum, count) in sums.iter_mut().zip(histogram.counts()) {
                *sum += count;
            }
        }
        sums
    }
}

impl<const IN_NANOS: bool> Count<IN_NANOS> {
    /// Returns the count.
    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl<const IS_LONG: bool> Histogram<IS_LONG> {
    /// Returns the numbers of durations between the bounds.
    fn counts(&self) -> Counts {
        self.counts.each_ref().map(|count| count.load(Relaxed))
    }

    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.counts().iter().sum()
    }

    /// Returns the mean of all durations; zero without any.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Relaxed) / self.count().max(1))
    }

    /// Returns the least bound that at least `share` of the durations do not exceed. `None` beyond all bounds.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        Self::quantile_of(&self.counts(), share)
    }

    /// Returns the same for durations that were counted between the bounds.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count, for people"
    )]
    pub fn quantile_of(counts: &Counts, share: f64) -> Option<Duration> {
        let wanted = (counts.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let mut bounds = Self::bounds().iter().zip(counts);
        let reached = bounds.find(|(_, count)| {
            seen += *count;
            seen >= wanted
        });
        reached.map(|(bound, _)| Duration::from_millis(*bound))
    }

    const fn bounds() -> &'static [u64; BOUNDS] {
        if IS_LONG { &LENGTH } else { &LATENCY }
    }
}

impl<const IN_NANOS: bool> Cell for Count<IN_NANOS> {
    const KIND: &'static str = "counter";

    fn write(&self, page: &mut Page, name: &Name<'_>) {
        if IN_NANOS {
            page.sample(name, ("", None), units(self.count()));
        } else {
            page.sample(name, ("", None), self.count());
        }
    }
}

impl Cell for Level {
    const KIND: &'static str = "gauge";

    fn write(&self, page: &mut Page, name: &Name<'_>) {
        page.sample(name, ("", None), f64::from_bits(self.0.load(Relaxed)));
    }
}

impl<const IS_LONG: bool> Cell for Histogram<IS_LONG> {
    const KIND: &'static str = "histogram";

    #[expect(clippy::cast_precision_loss, reason = "bounds are small")]
    fn write(&self, page: &mut Page, name: &Name<'_>) {
        let bounds = Self::bounds().map(|bound| format!("{:?}", bound as f64 / 1000.0));
        let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
        let mut count = 0;
        for (bound, counted) in bounds.zip(&self.counts) {
            count += counted.load(Relaxed);
            page.sample(name, ("_bucket", Some(bound)), count);
        }
        page.sample(name, ("_sum", None), units(self.nanos.load(Relaxed)));
        page.sample(name, ("_count", None), count);
    }
}

/// Returns billionths as units.
#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus computes with floats"
)]
fn units(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
