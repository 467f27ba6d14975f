//! Answers requests that are repeated with the same `Idempotency-Key`.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use quick_cache::sync::Cache;

use super::Answered;
use crate::clock::{Clock, Tick};
use crate::domain::EntryId;

/// An answer is given again for so long. Later, its page has long applied it or is gone.
const AGAIN_FOR: Duration = Duration::from_secs(30);
/// Most answers that are kept.
const CAPACITY: usize = 1_000;
/// How often a repeated request looks whether the first one has its answer.
const LOOK: Duration = Duration::from_millis(100);
/// Longest wait for the first request. It has a shorter deadline itself.
const LONGEST: Duration = Duration::from_secs(30);

/// The calls that are being dialled, and the answers of a moment ago. In memory only.
pub(super) struct Again {
    dialling: DashMap<EntryId, ()>,
    answers: Cache<EntryId, (Arc<Answered>, Tick)>,
}

/// A call that is being dialled, until this is dropped.
pub(super) struct Dialling<'a>(&'a Again, EntryId);

impl Again {
    pub(super) fn new() -> Self {
        Self {
            dialling: DashMap::new(),
            answers: Cache::new(CAPACITY),
        }
    }

    /// Notes that a call is being dialled.
    pub(super) fn dials(&self, entry: EntryId) -> Dialling<'_> {
        self.dialling.insert(entry, ());
        Dialling(self, entry)
    }

    /// Keeps an answer.
    pub(super) fn keep(&self, answered: &Arc<Answered>, now: Tick) {
        self.answers
            .insert(answered.entry, (Arc::clone(answered), now));
    }

    /// Waits for the answer to the first request of this call, and returns it while it is worth something.
    pub(super) async fn answer(&self, entry: EntryId, clock: &dyn Clock) -> Option<Arc<Answered>> {
        let asked = clock.tick();
        while self.dialling.contains_key(&entry) && clock.tick().since(asked) < LONGEST {
            clock.sleep(LOOK).await;
        }
        let (answered, since) = self.answers.get(&entry)?;
        (clock.tick().since(since) < AGAIN_FOR).then_some(answered)
    }
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        self.0.dialling.remove(&self.1);
    }
}
