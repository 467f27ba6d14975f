//! Bounds on every operation that starts something at the upstream: pace, room, circuit breaker, deadline, repetition.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter, clock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::UpstreamError;
use super::breaker::Breaker;
use super::error::Verdict;
use super::key::Looks;
use super::lines::Lines;
use super::queue::{Place, Queue};
use crate::clock::{Clock, Tick};
use crate::config;
use crate::domain::{Party, random_bytes};

/// The shortest wait before a second attempt; up to as much again is added at random.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The refusal of callers who could not be served within the longest wait.
const BUSY: UpstreamError = UpstreamError::Overloaded {
    retry_after: Duration::from_secs(1),
};

/// The right to start one operation. Dropping it frees its room.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

/// The bounds that all operations share.
pub(super) struct Policy {
    breaker: Breaker,
    pace: RateLimiter<NotKeyed, InMemoryState, PaceClock, NoOpMiddleware<Duration>>,
    room: Arc<Semaphore>,
    /// The callers who wait for their turn. Further callers would wait longer than `max_wait`.
    queue: Queue,
    max_wait: Duration,
    deadline: Duration,
    pub(super) looks: Looks,
    pub(super) lines: Lines,
    clock: Arc<dyn Clock>,
}

/// Our clock, as the pace reads it.
#[derive(Clone)]
struct PaceClock(Arc<dyn Clock>);

impl clock::Clock for PaceClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.tick().as_nanos())
    }
}

impl Policy {
    pub(super) fn new(settings: &config::Upstream, looks: Looks, clock: Arc<dyn Clock>) -> Self {
        let pace = NonZeroU32::new(settings.mints_per_second).unwrap_or(NonZeroU32::MIN);
        let pace_clock = PaceClock(Arc::clone(&clock));
        Self {
            breaker: Breaker::new(),
            pace: RateLimiter::direct_with_clock(Quota::per_second(pace), pace_clock),
            room: Arc::new(Semaphore::new(settings.max_in_flight)),
            queue: Queue::new(waiters(pace, settings.max_wait)),
            max_wait: settings.max_wait,
            deadline: settings.timeout,
            looks,
            lines: Lines::new(Arc::clone(&clock)),
            clock,
        }
    }

    /// True while the circuit breaker is open.
    pub(super) fn is_resting(&self, now: Tick) -> bool {
        self.breaker.rest(now).is_some()
    }

    /// Waits, briefly and in a queue behind a bounded number of others, for room and for a place in the pace. An error here has
    /// asked nobody and left nothing behind, so this comes before anything is recorded.
    pub(super) async fn turn(&self, party: Party) -> Result<Turn, UpstreamError> {
        // Judged before room is taken, so that an open circuit breaker costs those who can be served nothing.
        if let Some(retry_after) = self.breaker.rest(self.clock.tick()) {
            return Err(UpstreamError::Resting { retry_after });
        }
        if let Some(_head) = self.queue.try_head()
            && let Ok(room) = Arc::clone(&self.room).try_acquire_owned()
            && self.pace.check().is_ok()
        {
            return Ok(Turn(room));
        }
        let place = self.queue.join(party).ok_or(BUSY)?;
        let waited = self.clock.timeout(self.max_wait, self.wait_in(&place));
        waited.await.map_err(|_| BUSY)?
    }

    async fn wait_in(&self, place: &Place<'_>) -> Result<Turn, UpstreamError> {
        let _head = place.head().await;
        let room = Arc::clone(&self.room).acquire_owned().await;
        let room = room.map_err(|_| BUSY)?;
        while let Err(not_until) = self.pace.check() {
            let now = Duration::from_nanos(self.clock.tick().as_nanos());
            self.clock.sleep(not_until.wait_time_from(now)).await;
        }
        Ok(Turn(room))
    }

    /// Runs `operation` in its turn, at most `attempts` times within one deadline. More than one attempt is for operations
    /// whose lost result is of no use to anybody.
    ///
    /// Cancelling it leaves the bounds as they were; what the operation has started at the upstream stays started.
    pub(super) async fn run<T, W>(
        &self,
        _turn: Turn,
        attempts: u32,
        operation: impl Fn() -> W,
    ) -> Result<T, UpstreamError>
    where
        W: Future<Output = Result<T, UpstreamError>>,
    {
        let deadline = self.clock.tick().plus(self.deadline);
        let mut outcome = self.attempt(deadline, operation()).await;
        for _ in 1..attempts {
            let Err(error) = &outcome else { break };
            let Some(pause) = self.pause_before_retry(error, deadline) else {
                break;
            };
            self.lines.retry(error, pause);
            self.clock.sleep(pause).await;
            outcome = self.attempt(deadline, operation()).await;
        }
        outcome
    }

