//! Bounds on every operation that starts something at the upstream: pace, room, circuit breaker, deadline, repetition.

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter, clock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::breaker::{Breaker, Permit};
use super::error::Verdict;
use super::key::Key;
use super::keyring::{Choice, Keyring};
use super::lines::Lines;
use super::queue::{Queue, Waiter};
use super::{Payer, UpstreamError};
use crate::clock::{Clock, Tick};
use crate::config;
use crate::domain::{KeyFingerprint, Party, random_bytes};

/// The shortest wait before a second attempt; up to as much again is added at random.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The refusal of callers who could not be served within the longest wait.
const BUSY: UpstreamError = UpstreamError::Overloaded {
    retry_after: Duration::from_secs(1),
};

/// The right to start one operation, with one of the API keys for it. Dropping it frees its room.
#[derive(Debug)]
pub struct Turn {
    room: Option<OwnedSemaphorePermit>,
    keys: Choice,
}

impl Turn {
    /// Frees the room at once: the operation needs none.
    pub fn leave_room(&mut self) {
        self.room = None;
    }

    /// Returns the fingerprint of the key to ask with.
    pub fn key(&self) -> &KeyFingerprint {
        &self.keys.key().fingerprint
    }

    /// Takes the next key after a failure that is the key's, which has left nothing behind. Returns false when there is none.
    pub(super) fn moves_on(&mut self, error: &UpstreamError) -> bool {
        self.keys.moves_on(error)
    }
}

