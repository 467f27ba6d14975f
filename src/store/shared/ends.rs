//! Owns the ends of sessions that the server has not heard of.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Tick;
use crate::domain::Party;
use crate::store::StoreError;
use crate::store::redis::RedisStore;

/// Most ends that wait for the server. Whoever said one was told to say it again.
const MOST: usize = 10_000;
/// For so long an end is repeated: other replicas may send later what they opened before it.
const REPEATED: Duration = Duration::from_mins(1);

/// Ends that were said while the server was gone.
#[derive(Default)]
pub(super) struct Ends(Mutex<Vec<End>>);

#[derive(Clone, Copy)]
struct End {
    party: Party,
    /// When it was said. What was opened later goes on.
    said: Tick,
    /// When the server heard of it first.
    heard: Option<Tick>,
}

impl Ends {
    /// Keeps an end until the server is back.
    pub(super) fn keep(&self, party: Party, said: Tick) {
        let mut ends = self.ends();
        ends.retain(|end| end.party != party);
        if ends.len() < MOST {
            let heard = None;
            ends.push(End { party, said, heard });
        }
    }

    /// True while there are some that the server has not heard of.
    pub(super) fn are_waiting(&self) -> bool {
        self.ends().iter().any(|end| end.heard.is_none())
    }

    /// Tells the server all of them.
    pub(super) async fn tell(&self, server: &RedisStore) -> Result<(), StoreError> {
        let told = self.ends().clone();
        for end in told {
            server.end_before(end.party, end.said).await?;
            self.note_heard(end, server.tick());
        }
        Ok(())
    }

    fn note_heard(&self, told: End, now: Tick) {
        self.ends().retain_mut(|end| {
            if (end.party, end.said) != (told.party, told.said) {
                return true;
            }
            now.since(*end.heard.get_or_insert(now)) < REPEATED
        });
    }

    /// A panic elsewhere leaves the list usable: every change to it is a single one.
    fn ends(&self) -> MutexGuard<'_, Vec<End>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
