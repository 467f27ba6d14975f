//! Tells the time and waits for it; no other module asks the machine for either.

mod jumps;
mod manual;

use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task::unconstrained;

pub use manual::ManualClock;

/// A point on the wall clock, in milliseconds since the Unix epoch. For values that leave the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Returns the moment `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Returns the moment `seconds` seconds after the Unix epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Returns the milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the seconds since the Unix epoch.
    #[expect(
        clippy::cast_precision_loss,
        reason = "figures for people and Prometheus"
    )]
    pub const fn as_seconds_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Returns the whole seconds since the Unix epoch, rounded down.
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Returns the time from `earlier` until this moment; zero when `earlier` is the later one.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns the beginning of the UTC day that contains this moment.
    #[must_use]
    pub const fn start_of_day(self) -> Self {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        Self(self.0 - self.0 % DAY)
    }

    /// Returns this moment moved `by` into the past, but never before the first moment.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(saturated(by.as_millis())))
    }

    /// Returns this moment moved `by` into the future.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(saturated(by.as_millis())))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(moment: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(moment.0)
    }
}

/// A point on the monotonic clock, in nanoseconds since two days before the clock was made. For windows, intervals and
/// ages: a tick never jumps when somebody sets the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

impl Tick {
    /// Returns the moment `elapsed` after the first one.
    pub fn from_duration(elapsed: Duration) -> Self {
        Self(saturated(elapsed.as_nanos()))
    }

    /// Returns the nanoseconds since the first moment.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the moment `nanos` nanoseconds after the first one.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the time from `earlier` until this moment; zero when `earlier` is the later one.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns this moment moved `by` into the past, but never before the first moment.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(saturated(by.as_nanos())))
    }

    /// Returns this moment moved `by` into the future.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(saturated(by.as_nanos())))
    }
}

/// Returns `number`, or the largest number that fits.
fn saturated(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The tick at which a new clock starts. Leaves room for events from before a restart, which must not be forgotten.
const HEAD_START: Duration = Duration::from_hours(48);

/// Returns milliseconds with three decimal places, for people and dashboards.
pub fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// Returns whole seconds, rounded up, so that waiting that long is enough.
pub const fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + (duration.subsec_nanos() > 0) as u64
}

/// A wait for a moment. Dropping it ends the wait.
pub type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells both kinds of time, and waits.
pub trait Clock: Send + Sync {
    /// Returns the wall clock's time.
    fn now(&self) -> Timestamp;
    /// Returns the monotonic clock's time.
    fn tick(&self) -> Tick;
    /// Waits until `moment`; returns at once when `moment` has passed. The wait starts with this call.
    fn until(&self, moment: Tick) -> Wait;
}

/// The deadline passed before the work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline has passed")]
pub struct Elapsed;

impl dyn Clock + '_ {
    /// Waits for `duration`, from this call on.
    pub fn sleep(&self, duration: Duration) -> Wait {
        self.until(self.tick().plus(duration))
    }

    /// Returns the turns of periodic work. The first turn comes at once; the next one comes `period` after the last one
    /// was taken, however long the work took.
    pub fn every(&self, period: Duration) -> Every<'_> {
        Every {
            clock: self,
            period,
            next: self.tick(),
        }
    }

    /// Runs `work` for at most `limit`. Drops `work` when that time is over.
    pub async fn timeout<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        let deadline = self.tick().plus(limit);
        tokio::select! {
            biased;
            done = work => Ok(done),
            // Lazy, so that work that is ready at once needs no timer.
            () = async { self.until(deadline).await } => Err(Elapsed),
        }
    }
}

/// The turns of periodic work.
pub struct Every<'a> {
    clock: &'a (dyn Clock + 'a),
    period: Duration,
    next: Tick,
}

impl Every<'_> {
    /// Waits for the next turn. A wait that is dropped takes no turn.
    pub async fn turn(&mut self) {
        self.clock.until(self.next).await;
        self.next = self.clock.tick().plus(self.period);
    }
}

/// The machine's own clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Returns a clock whose ticks count from now.
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
        Timestamp(saturated(elapsed.as_millis()))
    }

    fn tick(&self) -> Tick {
        Tick::from_duration(HEAD_START + self.started.elapsed())
    }

    /// Needs a tokio runtime. Not bound by tokio's cooperative budget: a deadline passes even when the work it limits
    /// never pauses.
    #[expect(clippy::disallowed_methods, reason = "this is the owner of the time")]
    fn until(&self, moment: Tick) -> Wait {
        let left = moment.since(self.tick());
        Box::pin(unconstrained(tokio::time::sleep(left)))
    }
}
