//! Lane for work that must never be refused: hang-ups, side channels and free looks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::UpstreamError;
use crate::clock::Clock;

/// A lane of its own, beside the policy for operations that start something. It knows no pace, no circuit breaker and no
/// resting key: a call must end on time exactly when the provider is shaky.
pub(super) struct Lane {
    room: Semaphore,
    deadline: Duration,
    clock: Arc<dyn Clock>,
}

impl Lane {
    /// Returns a lane for `at_once` operations at the same time, which may each take as long as `deadline`. The next
    /// operation waits for its turn, which comes within the deadline of those before it.
    pub(super) fn new(at_once: usize, deadline: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            room: Semaphore::new(at_once),
            deadline,
            clock,
        }
    }

    /// Runs `work` once there is room. Its deadline starts when the work does.
    pub(super) async fn run<T>(
        &self,
        work: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        // Cannot fail: the semaphore is never closed.
        let _room = self.room.acquire().await;
        let done = self.clock.timeout(self.deadline, work).await;
        done.unwrap_or(Err(UpstreamError::TimedOut))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::JoinSet;

    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    const DEADLINE: Duration = Duration::from_secs(5);
    const AT_ONCE: usize = 32;

    #[tokio::test]
    async fn a_full_lane_makes_the_next_operation_wait_for_room_and_never_refuses_it() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(0)));
        let lane = Arc::new(Lane::new(
            AT_ONCE,
            DEADLINE,
            Arc::<ManualClock>::clone(&clock),
        ));
        let started = Arc::new(AtomicUsize::new(0));
        let mut hung = JoinSet::<Result<(), UpstreamError>>::new();
        for _ in 0..AT_ONCE {
            let (lane, started) = (Arc::clone(&lane), Arc::clone(&started));
            hung.spawn(async move {
                let work = async {
                    started.fetch_add(1, Ordering::SeqCst);
                    pending().await
                };
                lane.run(work).await
            });
        }
        clock.awaited(DEADLINE).await;
        assert_eq!(started.load(Ordering::SeqCst), AT_ONCE);

        let mut next = Box::pin(lane.run(ready(Ok(()))));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(next.as_mut().poll(&mut context).is_pending());
        clock.advance(DEADLINE);
        assert!(next.await.is_ok());
        for outcome in hung.join_all().await {
            assert!(matches!(outcome, Err(UpstreamError::TimedOut)));
        }
    }
}
