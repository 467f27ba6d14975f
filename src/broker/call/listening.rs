//! Counts the pages that listen to the events of a call.

use std::sync::Arc;

use dashmap::DashMap;

use super::Watches;
use crate::domain::{Call, EntryId, UpstreamCallId};

/// Most pages that listen to one call on one replica.
const MOST: usize = 4;

/// A page that listens to the events of a call. Dropping it frees its place.
pub struct Listening {
    /// The call.
    pub(super) call: UpstreamCallId,
    entry: EntryId,
    listeners: Arc<DashMap<EntryId, usize>>,
}

impl Watches {
    /// Counts a page that listens to `call`, if there is a place.
    pub(super) fn listen(&self, call: &Call) -> Option<Listening> {
        let upstream = call.upstream.as_ref()?;
        let mut number = self.listeners.entry(call.entry).or_default();
        if *number >= MOST {
            return None;
        }
        *number += 1;
        Some(Listening {
            call: upstream.id.clone(),
            entry: call.entry,
            listeners: Arc::clone(&self.listeners),
        })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(mut number) = self.listeners.get_mut(&self.entry) {
            *number = number.saturating_sub(1);
        }
        self.listeners
            .remove_if(&self.entry, |_, number| *number == 0);
    }
}
