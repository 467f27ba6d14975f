//! Keeps what a watched call spends: written down, held in advance, and complete at its end.

use std::time::Duration;

use super::limits::Act;
use super::side::Side;
use super::watch::Watch;
use crate::broker::Inner;
use crate::provider::ServerEvent;
use crate::records::ReserveError;

/// After the hang-up, the use of the last response is waited for so long.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often uses are written again that could not be written.
pub(super) const REWRITE: Duration = Duration::from_secs(1);
/// How often they are written again after the end of the call.
const REWRITES: usize = 120;

impl Watch {
    /// Writes the uses that wait, and notes when the records do not take them.
    pub(super) async fn write(&mut self, inner: &Inner) {
        let is_recorded = self.meter.write(inner).await;
        let now = inner.parts.clock.tick();
        self.leash.is_recorded(is_recorded, now);
    }

    /// Ends a call that has cost as much as it may, and otherwise holds more money when the next answers could cost more than
    /// what is held.
    pub(super) async fn judge_money(&mut self, inner: &Inner) -> Vec<Act> {
        let acts = self.leash.has_cost(self.meter.cost());
        if acts.is_empty() {
            self.top_up(inner).await
        } else {
            acts
        }
    }

    async fn top_up(&mut self, inner: &Inner) -> Vec<Act> {
        let answers = self.leash.responses().len().max(1);
        self.lacks_answer = false;
        let Some((needed, budgets)) = self.meter.lacks(answers) else {
            return Vec::new();
        };
        let watched = (self.entry, self.told.epoch());
        match inner
            .parts
            .records
            .top_up_call(watched, needed, budgets)
            .await
        {
            Ok(Some(row)) => self.meter.holds(row.held.money),
            Ok(None) => self.told.changed.notify_one(),
            Err(ReserveError::Unavailable(error)) => {
                inner.note_records(&error);
                self.lacks_answer = true;
            }
            // Nothing but a budget refuses money.
            Err(_) => return self.leash.is_broke(inner.parts.clock.tick()),
        }
        Vec::new()
    }

    /// Waits briefly for the use of the last response, and closes the side channel.
    pub(super) async fn last_words(&mut self, inner: &Inner, mut side: Side) {
        let clock = &inner.parts.clock;
        let hear = async {
            while let Some(channel) = side.channel()
                && let Some(frame) = channel.next().await
            {
                if let Ok(event) = ServerEvent::read(&frame) {
                    self.meter.hears(inner, &event.news, clock.tick());
                }
            }
        };
        // Whatever comes later is lost.
        let _ = clock.timeout(LAST_WORDS, hear).await;
        if let Some(channel) = side.take() {
            channel.close().await;
        }
        if !self.is_replaced {
            self.meter.closes(inner, clock.tick());
        }
        for _ in 0..REWRITES {
            self.write(inner).await;
            if !self.meter.is_behind() {
                return;
            }
            clock.sleep(REWRITE).await;
        }
    }
}
