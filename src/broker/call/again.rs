//! Answers requests that are repeated with the same `Idempotency-Key`.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use quick_cache::sync::Cache;

use super::Answered;
use crate::clock::{Clock, Tick};
use crate::domain::EntryId;

/// How long an answer is kept for a repeated request. Later, its page has applied the answer or is gone.
const AGAIN_FOR: Duration = Duration::from_secs(30);
/// Most answers that are kept.
const CAPACITY: usize = 1_000;
/// Poll interval of a repeated request that waits for the answer to the first one.
const LOOK: Duration = Duration::from_millis(100);
/// Longest wait for the first request. It has a shorter deadline itself.
const LONGEST: Duration = Duration::from_secs(30);

/// The calls that are being dialled, and the answers of a moment ago. In memory only.
pub(super) struct Again {
    /// With the hash of the `Idempotency-Key`.
    dialling: DashMap<EntryId, Option<Box<str>>>,
    answers: Cache<EntryId, Kept>,
}

/// An answer, the hash of the `Idempotency-Key` of its request, and when it was given.
#[derive(Clone)]
struct Kept {
    answered: Arc<Answered>,
    key: Option<Box<str>>,
    since: Tick,
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

    /// Notes that a call is being dialled, for a request with this `Idempotency-Key`.
    pub(super) fn dials(&self, entry: EntryId, key: Option<Box<str>>) -> Dialling<'_> {
        self.dialling.insert(entry, key);
        Dialling(self, entry)
    }

    /// Keeps an answer.
    pub(super) fn keep(&self, answered: &Arc<Answered>, key: Option<Box<str>>, since: Tick) {
        let answered = Arc::clone(answered);
        let kept = Kept {
            answered,
            key,
            since,
        };
        self.answers.insert(kept.answered.entry, kept);
    }

    /// True when this replica has the call, or its answer, of an earlier request with the same `Idempotency-Key`.
    pub(super) fn knows(&self, entry: EntryId, key: &str) -> bool {
        let dialled = self.dialling.get(&entry).and_then(|known| known.clone());
        let known = dialled.or_else(|| self.answers.get(&entry)?.key);
        known.is_some_and(|known| *known == *key)
    }

    /// Waits for the answer to the first request of this call. Returns `None` when there is none, or it is too old.
    pub(super) async fn answer(&self, entry: EntryId, clock: &dyn Clock) -> Option<Arc<Answered>> {
        let asked = clock.tick();
        while self.dialling.contains_key(&entry) && clock.tick().since(asked) < LONGEST {
            clock.sleep(LOOK).await;
        }
        let kept = self.answers.get(&entry)?;
        (clock.tick().since(kept.since) < AGAIN_FOR).then_some(kept.answered)
    }
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        self.0.dialling.remove(&self.1);
    }
}
