//! Warns the clients that asked for it before their relay ends.

use std::time::Duration;

use serde_json::json;

use crate::clock::seconds_up;
use crate::domain::{EndReason, RequestId};
use crate::websocket::Message;

/// Whether the client asked for warnings. Some clients fail at an event of an unknown type.
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
