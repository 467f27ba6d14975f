//! Lets the body of a request be read: in its turn, and within the memory for incomplete requests.

use std::sync::Arc;
use std::time::Duration;

use super::slots::{Slot, Slots};
use super::socket::{Activity, HEAD};
use crate::clock::Clock;

/// How long a body may be incomplete before it has to hold memory. Most bodies are complete within microseconds.
const MOMENT: Duration = Duration::from_millis(100);

/// What the listener gives to the reader of a request's body. A body that nobody has asked for stays with the kernel.
#[derive(Clone)]
pub(super) struct Intake {
    pub(super) slots: Arc<Slots>,
    pub(super) slot: Arc<Slot>,
    pub(super) activity: Arc<Activity>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Intake {
    /// Runs `reading`, which reads a body of up to `bytes`. `None` when its turn does not come within `limit`, or when
    /// the body is slow and no memory is free for incomplete requests.
    pub(super) async fn admit<T>(
        &self,
        bytes: usize,
        limit: Duration,
        reading: impl Future<Output = T>,
    ) -> Option<T> {
        // The turn of the head has ended if something else was waited for since: an issuer, or a database.
        if !self.activity.has_turn() {
            let turn = self.slots.turn(&self.slot);
            let turn = self.clock.timeout(limit, turn).await.ok()?;
            self.activity.give(turn);
        }
        let incomplete = self.activity.begin_body();
        tokio::pin!(reading);
        if let Ok(read) = self.clock.timeout(MOMENT, &mut reading).await {
            return Some(read);
        }
        let _held = self.slots.hold(self.slot.network, HEAD + bytes)?;
        drop(incomplete);
        Some(reading.await)
    }
}