    /// Runs an operation that must not be repeated, in its turn. A deadline that passes leaves `operation` to the caller.
    pub(super) async fn once<T>(
        &self,
        _turn: Turn,
        operation: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let deadline = self.clock.tick().plus(self.deadline);
        self.attempt(deadline, operation).await
    }

    /// Runs an operation that takes as long as its caller takes to send. The circuit breaker learns nothing of such an
    /// operation, whose outcome says little, and late, of how the upstream is.
    pub(super) async fn unhurried<T>(
        &self,
        limit: Duration,
        operation: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let sent = self.clock.tick();
        let outcome = self.clock.timeout(limit, operation).await;
        let error = match outcome.unwrap_or(Err(UpstreamError::TimedOut)) {
            Ok(done) => return Ok(done),
            Err(UpstreamError::KeyRejected(complaint)) => self.looks.judge(complaint, sent).await,
            Err(error) => error,
        };
        self.lines.failure(&error);
        Err(error)
    }

    /// Runs one attempt and tells the circuit breaker its outcome.
    async fn attempt<T>(
        &self,
        deadline: Tick,
        operation: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let sent = self.clock.tick();
        let resting = |retry_after| UpstreamError::Resting { retry_after };
        let permit = self.breaker.enter(sent).map_err(resting)?;
        let outcome = self.clock.timeout(deadline.since(sent), operation).await;
        let error = match outcome.unwrap_or(Err(UpstreamError::TimedOut)) {
            Ok(done) => {
                permit.succeeded();
                return Ok(done);
            }
            Err(UpstreamError::KeyRejected(complaint)) => self.looks.judge(complaint, sent).await,
            Err(error) => error,
        };
        let facts = error.facts();
        match facts.verdict {
            Verdict::Works => permit.succeeded(),
            Verdict::Failed | Verdict::Rests => permit.failed(self.clock.tick(), facts.rest()),
        }
        self.lines.failure(&error);
        Err(error)
    }

    /// Tells the circuit breaker of a failure that something under way has shown.
    pub(super) fn learn(&self, error: &UpstreamError) {
        let now = self.clock.tick();
        if let Ok(permit) = self.breaker.enter(now) {
            permit.failed(now, error.facts().rest());
            self.lines.failure(error);
        }
    }

    /// Returns the wait before a second attempt, when that may succeed and ends in time. The second attempt takes a place
    /// in the pace like any other.
    fn pause_before_retry(&self, error: &UpstreamError, deadline: Tick) -> Option<Duration> {
        let pause = error.facts().retry?.max(jittered(RETRY_PAUSE));
        let is_in_time = self.clock.tick().plus(pause) < deadline;
        let may = is_in_time
            && self.breaker.rest(self.clock.tick()).is_none()
            && self.pace.check().is_ok();
        may.then_some(pause)
    }
}

/// Returns `pause` and up to as much again, so that many who failed at once do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let [byte] = random_bytes();
    pause + pause * u32::from(byte) / 255
}

