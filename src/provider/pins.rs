//! Compares sessions with what their persona pins.

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::effective::{EffectiveSession, MostTokens, Pinned, PinnedFields};
use super::{Dialect, EventLists, undated};

/// The `event_id` of every correction, by which an error that answers one is known.
pub const CORRECTION: &str = "tb_persona";

/// The session of a persona as the provider should report it. Holds hashes, because thousands of calls may be up.
pub struct Pins {
    dialect: Dialect,
    /// The hash of each pinned field.
    hashes: Box<[(Pinned, [u8; 32])]>,
    /// The provider's values of fields that the persona leaves to the provider.
    defaults: Vec<(Pinned, Box<RawValue>)>,
    /// The last tracing that was corrected.
    corrected_tracing: Option<[u8; 32]>,
    /// Most tokens of a response's output.
    pub most_tokens: Option<MostTokens>,
}

/// Error for a session that is not the persona's, by the field that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session is not the persona's: {} differs", .0.as_str())]
pub struct NotConfirmed(pub Pinned);

impl Pins {
    /// Learns the pinned fields from the first session that the provider shows, before any page has a part in it. `asked` is
    /// the persona's session object. The provider may fill in what the persona does not say, and may rename a model, but
    /// must run the persona's instructions, tools and limit of tokens. GPT-Live has no fields for the last two, and may show
    /// its own words for the first.
    pub fn confirm(asked: &RawValue, shown: &EffectiveSession<'_>) -> Result<Self, NotConfirmed> {
        let asked = PinnedFields::read(asked).unwrap_or_default();
        let (dialect, shown) = (asked.dialect(), shown.pinned);
        let fields = Pinned::of(dialect);
        let differs = [
            (Pinned::Instructions, text(&asked) == text(&shown)),
            (Pinned::Tools, tools(&asked) == tools(&shown)),
            (Pinned::MaxOutputTokens, most(&asked) == most(&shown)),
        ];
        let wrong = differs
            .into_iter()
            .filter(|(field, _)| fields.contains(field))
            .find(|&(field, is_same)| asked.get(field).is_some() && !is_same);
        if let Some((field, _)) = wrong {
            return Err(NotConfirmed(field));
        }
        let is_default = |field: &Pinned| asked.get(*field).is_none();
        let fields = fields.iter().copied();
        let defaults = fields.clone().filter(is_default);
        Ok(Self {
            dialect,
            hashes: fields.map(|field| (field, hash(&shown, field))).collect(),
            defaults: defaults
                .filter_map(|field| Some((field, shown.get(field)?.to_owned())))
                .collect(),
            corrected_tracing: None,
            most_tokens: most(&shown),
        })
    }

    /// Returns the pinned fields that differ in a later session. A tracing that was corrected before is not reported again:
    /// the provider never changes a tracing that is on, and agents-js turns it on in every call.
    pub fn changed(&mut self, shown: &EffectiveSession<'_>) -> Vec<Pinned> {
        let mut changed = Vec::new();
        for &(field, expected) in &self.hashes {
            let found = hash(&shown.pinned, field);
            if found == expected {
                continue;
            }
            if field == Pinned::Tracing && self.corrected_tracing.replace(found) == Some(found) {
                continue;
            }
            changed.push(field);
        }
        changed
    }

    /// Returns the client events that put the changed fields back, and nothing else. The model and tracing have events of
    /// their own, because the provider may refuse them.
    pub fn corrections(&self, changed: &[Pinned], asked: &RawValue) -> Vec<String> {
        let asked = PinnedFields::read(asked).unwrap_or_default();
        let is_apart = |field: &Pinned| matches!(field, Pinned::Model | Pinned::Tracing);
        let (apart, together): (Vec<_>, Vec<_>) = changed.iter().partition(|field| is_apart(field));
        let single = apart.chunks(1).chain([together.as_slice()]);
        let events = single.filter(|fields| !fields.is_empty());
        events
            .map(|fields| self.correction(fields, &asked))
            .collect()
    }

