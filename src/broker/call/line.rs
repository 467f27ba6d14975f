//! The line between a relay and its watch: events go from the relay to the watch, and orders go back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Attachment;
use crate::broker::Inner;
use crate::clock::Clock;
use crate::config::RelaySettings;
use crate::domain::{EndReason, EntryId};
use crate::provider::{EventLists, MostTokens};
use crate::upstream::{SideChannel, UpstreamError};
use crate::websocket::Leg;

/// An order to a relay, from its watch or from whoever ends it.
#[derive(Debug)]
pub enum Order {
    /// Send this event to the provider.
    Say(String),
    /// The relay ends for this reason after this time: tell the client, if it wants to know.
    Warn(EndReason, Duration),
    /// End the relay.
    End(EndReason),
    /// Stop waiting for the last use.
    Release,
}

/// The upstream leg of a relay, and the ways between the relay and its watch. Dropping it ends the relay.
pub struct Line {
    /// Receives the reason why the relay has ended.
    pub end: LineEnd,
    /// The connection to the provider.
    pub upstream: Leg,
    /// The event that greets the client of a relay: `session.created`, with the persona in it.
    pub greeting: Option<String>,
    /// What passes between both ends.
    pub passes: Passes,
    /// Where events of the provider go that the watch needs.
    pub events: mpsc::Sender<String>,
    /// Orders to the relay.
    pub orders: mpsc::UnboundedReceiver<Order>,
    /// Cancelled when this replica is about to stop.
    pub drain: CancellationToken,
    /// The time from that moment until this replica stops.
    pub drain_time: Duration,
    /// How relays are carried.
    pub settings: RelaySettings,
    /// True when the client wants to know before the relay ends.
    pub notices: bool,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Line({:?})", self.upstream)
    }
}

/// What passes between a client and the provider.
#[derive(Clone, Debug)]
pub enum Passes {
    /// What the persona allows the client of a relay.
    Persona {
        /// False where the persona may be changed.
        is_held: bool,
        /// Most tokens of a response's output.
        most_tokens: Option<MostTokens>,
        /// The models that may transcribe; `None` for all.
        transcribers: Option<Arc<[Box<str>]>>,
    },
    /// The events of these lists, both ways.
    Listed(EventLists),
}

/// Receives the reason why a line has ended.
pub enum LineEnd {
    /// The watch of a relay.
    Relay(RelayEnd),
    /// Nothing needs the reason: the call that the program was attached to goes on.
    Attached(Attachment),
}

impl LineEnd {
    /// Reports the reason. The first reason stays.
    pub fn comes(&self, reason: EndReason) {
        match self {
            Self::Relay(end) => end.comes(reason),
            Self::Attached(_) => {}
        }
    }
}

/// Reports why a relay has ended, at the latest when it is dropped. The watch of the relay records the end as soon as it has
/// handled the last event.
pub struct RelayEnd {
    pub(super) inner: Arc<Inner>,
    pub(super) entry: EntryId,
}

impl RelayEnd {
    fn comes(&self, reason: EndReason) {
        if let Some(mut carried) = self.inner.watches.relays.get_mut(&self.entry) {
            carried.over.get_or_insert(reason);
        }
    }
}

impl Drop for RelayEnd {
    fn drop(&mut self) {
        self.comes(EndReason::HungUp);
    }
}

/// A relay that this replica carries.
pub(super) struct Carried {
    pub(super) orders: mpsc::UnboundedSender<Order>,
    /// Why the relay has ended.
    pub(super) over: Option<EndReason>,
}

/// The side channel of a relay.
pub(super) struct Tap {
    pub(super) events: mpsc::Receiver<String>,
    pub(super) orders: mpsc::UnboundedSender<Order>,
}

#[async_trait]
impl SideChannel for Tap {
    async fn next(&mut self) -> Option<String> {
        self.events.recv().await
    }

    async fn send(&mut self, event: String) -> Result<(), UpstreamError> {
        // Sending fails when the relay is over; then nothing needs the event.
        let _ = self.orders.send(Order::Say(event));
        Ok(())
    }

    async fn close(self: Box<Self>) {
        let _ = self.orders.send(Order::Release);
    }
}

impl Inner {
    /// Tells a relay of this replica to end. Returns false when this replica does not carry it.
    pub(super) fn end_relay(&self, entry: EntryId, reason: EndReason) -> bool {
        let carried = self.watches.relays.get(&entry);
        carried.is_some_and(|carried| {
            // Nobody takes the order of a relay that has ended already.
            let _ = carried.orders.send(Order::End(reason));
            true
        })
    }

    /// Warns the client of a relay that it ends for this reason after this time.
    pub(super) fn warn_relay(&self, entry: EntryId, (reason, left): (EndReason, Duration)) {
        if let Some(carried) = self.watches.relays.get(&entry) {
            // Nobody takes the order of a relay that has ended already.
            let _ = carried.orders.send(Order::Warn(reason, left));
        }
    }

    /// Returns why a relay of this replica has ended.
    pub(super) fn why_relay_ended(&self, entry: EntryId) -> Option<EndReason> {
        self.watches.relays.get(&entry)?.over
    }
}
