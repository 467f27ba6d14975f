//! Decides which events may pass over a data channel.

use serde_json::Value;

/// The events that the page behind a data channel may send and receive. `None` allows all.
pub(in crate::simulator::calls) struct Permissions {
    from_client: Option<Vec<String>>,
    /// Types of events, and for `response.event` the type of the event inside.
    to_client: Option<Vec<(String, Option<String>)>>,
}

impl Permissions {
    /// Reads the field `client` of a session that passed the rules.
    pub(super) fn of(client: &Value) -> Self {
        let channel = &client["data_channel"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let names = channel["allowed_client_events"].as_array();
        let events = channel["allowed_server_events"].as_array();
        let event = |event: &Value| Some((text(&event["type"])?, text(&event["response_event"])));
        Self {
            from_client: names.map(|names| names.iter().filter_map(text).collect()),
            to_client: events.map(|events| events.iter().filter_map(event).collect()),
        }
    }

    /// True when anything is not allowed.
    pub(super) const fn is_restricted(&self) -> bool {
        self.from_client.is_some() || self.to_client.is_some()
    }

    /// True for an event that the page may send.
    pub(super) fn may_send(&self, kind: &str) -> bool {
        let allowed = self.from_client.as_ref();
        allowed.is_none_or(|names| names.iter().any(|name| name == kind))
    }

    /// True for an event that the page may receive.
    pub(in crate::simulator::calls) fn may_receive(&self, event: &Value) -> bool {
        let inside = event["event"]["type"].as_str();
        let is_it = |(kind, inner): &(String, Option<String>)| {
            event["type"] == kind.as_str() && (inner.is_none() || inner.as_deref() == inside)
        };
        let allowed = self.to_client.as_ref();
        allowed.is_none_or(|events| events.iter().any(is_it))
    }
}