/// The bounds that all operations share.
pub(super) struct Policy {
    breaker: Breaker,
    pace: RateLimiter<NotKeyed, InMemoryState, PaceClock, NoOpMiddleware<Duration>>,
    room: Arc<Semaphore>,
    /// The callers who wait for their turn. Further callers would wait longer than `max_wait`.
    queue: Queue,
    max_wait: Duration,
    deadline: Duration,
    pub(super) keys: Keyring,
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
    pub(super) fn new(settings: &config::Upstream, keys: Keyring, clock: Arc<dyn Clock>) -> Self {
        let pace = NonZeroU32::new(settings.mints_per_second).unwrap_or(NonZeroU32::MIN);
        let pace_clock = PaceClock(Arc::clone(&clock));
        Self {
            breaker: Breaker::new(),
            pace: RateLimiter::direct_with_clock(Quota::per_second(pace), pace_clock),
            room: Arc::new(Semaphore::new(settings.max_in_flight)),
            queue: Queue::new(waiters(pace, settings.max_wait)),
            max_wait: settings.max_wait,
            deadline: settings.timeout,
            keys,
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
    pub(super) async fn turn(&self, party: Party, payer: Payer<'_>) -> Result<Turn, UpstreamError> {
        // Judged before room is taken, so that an open circuit breaker costs those who can be served nothing.
        let resting = |retry_after| UpstreamError::Resting { retry_after };
        if let Some(retry_after) = self.breaker.rest(self.clock.tick()) {
            return Err(resting(retry_after));
        }
        let keys = self.keys.choose(payer).map_err(resting)?;
        let room = Some(self.take_room(party).await?);
        Ok(Turn { room, keys })
    }

    async fn take_room(&self, party: Party) -> Result<OwnedSemaphorePermit, UpstreamError> {
        if let Some(_head) = self.queue.try_head()
            && let Ok(room) = Arc::clone(&self.room).try_acquire_owned()
            && self.pace.check().is_ok()
        {
            return Ok(room);
        }
        let queued = self.queue.join(party).ok_or(BUSY)?;
        let waited = self.clock.timeout(self.max_wait, self.wait_in(&queued));
        waited.await.map_err(|_| BUSY)?
    }

    async fn wait_in(&self, queued: &Waiter<'_>) -> Result<OwnedSemaphorePermit, UpstreamError> {
        let _head = queued.head().await;
        let room = Arc::clone(&self.room).acquire_owned().await;
        let room = room.map_err(|_| BUSY)?;
        while let Err(not_until) = self.pace.check() {
            let now = Duration::from_nanos(self.clock.tick().as_nanos());
            self.clock.sleep(not_until.wait_time_from(now)).await;
        }
        Ok(room)
    }

    /// Runs `operation` in its turn, at most `attempts` times within one deadline, and once more for each key that the provider
    /// does not take. More than one attempt is for operations whose lost result is of no use to anybody.
    ///
    /// Cancelling it leaves the bounds as they were; what the operation has started at the upstream stays started.
    pub(super) async fn run<T, W>(
        &self,
        mut turn: Turn,
        attempts: u32,
        operation: impl Fn(KeyFingerprint) -> W,
    ) -> Result<T, UpstreamError>
    where
        W: Future<Output = Result<T, UpstreamError>>,
    {
        let deadline = self.clock.tick().plus(self.deadline);
        let mut left = attempts;
        loop {
            let attempt = self.once(&turn, deadline, operation(turn.key().clone()));
            let error = match attempt.await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if turn.moves_on(&error) {
                continue;
            }
            left -= 1;
            let may_again = left > 0;
            let pause = may_again.then(|| self.pause_before_retry(&error, deadline));
            let Some(pause) = pause.flatten() else {
                return Err(error);
            };
            self.lines.retry(&error, pause);
            self.clock.sleep(pause).await;
        }
    }

    /// Runs an operation that takes as long as its caller takes to send. The circuit breaker learns nothing of such an
    /// operation, whose outcome says little, and late, of how the upstream is.
    pub(super) async fn unhurried<T>(
        &self,
        (turn, limit): (&Turn, Duration),
        operation: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let (key, sent) = (turn.keys.key(), self.clock.tick());
        let outcome = self.clock.timeout(limit, operation).await;
        let error = match outcome.unwrap_or(Err(UpstreamError::TimedOut)) {
            Ok(done) => {
                key.succeeded(self.clock.tick());
                return Ok(done);
            }
            Err(error) => self.keys.judge(key, error, sent).await,
        };
        if matches!(error, UpstreamError::QuotaExhausted(_)) {
            key.rest_after(&error, self.clock.tick());
        }
        key.failed(&error);
        self.lines.failure(&error);
        Err(error)
    }

    /// Runs one attempt with the key of the turn, and tells the circuit breaker its outcome. A deadline that passes leaves
    /// `operation` to the caller.
    pub(super) async fn once<T>(
        &self,
        turn: &Turn,
        deadline: Tick,
        operation: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        let (key, sent) = (turn.keys.key(), self.clock.tick());
        let resting = |retry_after| UpstreamError::Resting { retry_after };
        let permit = self.breaker.enter(sent).map_err(resting)?;
        let outcome = self.clock.timeout(deadline.since(sent), operation).await;
        let error = match outcome.unwrap_or(Err(UpstreamError::TimedOut)) {
            Ok(done) => {
                permit.succeeded();
                key.succeeded(self.clock.tick());
                return Ok(done);
            }
            Err(error) => self.keys.judge(key, error, sent).await,
        };
        self.weigh(permit, (key, turn.keys.has_more()), &error);
        Err(error)
    }

    /// Tells the circuit breaker of a failure that something under way has shown of the key of this fingerprint.
    pub(super) fn learn(&self, error: &UpstreamError, key: &KeyFingerprint) {
        let permit = self.breaker.enter(self.clock.tick());
        if let (Ok(permit), Some(key)) = (permit, self.keys.find(key)) {
            self.weigh(permit, (&key, false), error);
        }
    }

    /// Lets the key rest whose failure `error` is. Opens the circuit breaker for it unless another key takes over, or is good.
    fn weigh(&self, permit: Permit<'_>, (key, has_next): (&Key, bool), error: &UpstreamError) {
        let (facts, now) = (error.facts(), self.clock.tick());
        key.failed(error);
        if error.is_of_key() {
            key.rest_after(error, now);
            if has_next || self.keys.is_any_good() {
                permit.succeeded();
                return self.lines.of_key(error);
            }
        }
        match facts.verdict {
            Verdict::Works => permit.succeeded(),
            Verdict::Failed | Verdict::Rests => permit.failed(now, facts.rest()),
        }
        self.lines.failure(error);
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
