//! Owns the patience around another minter: pace, room, breaker, one retry, one deadline.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for another machine on the real clock until its room takes a Clock"
)]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::breaker::Breaker;
use super::{MintOrder, Minter, Probe, Turn, UpstreamError};
use crate::clock::{Clock, Tick};
use crate::config::Upstream;
use crate::domain::ClientSecret;

/// Longest rest that an upstream's `Retry-After` is given, and the rest after it rejected our key or ran out of money.
pub(crate) const LONG_REST: Duration = Duration::from_secs(30);
/// Longest `Retry-After` that is waited for within one request.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(1);

/// What those are told who would wait in vain.
const BUSY: UpstreamError = UpstreamError::Overloaded {
    retry_after: Duration::from_secs(1),
};

/// Another minter, asked no more than it should be.
pub struct Guarded<M> {
    inner: M,
    breaker: Breaker,
    pace: DefaultDirectRateLimiter,
    room: Arc<Semaphore>,
    /// Those who wait for their turn: more of them would only wait in vain.
    queue: Semaphore,
    max_wait: Duration,
    deadline: Duration,
    clock: Arc<dyn Clock>,
}

impl<M: Minter> Guarded<M> {
    /// `inner`, paced and bounded as `settings` say.
    pub fn new(inner: M, settings: &Upstream, clock: Arc<dyn Clock>) -> Self {
        let pace = NonZeroU32::new(settings.mints_per_second).unwrap_or(NonZeroU32::MIN);
        Self {
            inner,
            breaker: Breaker::new(),
            pace: RateLimiter::direct(Quota::per_second(pace)),
            room: Arc::new(Semaphore::new(settings.max_in_flight)),
            queue: Semaphore::new(waiters(pace, settings.max_wait)),
            max_wait: settings.max_wait,
            deadline: settings.timeout,
            clock,
        }
    }

    /// Waits, briefly and in bounded company, for room and for its place in the pace.
    async fn room(&self) -> Result<OwnedSemaphorePermit, UpstreamError> {
        if let Ok(room) = Arc::clone(&self.room).try_acquire_owned()
            && self.pace.check().is_ok()
        {
            return Ok(room);
        }
        let _place = self.queue.try_acquire().map_err(|_| BUSY)?;
        timeout(self.max_wait, self.wait_for_room())
            .await
            .map_err(|_| BUSY)?
    }

    async fn wait_for_room(&self) -> Result<OwnedSemaphorePermit, UpstreamError> {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let room = room.map_err(|_| BUSY)?;
        // governor paces by a clock of its own, which no rule of ours depends on.
        while let Err(not_until) = self.pace.check() {
            sleep(not_until.wait_time_from(DefaultClock::default().now())).await;
        }
        Ok(room)
    }

    /// One attempt within what is left of the deadline, whose outcome the breaker hears of.
    async fn attempt(
        &self,
        order: &MintOrder,
        started: Tick,
    ) -> Result<ClientSecret, UpstreamError> {
        let now = self.clock.tick();
        let resting = |retry_after| UpstreamError::Resting { retry_after };
        let permit = self.breaker.enter(now).map_err(resting)?;
        let left = self.deadline.saturating_sub(now.since(started));
        let outcome = timeout(left, self.inner.mint(order, Turn::default()))
            .await
            .unwrap_or(Err(UpstreamError::TimedOut));
        match outcome.as_ref().err().map(verdict) {
            None | Some(Verdict::Fine) => permit.succeeded(),
            Some(Verdict::Failed { rest }) => permit.failed(self.clock.tick(), rest),
        }
        outcome
    }

    /// An attempt, and a second one when the first failed in a way that a second may not.
    async fn attempts(&self, order: &MintOrder) -> Result<ClientSecret, UpstreamError> {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_millis(400))
            .with_jitter()
            .with_max_times(1);
        let started = self.clock.tick();
        (|| self.attempt(order, started))
            .retry(backoff)
            // The second attempt takes its place in the pace like any other.
            .when(|error| is_worth_a_retry(error) && self.breaker.is_closed() && self.pace.check().is_ok())
            .adjust(|error, delay| delay.map(|delay| delay.max(error.retry_after().unwrap_or_default())))
            .notify(|error, delay| tracing::warn!(%error, ?delay, "the upstream failed; trying once more"))
            .await
    }
}

/// As many as can be served within the longest wait.
fn waiters(pace: NonZeroU32, max_wait: Duration) -> usize {
    let served = f64::from(pace.get()) * max_wait.as_secs_f64();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive count, far below the limits"
    )]
    let served = served.ceil() as usize;
    served.clamp(1, 10_000)
}

/// A mint is safe to repeat: a secret nobody holds opens nothing.
fn is_worth_a_retry(error: &UpstreamError) -> bool {
    match error {
        UpstreamError::Unreachable(_) => true,
        UpstreamError::Broken { retry_after, .. } => {
            retry_after.is_none_or(|wait| wait <= MAX_RETRY_WAIT)
        }
        UpstreamError::TimedOut
        | UpstreamError::RateLimited { .. }
        | UpstreamError::QuotaExhausted
        | UpstreamError::KeyRejected { .. }
        | UpstreamError::Refused { .. }
        | UpstreamError::Invalid(_)
        | UpstreamError::Overloaded { .. }
        | UpstreamError::Resting { .. } => false,
    }
}

enum Verdict {
    /// It works, whatever it thought of this request.
    Fine,
    /// It does not, and wants to be left alone for so long.
    Failed { rest: Option<Duration> },
}

fn verdict(error: &UpstreamError) -> Verdict {
    match error {
        UpstreamError::Refused { .. }
        | UpstreamError::Overloaded { .. }
        | UpstreamError::Resting { .. } => Verdict::Fine,
        UpstreamError::Unreachable(_) | UpstreamError::TimedOut | UpstreamError::Invalid(_) => {
            Verdict::Failed { rest: None }
        }
        UpstreamError::Broken { retry_after, .. } => Verdict::Failed {
            // A wait that is waited for within the request is no rest.
            rest: retry_after
                .filter(|wait| *wait > MAX_RETRY_WAIT)
                .map(|wait| wait.min(LONG_REST)),
        },
        UpstreamError::RateLimited { retry_after } => Verdict::Failed {
            rest: Some(retry_after.unwrap_or(Duration::from_secs(2)).min(LONG_REST)),
        },
        UpstreamError::QuotaExhausted | UpstreamError::KeyRejected { .. } => Verdict::Failed {
            rest: Some(LONG_REST),
        },
    }
}

#[async_trait]
impl<M: Minter> Minter for Guarded<M> {
    async fn turn(&self) -> Result<Turn, UpstreamError> {
        // Looked at before room is taken, so that a rest costs those who can be served nothing.
        if let Some(retry_after) = self.breaker.rest(self.clock.tick()) {
            return Err(UpstreamError::Resting { retry_after });
        }
        let room = Some(self.room().await?);
        Ok(Turn { room })
    }

    async fn mint(&self, order: &MintOrder, turn: Turn) -> Result<ClientSecret, UpstreamError> {
        let minted = self.attempts(order).await;
        drop(turn.room);
        minted
    }

    async fn probe(&self) -> Result<Probe, UpstreamError> {
        self.inner.probe().await
    }
}
