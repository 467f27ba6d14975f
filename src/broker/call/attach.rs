//! Attaches programs to GPT-Live calls of their own: a second side channel, which passes the persona's lists of events alone.
//!
//! The watch's own side channel still meters the call and ends it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Listening;
use super::line::{Line, LineEnd, Order, Passes};
use crate::broker::{Broker, BrokerError};
use crate::domain::{CallState, Caller, EndReason, Listener, UpstreamCallId};
use crate::provider::EventLists;
use crate::upstream::UpstreamError;

/// Time between two looks at whether the call of an attached program is over.
const LOOK: Duration = Duration::from_secs(5);

/// A program that is attached to a call. Dropping it frees its place.
pub struct Attachment {
    _place: Listening,
    _counted: Arc<()>,
}

impl Broker {
    /// Attaches `caller` to its running call `id`.
    pub async fn attach(&self, caller: &Caller, id: &UpstreamCallId) -> Result<Line, BrokerError> {
        let inner = &self.0;
        let role = caller.identity.as_ref();
        let role = role.and_then(|known| known.role.as_deref());
        let is_listed = |role: &str| {
            inner
                .rules
                .live
                .attach_roles
                .iter()
                .any(|one| **one == *role)
        };
        if !role.is_some_and(is_listed) {
            return Err(BrokerError::RoleNotAllowed);
        }
        if self.is_draining() {
            return Err(BrokerError::ShuttingDown);
        }
        let call = self.call_of(caller, None, id).await?;
        let agreement = inner.agreement();
        let persona = agreement.personas.named(call.persona.as_str());
        let running = call
            .upstream
            .as_ref()
            .filter(|upstream| upstream.id.is_live() && call.state == CallState::Open);
        let (upstream, persona) = running.zip(persona).ok_or(BrokerError::UnknownCall)?;
        let session = persona.session_for(&Listener::default());
        let place = inner.watches.listen(&call);
        let place = place.ok_or(BrokerError::TooManyCalls("events"))?;
        let start = inner.parts.clock.tick();
        let joining = inner
            .parts
            .upstream
            .attach(upstream, inner.rules.relay.bounds());
        let leg = joining.await.map_err(|error| match error {
            UpstreamError::UnknownCall(_) => BrokerError::UnknownCall,
            error => inner.failed_since(start, error),
        })?;
        let (orders, ordered) = mpsc::unbounded_channel();
        let watching = self.clone().end_with_call(id.clone(), orders);
        inner.watches.tasks.spawn(watching);
        // The receiver is dropped, because the watch gets the call's events on its own side channel.
        let (events, _) = mpsc::channel(1);
        Ok(Line {
            end: LineEnd::Attached(Attachment {
                _place: place,
                _counted: Arc::clone(&inner.watches.attached),
            }),
            upstream: leg,
            greeting: None,
            passes: Passes::Listed(EventLists::of(session.as_json())),
            events,
            orders: ordered,
            drain: inner.draining.clone(),
            drain_time: inner.rules.drain_time,
            settings: inner.rules.relay.clone(),
            notices: false,
            clock: Arc::clone(&inner.parts.clock),
        })
    }

    /// Ends the connection of an attached program when its call is over, in case the provider does not.
    async fn end_with_call(self, id: UpstreamCallId, orders: mpsc::UnboundedSender<Order>) {
        let clock = &self.0.parts.clock;
        loop {
            tokio::select! {
                () = clock.sleep(LOOK) => {}
                () = orders.closed() => return,
            }
            // A row that cannot be read now is read again.
            let Ok(row) = self.follow(&id).await else {
                continue;
            };
            if !row.as_ref().is_some_and(|row| row.state.is_live()) {
                let reason = row.and_then(|row| row.end_reason);
                let _ = orders.send(Order::End(reason.unwrap_or(EndReason::Provider)));
                return;
            }
        }
    }
}
