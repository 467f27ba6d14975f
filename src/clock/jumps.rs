//! Logs jumps of the wall clock, by which credentials are judged.

use std::time::Duration;

use super::Clock;

/// Poll interval for changes of the wall clock.
const INTERVAL: Duration = Duration::from_secs(1);
/// A jump of the wall clock that is logged. Time synchronization makes smaller ones.
const JUMP: Duration = Duration::from_secs(10);

impl dyn Clock + '_ {
    /// Logs jumps of the wall clock. Never returns.
    pub async fn log_jumps(&self) {
        let mut turns = self.every(INTERVAL);
        let (mut wall, mut tick) = (self.now(), self.tick());
        loop {
            turns.turn().await;
            let expected = wall.plus(self.tick().since(tick));
            (wall, tick) = (self.now(), self.tick());
            let (forward, back) = (wall.since(expected), expected.since(wall));
            if forward.max(back) >= JUMP {
                tracing::warn!(
                    forward_s = forward.as_secs(),
                    back_s = back.as_secs(),
                    "the wall clock was set: the validity of credentials follows it, windows and sessions do not change"
                );
            }
        }
    }
}
