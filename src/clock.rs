//! Tells the time and waits for it; no other module asks the machine for either.

use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::unconstrained;

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
        Self(
            self.0
                .saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// Returns this moment moved `by` into the future.
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

/// A point on the monotonic clock, in nanoseconds since two days before the clock was made. For windows, intervals and
/// ages: a tick never jumps when somebody sets the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

impl Tick {
    /// Returns the moment `elapsed` after the first one.
    pub fn from_duration(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
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
        Self(
            self.0
                .saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }

    /// Returns this moment moved `by` into the future.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
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
        Timestamp(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
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

/// A clock for tests: it stands still until [`ManualClock::advance`] moves it, which wakes every wait that is over.
#[derive(Debug)]
pub struct ManualClock {
    state: watch::Sender<Turned>,
    epoch_millis: u64,
}

/// How far a manual clock was turned, and the moments that are waited for.
#[derive(Debug, Default)]
struct Turned {
    by: Duration,
    waits: Vec<Tick>,
}

impl Turned {
    fn tick(&self) -> Tick {
        Tick::from_duration(HEAD_START + self.by)
    }
}

/// One wait of a manual clock, registered as long as it lasts.
struct Waiting {
    state: watch::Sender<Turned>,
    moment: Tick,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.state.send_modify(|turned| {
            let mine = turned.waits.iter().position(|wait| *wait == self.moment);
            mine.map(|mine| turned.waits.swap_remove(mine));
        });
    }
}

impl ManualClock {
    /// Returns a clock that stands at `start`.
    pub fn at(start: Timestamp) -> Self {
        Self {
            state: watch::Sender::new(Turned::default()),
            epoch_millis: start.as_millis(),
        }
    }

    /// Moves both kinds of time `by` into the future.
    pub fn advance(&self, by: Duration) {
        self.state.send_modify(|turned| turned.by += by);
    }

    /// Returns once some task waits for a moment that is at most `within` ahead. A test that turns the clock calls this
    /// first, so that the task under test is waiting and not still on its way.
    pub async fn awaited(&self, within: Duration) {
        let is_awaited = |turned: &Turned| {
            let horizon = turned.tick().plus(within);
            turned.waits.iter().any(|wait| *wait <= horizon)
        };
        let mut changes = self.state.subscribe();
        // Cannot fail: this clock holds the sender.
        let _ = changes.wait_for(is_awaited).await;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.epoch_millis).plus(self.state.borrow().by)
    }

    fn tick(&self) -> Tick {
        self.state.borrow().tick()
    }

    fn until(&self, moment: Tick) -> Wait {
        self.state.send_modify(|turned| turned.waits.push(moment));
        let waiting = Waiting {
            state: self.state.clone(),
            moment,
        };
        Box::pin(async move {
            let mut changes = waiting.state.subscribe();
            // Cannot fail: the wait holds a sender.
            let _ = changes.wait_for(|turned| turned.tick() >= moment).await;
            drop(waiting);
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn manual() -> (Arc<ManualClock>, Arc<dyn Clock>) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1000)));
        (Arc::clone(&clock), clock)
    }

    fn is_ready(wait: &mut (impl Future + Unpin)) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        Pin::new(wait).poll(&mut context).is_ready()
    }

    #[test]
    fn a_wait_on_a_manual_clock_ends_exactly_when_the_clock_is_turned_to_its_moment() {
        let (hand, clock) = manual();
        let mut wait = clock.sleep(2 * SECOND);
        hand.advance(SECOND);
        assert!(!is_ready(&mut wait));
        hand.advance(SECOND);
        assert!(is_ready(&mut wait));
        assert!(is_ready(&mut clock.until(clock.tick())));
    }

    #[tokio::test]
    async fn turning_a_manual_clock_wakes_every_wait_that_is_over() {
        let (hand, clock) = manual();
        let waits = [1, 2, 3].map(|seconds| clock.sleep(seconds * SECOND));
        let [first, second, mut third] = waits;
        let turn = async { hand.advance(2 * SECOND) };
        tokio::join!(first, second, turn);
        assert!(!is_ready(&mut third));
    }

    #[tokio::test]
    async fn a_timeout_returns_the_work_in_time_and_an_error_after_it() {
        let (hand, clock) = manual();
        assert_eq!(clock.timeout(SECOND, async { 1 }).await, Ok(1));
        let turn = async {
            hand.awaited(SECOND).await;
            hand.advance(SECOND);
        };
        let (late, ()) = tokio::join!(clock.timeout(SECOND, std::future::pending::<()>()), turn);
        assert_eq!(late, Err(Elapsed));
    }

    #[tokio::test]
    async fn periodic_turns_come_at_once_and_then_one_period_after_the_last_was_taken() {
        let (hand, clock) = manual();
        let mut turns = clock.every(SECOND);
        turns.turn().await;
        assert!(!is_ready(&mut Box::pin(turns.turn())));
        hand.advance(5 * SECOND);
        turns.turn().await;
        assert!(!is_ready(&mut Box::pin(turns.turn())));
    }

    #[tokio::test]
    async fn a_dropped_wait_is_not_awaited() {
        let (hand, clock) = manual();
        drop(clock.sleep(SECOND));
        assert!(!is_ready(&mut Box::pin(hand.awaited(SECOND))));
        let _wait = clock.sleep(SECOND);
        hand.awaited(SECOND).await;
    }

    #[tokio::test]
    async fn the_machines_clock_waits_at_least_as_long_as_it_was_told() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let before = clock.tick();
        clock.sleep(Duration::from_millis(5)).await;
        assert!(clock.tick().since(before) >= Duration::from_millis(5));
    }
}
