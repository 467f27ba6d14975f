//! The queue of callers who wait for their turn: bounded, first come first served, with a share for each.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::domain::Party;

/// One neighbourhood or identity may take this part of the places, and one place at least.
const SHARE: usize = 16;

/// Callers who wait. Callers without identity take half of the places at most, so that those with one always find room.
pub(super) struct Queue {
    places: usize,
    waiting: Mutex<Waiting>,
    /// Held by the caller whose turn is next.
    head: Semaphore,
}

/// The callers who wait, counted.
#[derive(Default)]
struct Waiting {
    all: usize,
    without_identity: usize,
    by_party: HashMap<Party, usize>,
}

/// A caller in the queue. Dropping it leaves the queue.
pub(super) struct Waiter<'a> {
    queue: &'a Queue,
    party: Party,
}

impl Queue {
    /// Returns a queue with `places` places.
    pub(super) fn new(places: usize) -> Self {
        Self {
            places,
            waiting: Mutex::default(),
            head: Semaphore::new(1),
        }
    }

    /// Returns the right to go first, if nobody waits.
    pub(super) fn try_head(&self) -> Option<SemaphorePermit<'_>> {
        self.head.try_acquire().ok()
    }

    /// Joins the end of the queue. `None` when it is full, or `party` has its share of it.
    pub(super) fn join(&self, party: Party) -> Option<Waiter<'_>> {
        let mut waiting = self.waiting.lock();
        let is_stranger = matches!(party, Party::Network(_));
        let theirs = waiting.by_party.get(&party).copied().unwrap_or_default();
        let has_room = waiting.all < self.places
            && theirs < (self.places / SHARE).max(1)
            && !(is_stranger && waiting.without_identity >= self.places.div_ceil(2));
        if !has_room {
            return None;
        }
        waiting.all += 1;
        waiting.without_identity += usize::from(is_stranger);
        waiting.by_party.insert(party, theirs + 1);
        Some(Waiter { queue: self, party })
    }
}

impl<'a> Waiter<'a> {
    /// Waits until all who came earlier have left. Returns the right to go first.
    pub(super) async fn head(&self) -> Option<SemaphorePermit<'a>> {
        // Never closed.
        self.queue.head.acquire().await.ok()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting.lock();
        waiting.all -= 1;
        waiting.without_identity -= usize::from(matches!(self.party, Party::Network(_)));
        if let Some(theirs) = waiting.by_party.get_mut(&self.party) {
            *theirs -= 1;
            if *theirs == 0 {
                waiting.by_party.remove(&self.party);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Naming, Network};

    fn neighbourhood(number: u8) -> Party {
        Party::Network(Network::around([203, 0, number, 7].into()))
    }

    fn identity(number: u8) -> Party {
        let account = Naming::Plain.account(&"https://id.example.com/".into(), &number.to_string());
        Party::Identity(account.key())
    }

    #[test]
    fn a11_each_has_a_share_of_the_line_and_callers_without_identity_have_half_of_it() {
        let queue = Queue::new(64);
        let join = |party| queue.join(party);
        let mut waiting = Vec::new();
        for number in 0..8 {
            waiting.extend((0..10).filter_map(|_| join(neighbourhood(number))));
            assert_eq!(waiting.len(), 4 * (usize::from(number) + 1));
        }
        assert!(join(neighbourhood(9)).is_none());
        waiting.extend((0..100).filter_map(|number| join(identity(number))));
        assert_eq!(waiting.len(), 64);
        drop(waiting.remove(0));
        assert!(join(neighbourhood(9)).is_some());
        drop(waiting);
        assert!(queue.waiting.lock().by_party.is_empty());
    }

    #[test]
    fn the_shortest_line_has_a_place_for_anybody() {
        assert!(Queue::new(1).join(neighbourhood(1)).is_some());
        assert!(Queue::new(1).join(identity(1)).is_some());
    }
}
