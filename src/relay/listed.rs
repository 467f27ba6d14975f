//! Decides which events an attached program may send: the events on the list, each written anew from its parse.

use std::fmt;

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::policy::{Flaw, MAX_ID, MAX_MEMBERS, Refusal, Verdict};
use crate::provider::EventLists;

/// Judges one text of a program that may send what `lists` allow.
pub(super) fn judge(lists: &EventLists, text: &str) -> Verdict {
    let members = match read(text) {
        Ok(members) => members,
        Err(flaw) => return Verdict::Broken(flaw),
    };
    let text_of = |name: &str| -> Option<String> {
        let (_, json) = members.iter().find(|(member, _)| member == name)?;
        serde_json::from_str(json.get()).ok()
    };
    let Some(kind) = text_of("type").filter(|kind| !kind.is_empty()) else {
        return Verdict::Broken(Flaw::NoObject);
    };
    if lists.may_send(&kind) {
        return Verdict::Becomes(written(&members));
    }
    Verdict::Refused(Refusal {
        code: "event_not_allowed",
        echo: "client_event_id",
        event_id: text_of("event_id").filter(|id| id.len() <= MAX_ID),
        param: "type",
        message: "Events of this type are not allowed here. Send only events on the list of the persona.",
    })
}

type Members<'frame> = Vec<(String, &'frame RawValue)>;

/// Writes the members of an event, each as it came, under their names as they were read.
fn written(members: &Members<'_>) -> String {
    let members = members
        .iter()
        .map(|(name, json)| format!("{}:{}", Value::from(&**name), json.get()));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn read(text: &str) -> Result<Members<'_>, Flaw> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Once);
    let members = members.and_then(|members| reader.end().map(|()| members));
    members.map_err(|_| Flaw::NoObject)?.ok_or(Flaw::Ambiguous)
}

/// Reads the members of an object; `None` when there are too many, or one stands twice.
struct Once;

impl<'frame> Visitor<'frame> for Once {
    type Value = Option<Members<'frame>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'frame>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut members, mut is_ambiguous) = (Members::new(), false);
        while let Some((name, json)) = map.next_entry::<String, &RawValue>()? {
            is_ambiguous |= members.len() >= MAX_MEMBERS;
            is_ambiguous |= members.iter().any(|(known, _)| *known == name);
            if !is_ambiguous {
                members.push((name, json));
            }
        }
        Ok((!is_ambiguous).then_some(members))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lists() -> EventLists {
        let session = json!({ "client": { "data_channel": {
            "allowed_client_events": ["session.close", "response.item.create"], "allowed_server_events": [],
        } } });
        EventLists::of(&RawValue::from_string(session.to_string()).unwrap())
    }

    #[test]
    fn what_is_on_the_list_passes_with_every_member_as_it_came() {
        for (text, sent) in [
            (
                r#"{ "type" : "session.close" }"#,
                r#"{"type":"session.close"}"#,
            ),
            (
                r#"{"item":{"a": 1.00},"t\u0079pe":"session.cl\u006fse","event_id":"e"}"#,
                r#"{"item":{"a": 1.00},"type":"session.cl\u006fse","event_id":"e"}"#,
            ),
        ] {
            assert_eq!(judge(&lists(), text), Verdict::Becomes(sent.to_owned()));
        }
    }

    #[test]
    fn what_is_not_on_the_list_is_refused_by_the_providers_own_code() {
        let text = r#"{"type":"session.update","event_id":"e7","session":{}}"#;
        let Verdict::Refused(refused) = judge(&lists(), text) else {
            panic!("it passes");
        };
        assert_eq!(refused.code, "event_not_allowed");
        assert_eq!(refused.event_id.as_deref(), Some("e7"));
    }

    #[test]
    fn what_two_readers_may_understand_differently_ends_the_connection() {
        let many: Vec<_> = (0..70).map(|number| format!("\"m{number}\":0")).collect();
        let many = format!(r#"{{"type":"session.close",{}}}"#, many.join(","));
        for (text, flaw) in [
            (
                r#"{"type":"session.close","type":"session.update"}"#,
                Flaw::Ambiguous,
            ),
            (
                r#"{"type":"session.close","t\u0079pe":"session.update"}"#,
                Flaw::Ambiguous,
            ),
            (&*many, Flaw::Ambiguous),
            (
                r#"{"type":"session.close"}{"type":"session.update"}"#,
                Flaw::NoObject,
            ),
            (r#"{"type":["session.close"]}"#, Flaw::NoObject),
            (r#"{"event_id":"e"}"#, Flaw::NoObject),
            ("[]", Flaw::NoObject),
        ] {
            assert_eq!(judge(&lists(), text), Verdict::Broken(flaw), "{text}");
        }
    }
}