    fn correction(&self, fields: &[Pinned], asked: &PinnedFields<'_>) -> String {
        let mut members = match self.dialect {
            Dialect::Realtime => vec![r#""type":"realtime""#.to_owned()],
            Dialect::Live => Vec::new(),
        };
        for &field in fields {
            let mut defaults = self.defaults.iter();
            let default = || {
                defaults
                    .find(|(name, _)| *name == field)
                    .map(|(_, json)| &**json)
            };
            let json = asked
                .get(field)
                .or_else(default)
                .map_or("null", RawValue::get);
            members.push(format!("\"{}\":{json}", field.as_str()));
        }
        let members = members.join(",");
        format!(r#"{{"type":"session.update","event_id":"{CORRECTION}","session":{{{members}}}}}"#)
    }
}

/// Returns the event that asserts what the session object `asked` pins, before any page has a part in the session or after
/// nobody watched it. The provider answers it with the session as it runs. A session keeps its model and its tracing. `None`
/// for GPT-Live where the page can change nothing.
pub fn assertion(asked: &RawValue) -> Option<String> {
    let is_live = PinnedFields::read(asked).is_some_and(|asked| asked.dialect() == Dialect::Live);
    if !is_live {
        return Some(assertion_of_realtime(asked));
    }
    let may_change = EventLists::of(asked).may_send("session.update");
    let asked = PinnedFields::read(asked).filter(|_| may_change)?;
    let fields = [Pinned::Delegation, Pinned::Triggers].into_iter();
    let members = fields.filter_map(|field| {
        Some(format!(
            "\"{}\":{}",
            field.as_str(),
            asked.get(field)?.get()
        ))
    });
    let members = members.collect::<Vec<_>>().join(",");
    (!members.is_empty()).then(|| {
        format!(r#"{{"type":"session.update","event_id":"{CORRECTION}","session":{{{members}}}}}"#)
    })
}

fn assertion_of_realtime(asked: &RawValue) -> String {
    let asked = PinnedFields::read(asked).unwrap_or_default();
    let field = |field: Pinned, usual| (field, asked.get(field).map_or(usual, RawValue::get));
    let fields = [
        field(Pinned::Instructions, ""),
        field(Pinned::Tools, "[]"),
        field(Pinned::MaxOutputTokens, "\"inf\""),
        field(Pinned::Prompt, "null"),
    ];
    let mut event = format!(
        r#"{{"type":"session.update","event_id":"{CORRECTION}","session":{{"type":"realtime""#
    );
    for (field, json) in fields.into_iter().filter(|(_, json)| !json.is_empty()) {
        event.extend([",\"", field.as_str(), "\":", json]);
    }
    event + "}}"
}

/// Returns the event that puts back the transcription of the session object `asked`, or no transcription.
pub fn own_transcription(asked: &RawValue) -> String {
    let asked: Value = serde_json::from_str(asked.get()).unwrap_or_default();
    let own = asked.pointer("/audio/input/transcription");
    let input = json!({ "transcription": own });
    let session = json!({ "type": asked["type"], "audio": { "input": input } });
    json!({ "type": "session.update", "event_id": CORRECTION, "session": session }).to_string()
}

/// Returns the event that changes nothing. The provider answers it with the session as it runs.
pub fn look() -> String {
    json!({ "type": "session.update", "session": { "type": "realtime" } }).to_string()
}

/// Returns the first field that the session object `asked` pins and that `wanted` has another value for.
pub fn contradiction(asked: &RawValue, wanted: &Map<String, Value>) -> Option<Pinned> {
    let asked: Map<String, Value> = serde_json::from_str(asked.get()).unwrap_or_default();
    let usual = |field: Pinned| match field {
        Pinned::Tools => json!([]),
        Pinned::MaxOutputTokens => json!("inf"),
        _ => Value::Null,
    };
    let mut fields = Pinned::of(Dialect::Realtime).iter().copied();
    fields.find(|field| {
        let wanted = wanted.get(field.as_str()).filter(|value| !value.is_null());
        let pinned = asked.get(field.as_str()).cloned();
        wanted.is_some_and(|wanted| pinned.unwrap_or_else(|| usual(*field)) != *wanted)
    })
}

/// Returns the hash of a field's JSON. The provider writes equal values alike.
fn hash(fields: &PinnedFields<'_>, field: Pinned) -> [u8; 32] {
    let json = fields.get(field).map_or("null", RawValue::get);
    let hash = digest(&SHA256, json.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.as_ref());
    bytes
}

/// Returns the instructions without space around them, which the provider may trim.
fn text(fields: &PinnedFields<'_>) -> Option<String> {
    let json = fields.get(Pinned::Instructions)?.get();
    let text: Cow<'_, str> = serde_json::from_str(json).ok()?;
    Some(text.trim().to_owned())
}

/// True when a GPT-Live session may be the one that was asked for: by its instructions. The provider fills in its own where
/// none were asked for. Such a session is known by its model and by its lists of events, which nobody has by default.
pub fn looks_like(asked: &RawValue, shown: &EffectiveSession<'_>) -> bool {
    let Some(asked) = EffectiveSession::read(asked) else {
        return false;
    };
    if let Some(asked) = text(&asked.pinned).filter(|text| !text.is_empty()) {
        return text(&shown.pinned) == Some(asked);
    }
    let model = |session: &EffectiveSession<'_>| session.model().unwrap_or_default();
    let lists = asked.lists();
    *undated(&model(shown)) == *undated(&model(&asked))
        && lists != EventLists::default()
        && lists.allow_as(&shown.lists())
}

/// Returns the number of tools. The provider adds fields to each.
fn tools(fields: &PinnedFields<'_>) -> Option<usize> {
    let tools: Vec<&RawValue> = serde_json::from_str(fields.get(Pinned::Tools)?.get()).ok()?;
    Some(tools.len())
}

fn most(fields: &PinnedFields<'_>) -> Option<MostTokens> {
    MostTokens::read(fields.get(Pinned::MaxOutputTokens)?)
}
