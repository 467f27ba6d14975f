//! Lets the body of a request be read: in its turn, and within the memory for incomplete requests.

use std::sync::Arc;
use std::time::Duration;

use super::slots::{Slot, Slots};
use super::socket::{Activity, HEAD};
use crate::clock::Clock;
use crate::domain::{Caller, Network, is_private};

/// How long a body may be incomplete before it has to hold memory. Most bodies are complete within microseconds.
const MOMENT: Duration = Duration::from_millis(100);

/// Longest wait of a body for its turn. Turns are short, so that only a flood of the same network takes as long.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the listener gives to the reader of a request's body. A body that nobody has asked for stays with the kernel.
#[derive(Clone)]
pub(super) struct Intake {
    pub(super) slots: Arc<Slots>,
    pub(super) slot: Arc<Slot>,
    pub(super) activity: Arc<Activity>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Intake {
    /// Runs `reading`, which reads a body of up to `bytes` of `caller`. `None` when its turn does not come, or when the body is slow and
    /// no memory is free for incomplete requests.
    pub(super) async fn admit<T>(
        &self,
        caller: Option<&Caller>,
        bytes: usize,
        reading: impl Future<Output = T>,
    ) -> Option<T> {
        // The turn of the head has ended if something else was waited for since: an issuer, or a database.
        if !self.activity.has_turn() {
            let turn = self.slots.turn(&self.slot);
            let turn = self.clock.timeout(PATIENCE, turn).await.ok()?;
            self.activity.give(turn);
        }
        let incomplete = self.activity.begin_body();
        tokio::pin!(reading);
        if let Ok(read) = self.clock.timeout(MOMENT, &mut reading).await {
            return Some(read);
        }
        let held = self.slots.hold(self.network(caller), HEAD + bytes);
        if held.is_none() {
            self.activity.set_lacks_memory();
        }
        let _held = held?;
        drop(incomplete);
        Some(reading.await)
    }

    /// The network whose share of the memory a body takes. Behind a trusted proxy it is the caller's own.
    fn network(&self, caller: Option<&Caller>) -> Option<Network> {
        let named = caller.filter(|caller| !is_private(caller.address()));
        self.slot.network.or_else(|| named.map(Caller::network))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use crate::config::{Config, Mode};
    use crate::domain::RequestId;

    fn intake() -> (Arc<ManualClock>, Intake) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1000)));
        let server = Config::from_pairs(Mode::Dev, &[]).unwrap().server;
        let slots = Arc::new(Slots::new(&server, Arc::<ManualClock>::clone(&clock)));
        let slot = slots.take([192, 0, 2, 1].into()).unwrap();
        let intake = Intake {
            slots,
            slot: Arc::new(slot),
            activity: Arc::default(),
            clock: Arc::<ManualClock>::clone(&clock),
        };
        (clock, intake)
    }

    async fn pass(clock: &ManualClock, time: Duration) {
        clock.awaited(time).await;
        clock.advance(time);
    }

    #[tokio::test]
    async fn a06_a_body_is_read_in_the_turn_of_its_head_or_waits_three_seconds_for_one() {
        let (clock, intake) = intake();
        let mut flood = Vec::new();
        for _ in 0..8 {
            flood.push(intake.slots.turn(&intake.slot).await);
        }
        let (refused, ()) = tokio::join!(intake.admit(None, 1, ready(())), pass(&clock, PATIENCE));
        assert!(refused.is_none());
        intake.activity.give(flood.remove(0));
        assert!(intake.admit(None, 1, ready(())).await.is_some());
        assert!(!intake.activity.is_incomplete());
    }

    #[tokio::test]
    async fn a06_a_slow_body_has_to_find_memory_which_it_gives_back() {
        let (clock, intake) = intake();
        let mut held = Vec::new();
        while let Some(more) = intake.slots.hold(None, HEAD) {
            held.push(more);
        }
        let slow = intake.admit(None, 0, pending::<()>());
        let (refused, ()) = tokio::join!(slow, pass(&clock, MOMENT));
        assert!(refused.is_none());
        held.pop();
        for _ in 0..2 {
            let rest = intake.clock.sleep(2 * MOMENT);
            let slow = intake.admit(None, 0, rest);
            let (read, ()) = tokio::join!(slow, async {
                pass(&clock, MOMENT).await;
                // The body holds memory now.
                tokio::task::yield_now().await;
                clock.advance(MOMENT);
            });
            assert!(read.is_some());
        }
    }

    #[test]
    fn a06_behind_a_trusted_proxy_each_caller_has_a_share_of_the_memory() {
        let (_, mut intake) = intake();
        let caller = |address: [u8; 4]| Caller::at(address.into(), RequestId::random());
        let network = |intake: &Intake, address| intake.network(Some(&caller(address)));
        let own = intake.slot.network;
        assert_eq!(network(&intake, [198, 51, 100, 7]), own);
        // A private address that is no loopback may be a balancer.
        let shared = intake.slots.take([10, 0, 0, 1].into()).unwrap();
        intake.slot = Arc::new(shared);
        let named = Network::of([198, 51, 100, 7].into());
        assert_eq!(network(&intake, [198, 51, 100, 7]), Some(named));
        assert_eq!(network(&intake, [10, 0, 0, 1]), None);
    }
}