/// Returns how many callers can be served within the longest wait.
fn waiters(pace: NonZeroU32, max_wait: Duration) -> usize {
    let served = (u128::from(pace.get()) * max_wait.as_millis()).div_ceil(1000);
    usize::try_from(served).map_or(10_000, |served| served.clamp(1, 10_000))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Poll, Waker};

    use async_trait::async_trait;

    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use crate::config::{Config, Mode};
    use crate::domain::{ClientSecret, Network};
    use crate::upstream::{MintOrder, Minter, Probe};

    /// A provider whose free look never ends and is counted.
    #[derive(Default)]
    struct Silent(AtomicU32);

    #[async_trait]
    impl Minter for Silent {
        async fn mint(&self, _: &MintOrder) -> Result<ClientSecret, UpstreamError> {
            Err(UpstreamError::TimedOut)
        }

        async fn probe(&self) -> Result<Probe, UpstreamError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        }
    }

    fn somebody() -> Party {
        Party::Network(Network::around([203, 0, 113, 7].into()))
    }

    struct Bench {
        clock: Arc<ManualClock>,
        provider: Arc<Silent>,
        policy: Policy,
    }

    impl Bench {
        fn new() -> Self {
            let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(0)));
            let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
            let provider = Arc::new(Silent::default());
            let minter: Arc<dyn Minter> = Arc::<Silent>::clone(&provider);
            let looks = Looks::new(minter, Arc::clone(&shared));
            let settings = Config::from_pairs(Mode::Dev, &[]).unwrap().upstream;
            let policy = Policy::new(&settings, looks, shared);
            Self {
                clock,
                provider,
                policy,
            }
        }

        /// Runs an operation that always fails so. Returns how often it was started.
        async fn attempts(&self, most: u32, error: fn() -> UpstreamError) -> u32 {
            let started = AtomicU32::new(0);
            let operation = || {
                started.fetch_add(1, Ordering::SeqCst);
                std::future::ready(Err::<(), _>(error()))
            };
            let turn = self.policy.turn(somebody()).await.unwrap();
            tokio::select! {
                outcome = self.policy.run(turn, most, operation) => assert!(outcome.is_err()),
                () = self.keep_turning() => {}
            }
            started.into_inner()
        }

        async fn keep_turning(&self) {
            loop {
                self.clock.awaited(2 * RETRY_PAUSE).await;
                self.clock.advance(2 * RETRY_PAUSE);
            }
        }
    }

    #[tokio::test]
    async fn a11_nobody_overtakes_those_who_wait_for_their_turn() {
        fn polled<T>(turn: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
            Pin::new(turn).poll(&mut Context::from_waker(Waker::noop()))
        }
        let bench = Bench::new();
        let mut started = Vec::new();
        let mut first = loop {
            let mut turn = Box::pin(bench.policy.turn(somebody()));
            match polled(&mut turn) {
                Poll::Ready(turn) => started.push(turn.unwrap()),
                Poll::Pending => break turn,
            }
        };
        // The pace has a place again, and the one who waits has not seen it yet.
        bench.clock.advance(Duration::from_millis(25));
        let neighbour = Party::Network(Network::around([198, 51, 100, 7].into()));
        let mut second = Box::pin(bench.policy.turn(neighbour));
        assert!(polled(&mut second).is_pending());
        assert!(polled(&mut first).is_ready());
    }

    #[tokio::test]
    async fn an_operation_that_must_not_be_repeated_is_started_once_whatever_happens() {
        let broken = || UpstreamError::Broken(500.into());
        assert_eq!(Bench::new().attempts(1, broken).await, 1);
        assert_eq!(Bench::new().attempts(2, broken).await, 2);
    }

    #[tokio::test]
    async fn an_outcome_that_is_not_known_is_not_repeated() {
        let silent = || UpstreamError::TimedOut;
        assert_eq!(Bench::new().attempts(2, silent).await, 1);
    }

    #[tokio::test]
    async fn all_attempts_share_one_deadline_and_a_pause_beyond_it_is_not_begun() {
        let bench = Bench::new();
        let started = AtomicU32::new(0);
        let deadline = bench.clock.tick().plus(bench.policy.deadline);
        let operation = || {
            started.fetch_add(1, Ordering::SeqCst);
            let last_moment = deadline.minus(Duration::from_millis(1));
            bench.clock.advance(last_moment.since(bench.clock.tick()));
            std::future::ready(Err::<(), _>(UpstreamError::Broken(500.into())))
        };
        let turn = bench.policy.turn(somebody()).await.unwrap();
        let outcome = bench.policy.run(turn, 2, operation).await;
        assert!(matches!(outcome, Err(UpstreamError::Broken(_))));
        assert_eq!(started.into_inner(), 1);
    }

    #[tokio::test]
    async fn requests_that_are_rejected_at_the_same_time_share_one_look() {
        let bench = Bench::new();
        let rejected = async || {
            tokio::task::yield_now().await;
            bench.clock.advance(Duration::from_millis(1));
            Err::<(), _>(UpstreamError::KeyRejected(401.into()))
        };
        let run = async || {
            let turn = bench.policy.turn(somebody()).await.unwrap();
            bench.policy.run(turn, 2, rejected).await
        };
        // Both were sent before the look began.
        let turn = async {
            bench.clock.awaited(Duration::from_secs(5)).await;
            bench.clock.advance(Duration::from_secs(5));
        };
        let (first, second, ()) = tokio::join!(run(), run(), turn);
        for outcome in [first, second] {
            assert!(matches!(outcome, Err(UpstreamError::Refused(_))));
        }
        assert_eq!(bench.provider.0.load(Ordering::SeqCst), 1);
    }
}
