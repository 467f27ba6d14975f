//! Owns the time: nobody else asks the machine what time it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point on the wall clock, in milliseconds since the Unix epoch. For what leaves the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The moment `seconds` seconds after the Unix epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// How long from `earlier` until this moment; zero when `earlier` is the later one.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The beginning of the UTC day that this moment is in.
    #[must_use]
    pub const fn start_of_day(self) -> Self {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        Self(self.0 - self.0 % DAY)
    }

    /// This moment moved `by` into the past; the first one at the earliest.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// This moment moved `by` into the future.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

impl From<Timestamp> for SystemTime {
    fn from(moment: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(moment.0)
    }
}

/// A point on the monotonic clock, in nanoseconds since two days before the clock was made, so that there is room for what
/// happened before a restart. For windows, intervals and ages:
/// it never jumps when somebody sets the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

impl Tick {
    /// The moment so long after the first.
    pub fn from_duration(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since the first moment.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment `nanos` nanoseconds after the first.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// How long from `earlier` until this moment; zero when `earlier` is the later one.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment moved `by` into the past; the first one at the earliest.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// This moment moved `by` into the future.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// Where the ticks of a new clock stand, so that there is room for what happened before: a restart must not forget it.
const HEAD_START: Duration = Duration::from_hours(48);

/// Milliseconds with three places: what people and dashboards read.
pub fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// Whole seconds, rounded up: as a wait, they suffice.
pub const fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + (duration.subsec_nanos() > 0) as u64
}

/// Tells the time, in both of its kinds.
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// The monotonic clock.
    fn tick(&self) -> Tick;
}

/// The machine's own clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose ticks count from now.
    #[expect(clippy::disallowed_methods, reason = "this is the owner of the time")]
    #[expect(
        clippy::new_without_default,
        reason = "a default that reads the machine would surprise"
    )]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the owner of the time")]
    fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    fn tick(&self) -> Tick {
        Tick::from_duration(HEAD_START + self.started.elapsed())
    }
}

/// A clock that moves only when it is told to; both kinds of time move together.
#[derive(Debug)]
pub struct ManualClock {
    turned: AtomicU64,
    epoch_millis: u64,
}

impl ManualClock {
    /// A clock that stands at `start`.
    pub const fn at(start: Timestamp) -> Self {
        Self {
            turned: AtomicU64::new(0),
            epoch_millis: start.as_millis(),
        }
    }

    /// Moves the clock `by` into the future.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.turned.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.epoch_millis + self.turned.load(Ordering::SeqCst) / 1_000_000)
    }

    fn tick(&self) -> Tick {
        let turned = Duration::from_nanos(self.turned.load(Ordering::SeqCst));
        Tick::from_duration(HEAD_START + turned)
    }
}
