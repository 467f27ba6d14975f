//! Tells the clients that asked for it that their relay is about to end, before anything ends it.

use std::time::Duration;

use serde_json::json;

use crate::clock::seconds_up;
use crate::domain::{EndReason, RequestId};
use crate::websocket::Message;

/// Whether the client wants to know. An event that it did not ask for may break it: some read no type that they do not know.
pub(super) struct Notices(pub(super) bool);

impl Notices {
    /// Returns the event that says why and when the relay ends.
    pub(super) fn ending(&self, reason: EndReason, left: Duration) -> Option<Message> {
        self.0.then(|| {
            let event = json!({
                "type": "broker.call.ending",
                "event_id": format!("event_{}", RequestId::random()),
                "seconds_left": seconds_up(left),
                "reason": reason.as_str(),
            });
            Message::Text(event.to_string().into())
        })
    }
}
