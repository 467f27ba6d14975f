//! Records what a watched call spends, holds money in advance, and completes the use at the call's end.

use std::time::Duration;

use super::limits::Act;
use super::side::Side;
use super::watch::{Over, Watch};
use crate::broker::Inner;
use crate::clock::Tick;
use crate::domain::{Call, CallStep, EndReason};
use crate::provider::{News, close};
use crate::records::TopUp;

/// Longest wait, after the hang-up, for the use of the last response.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Longest wait for the last report of a GPT-Live session that was closed, before it is hung up. Its backend may still be
/// at work.
const CLOSING: Duration = Duration::from_secs(15);
/// Time between two attempts to write uses, and the delay of a use that others follow soon.
const REWRITE: Duration = Duration::from_secs(1);
/// Most attempts to write uses after the end of the call.
const REWRITES: usize = 120;

impl Watch {
    /// Writes the uses that wait, and holds more money when the next answers could cost more than what is held. Ends a call
    /// that has cost as much as it may.
    pub(super) async fn pay(&mut self, inner: &Inner) -> Vec<Act> {
        let now = inner.parts.clock.tick();
        let mut acts = self.leash.has_cost(self.meter.cost(inner, now));
        let answers = self.leash.responses().len().max(1);
        let of = (answers, self.told.epoch());
        let top_up = self.meter.lacks(of, (inner, now));
        let top_up = top_up.filter(|_| acts.is_empty());
        let mut lacks_answer = false;
        if self.meter.is_behind() || top_up.is_some() {
            match self.meter.write(inner, top_up).await {
                Ok(row) => {
                    if row.is_none() {
                        self.told.changed.notify_one();
                    }
                    acts.extend(self.takes_row(inner, row, top_up));
                }
                Err(error) => {
                    inner.note_records(&error);
                    lacks_answer = top_up.is_some();
                }
            }
        }
        let (now, is_behind) = (inner.parts.clock.tick(), self.meter.is_behind());
        self.leash.is_recorded(!is_behind, now);
        self.rewrite = (is_behind || lacks_answer).then(|| now.plus(REWRITE));
        acts
    }

    /// Delays the write of the waiting uses, so that it includes the next ones.
    pub(super) fn pay_later(&mut self, now: Tick) {
        self.rewrite.get_or_insert(now.plus(REWRITE));
    }

    /// Reads the row that comes back from a write: another replica may have counted more, or watch the call, and the budgets
    /// may have refused the money.
    fn takes_row(&mut self, inner: &Inner, row: Option<Call>, top_up: Option<TopUp>) -> Vec<Act> {
        let now = inner.parts.clock.tick();
        let acts = self.leash.has_cost(self.meter.cost(inner, now));
        let Some(top_up) = top_up.filter(|_| acts.is_empty()) else {
            return acts;
        };
        match row {
            Some(row) if row.held.money >= top_up.to => Vec::new(),
            Some(row) if row.state.is_live() && row.epoch == top_up.epoch => {
                self.leash.is_broke(now)
            }
            Some(_) | None => {
                self.told.changed.notify_one();
                Vec::new()
            }
        }
    }

    /// Closes a GPT-Live session and waits for its last report, which only the watch can do. Hangs up when it does not close.
    async fn close_session(&mut self, inner: &Inner, side: &mut Side) {
        if self.over.is_none() {
            self.send(side, close()).await;
            self.hear_out(inner, side, CLOSING).await;
        }
        match self.over {
            None => _ = inner.hang_up(self.entry, &self.call).await,
            Some(Over::Closed) => {
                let over = CallStep::Over(EndReason::Provider).by_anybody();
                inner.change_call(self.entry, over).await;
            }
            Some(Over::HungUp | Over::Replaced) => {}
        }
    }

    /// Counts what the side channel still reports, until it ends or the session is closed, and for at most `most`.
    async fn hear_out(&mut self, inner: &Inner, side: &mut Side, most: Duration) {
        let clock = &inner.parts.clock;
        let dialect = self.call.id.dialect();
        let hear = async {
            while !self.is_closed()
                && let Some(channel) = side.channel()
                && let Some(frame) = channel.next().await
            {
                if let Ok(event) = dialect.read(&frame) {
                    self.meter.hears(inner, &event.news, clock.tick());
                    if matches!(event.news, News::Closed { .. }) {
                        self.over.get_or_insert(Over::Closed);
                    }
                }
            }
        };
        // Whatever comes later is lost.
        let _ = clock.timeout(most, hear).await;
    }

    /// Waits briefly for the use of the last response, and closes the side channel.
    pub(super) async fn last_words(&mut self, inner: &Inner, mut side: Side) {
        let clock = &inner.parts.clock;
        if self.call.id.is_live() {
            self.close_session(inner, &mut side).await;
        }
        self.hear_out(inner, &mut side, LAST_WORDS).await;
        if let Some(channel) = side.take() {
            channel.close().await;
        }
        if !self.is_replaced() {
            self.meter.closes(inner, clock.tick());
        }
        for _ in 0..REWRITES {
            if !self.meter.is_behind() {
                return;
            }
            match self.meter.write(inner, None).await {
                Ok(_) => return,
                Err(error) => inner.note_records(&error),
            }
            clock.sleep(REWRITE).await;
        }
    }
}
