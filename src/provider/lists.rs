//! Reads the lists of a GPT-Live session: which events its page, or an attached program, may send and see.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::live::AUDIO;
use super::{is_reflected_audio, object};

/// Which events of a session may be sent and seen. Nothing else may.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct EventLists {
    #[serde(rename = "allowed_client_events", default)]
    sent: Vec<Box<str>>,
    #[serde(rename = "allowed_server_events", default)]
    seen: Vec<Seen>,
}

/// A type of event, and for `response.event` the type of the event inside.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Seen {
    #[serde(rename = "type")]
    kind: Box<str>,
    response_event: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Session<'json> {
    #[serde(borrow)]
    client: &'json RawValue,
}

#[derive(Deserialize)]
struct Client {
    data_channel: EventLists,
}

/// An event, as far as the lists concern it.
#[derive(Deserialize)]
struct Typed<'frame> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'frame, str>,
    #[serde(borrow)]
    event: Option<&'frame RawValue>,
}

impl EventLists {
    /// Returns the lists of a session object. A session without two lists has none, and then nothing passes.
    pub fn of(session: &RawValue) -> Self {
        let session = serde_json::from_str::<Session<'_>>(session.get());
        session.map_or_else(
            |_| Self::default(),
            |session| Self::of_client(session.client),
        )
    }

    /// Returns the lists of the `client` of a session object, as [`EventLists::of`] does.
    pub(super) fn of_client(client: &RawValue) -> Self {
        let client = serde_json::from_str::<Client>(client.get());
        client.map_or_else(|_| Self::default(), |client| client.data_channel)
    }

    /// True when both allow the same events, in whatever order.
    pub(super) fn allow_as(&self, other: &Self) -> bool {
        let sizes = |lists: &Self| (lists.sent.len(), lists.seen.len());
        sizes(self) == sizes(other)
            && self.sent.iter().all(|one| other.sent.contains(one))
            && self.seen.iter().all(|one| other.seen.contains(one))
    }

    /// True for a type of event that may be sent.
    pub fn may_send(&self, kind: &str) -> bool {
        self.sent.iter().any(|name| **name == *kind)
    }

    /// True for an event of the provider that may be seen. Audio may never be, and is not read.
    pub fn shows(&self, frame: &str) -> bool {
        if is_reflected_audio(frame) {
            return false;
        }
        let Some(event) = object::<Typed<'_>>(frame) else {
            return false;
        };
        if AUDIO.contains(&&*event.kind) {
            return false;
        }
        let inside = event
            .event
            .and_then(|inside| object::<Typed<'_>>(inside.get()));
        let inside = inside.as_ref().map(|inside| &*inside.kind);
        let is_it = |seen: &Seen| {
            let fits = seen.response_event.as_deref();
            *seen.kind == *event.kind && fits.is_none_or(|fits| inside == Some(fits))
        };
        self.seen.iter().any(is_it)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::provider::PageEvents;

    fn lists(session: &Value) -> EventLists {
        EventLists::of(&RawValue::from_string(session.to_string()).unwrap())
    }

    #[test]
    fn what_may_be_seen_goes_by_the_type_and_the_type_inside() {
        let own = json!({ "client": { "data_channel": {
            "allowed_client_events": ["response.create"],
            "allowed_server_events": [
                { "type": "response.event", "response_event": "response.output_item.done" },
                { "type": "error" },
                { "type": "session.output_audio.delta" },
            ],
        } } });
        let own = lists(&own);
        assert!(own.may_send("response.create") && !own.may_send("session.close"));
        for (frame, is_seen) in [
            (r#"{"type":"error","error":{}}"#, true),
            (r#"{"t\u0079pe":"error"}"#, true),
            (
                r#"{"type":"response.event","event":{"type":"response.output_item.done"}}"#,
                true,
            ),
            (
                r#"{"type":"response.event","event":{"type":"response.created"}}"#,
                false,
            ),
            (r#"{"type":"response.event"}"#, false),
            (r#"{"type":"session.started","session":{}}"#, false),
            (r#"{"type":"session.started","type":"error"}"#, false),
            (
                r#"{"type":"session.output_audio.delta","delta":"AAAA"}"#,
                false,
            ),
            (
                r#"{"event_id":"e","type":"session.output_audio.delta","delta":"AAAA"}"#,
                false,
            ),
            (r#"["error"]"#, false),
            ("error", false),
        ] {
            assert_eq!(own.shows(frame), is_seen, "{frame}");
        }
    }

    #[test]
    fn only_the_lists_of_a_sample_show_the_session_and_without_lists_nothing_passes() {
        let started = r#"{"type":"session.started","session":{"instructions":"x"}}"#;
        for (events, is_seen) in [(PageEvents::Sealed, false), (PageEvents::Sample, true)] {
            let preset = lists(&json!({ "client": events.as_client() }));
            assert_eq!(preset.shows(started), is_seen, "{events:?}");
            assert!(preset.may_send("session.close") && !preset.may_send("session.update"));
        }
        let all = json!({ "client": { "data_channel": { "allowed_client_events": "all", "allowed_server_events": "all" } } });
        for session in [json!({}), json!({ "client": null }), all] {
            let none = lists(&session);
            assert!(!none.may_send("session.close") && !none.shows(r#"{"type":"error"}"#));
        }
    }
}
