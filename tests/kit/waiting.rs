//! Waits for conditions. Other processes, sockets and spawned tasks tell nobody when they are done, so tests poll.

use std::time::{Duration, Instant};

/// Bound on what takes milliseconds on an idle machine.
pub const SOON: Duration = Duration::from_secs(10);
/// Bound on everything else. Only what never happens takes as long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two polls: short beside everything that a test waits for.
const STEP: Duration = Duration::from_millis(10);

/// Waits until `is_so`, at most [`PATIENCE`] long.
#[track_caller]
pub fn until(what: &str, is_so: impl Fn() -> bool) -> impl Future<Output = ()> {
    let waiting = eventually(what, PATIENCE, async move || is_so());
    async move {
        waiting.await;
    }
}

/// Waits until `is_so`, at most `within`. Returns how long that took.
pub async fn eventually(
    what: &str,
    within: Duration,
    mut is_so: impl AsyncFnMut() -> bool,
) -> Duration {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < within, "never happened: {what}");
        // The pause between two polls.
        tokio::time::sleep(STEP).await;
    }
    began.elapsed()
}

/// Waits until `is_so` where nothing can be awaited. Returns whether that happened within `within`.
pub fn polled(within: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if is_so() {
            return true;
        }
        if began.elapsed() >= within {
            return false;
        }
        // The pause between two polls.
        std::thread::sleep(STEP);
    }
}

/// Lets this many milliseconds pass for somebody else, whose time no test can turn: of work, to break into it wherever it
/// is then, of an idle connection, or of a lease. Few tests may: an architecture test counts them.
pub async fn amid_the_work(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// Lets all tasks of this runtime go as far as they can.
pub async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}
