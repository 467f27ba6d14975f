//! A clock that a test turns by hand.

use std::time::Duration;

use tokio::sync::watch;

use super::{Clock, HEAD_START, Tick, Timestamp, Wait};

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
    /// How far the wall clock was set forward or back beside, in milliseconds.
    set_by: i64,
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

    /// Sets only the wall clock, as an operator may set the machine's: by `seconds` forward, or back if negative.
    pub fn set_wall_by(&self, seconds: i64) {
        let millis = seconds.saturating_mul(1000);
        self.state.send_modify(|turned| turned.set_by += millis);
    }

    /// Returns once some task waits for a moment that is at most `within` ahead. A test that turns the clock calls this
    /// first, so that the task under test is waiting and not still on its way.
    pub async fn awaited(&self, within: Duration) {
        let is_awaited = |turned: &Turned| {
            let (now, horizon) = (turned.tick(), turned.tick().plus(within));
            let mut waits = turned.waits.iter();
            // A wait that is over may still be registered: its task has not run yet.
            waits.any(|wait| now < *wait && *wait <= horizon)
        };
        let mut changes = self.state.subscribe();
        // Cannot fail: this clock holds the sender.
        let _ = changes.wait_for(is_awaited).await;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let turned = self.state.borrow();
        let set = self.epoch_millis.saturating_add_signed(turned.set_by);
        Timestamp::from_millis(set).plus(turned.by)
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
    use std::pin::Pin;
    use std::sync::Arc;

    use super::super::{Elapsed, SystemClock};
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

    #[test]
    fn setting_the_wall_clock_moves_no_tick() {
        let (hand, clock) = manual();
        let (now, tick) = (clock.now(), clock.tick());
        hand.set_wall_by(-60);
        hand.advance(SECOND);
        assert_eq!(now.since(clock.now()), 59 * SECOND);
        assert_eq!(clock.tick(), tick.plus(SECOND));
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
