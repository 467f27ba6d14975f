//! Reads the events of GPT-Live, as far as the watcher of a call needs them, and writes those of the watcher.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::effective::EffectiveSession;
use super::event::{self, News, OddFrame, ServerEvent, UsageReport, id};
use super::usage::{InputDetails, Kinds};
use super::{Usage, object};

/// A report of more time is no report: the provider ends every session after two hours.
const LONGEST_REPORT: Duration = Duration::from_hours(24);
/// Longest name of a model, or of a service tier, that is kept.
const LONGEST_NAME: usize = 128;

/// The time that a session was billed for, by the provider's report. Cumulative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasted {
    /// All of it.
    pub total: Duration,
    /// The part of it in standby. `None` when the report does not say.
    pub standby: Option<Duration>,
}

/// What a response of the backend used.
#[derive(Debug)]
pub struct Work {
    /// The response's id.
    pub response: Box<str>,
    /// The model.
    pub model: Box<str>,
    /// The service tier. `None` for the usual one.
    pub tier: Option<Box<str>>,
    /// The tokens.
    pub usage: UsageReport,
    /// The number of web searches.
    pub searches: u32,
}

/// Which events of a session its page may send and see. Without a list, that would be all events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PageEvents {
    /// Nothing that holds the session object, so that instructions and tools stay unknown.
    #[default]
    Sealed,
    /// The session object as well, when the session starts and ends: OpenAI's samples wait for it.
    Sample,
}

impl PageEvents {
    /// Returns the rules as `client` of a session object.
    pub fn as_client(self) -> Value {
        const SENT: [&str; 3] = [
            "session.close",
            "session.input_audio.mute",
            "session.input_audio.unmute",
        ];
        const SEEN: [&str; 8] = [
            "session.input_transcript.delta",
            "session.output_transcript.delta",
            "session.input_audio.muted",
            "session.input_audio.unmuted",
            "session.paused",
            "session.resumed",
            "error",
            "info",
        ];
        // Both hold the session object.
        const WHOLE: [&str; 2] = ["session.started", "session.closed"];
        let more: &[&str] = match self {
            Self::Sealed => &[],
            Self::Sample => &WHOLE,
        };
        let seen = SEEN.iter().chain(more).map(|name| json!({ "type": name }));
        let seen: Vec<_> = seen.collect();
        json!({ "data_channel": { "allowed_client_events": SENT, "allowed_server_events": seen } })
    }
}

/// The types of the events that hold only audio.
pub(super) const AUDIO: [&str; 2] = ["session.input_audio.append", "session.output_audio.delta"];

/// True for a frame that holds only audio, which GPT-Live reflects on every side channel: 128 kB in each second. Looks at
/// the beginning of the frame alone.
pub fn is_reflected_audio(frame: &str) -> bool {
    let mut parts = ["{", "\"type\"", ":"].into_iter();
    let kind = parts.try_fold(frame, |rest, part| rest.trim_start().strip_prefix(part));
    let kind = kind.unwrap_or_default().trim_start().strip_prefix('"');
    let kind = kind.unwrap_or_default();
    let mut rest = AUDIO.iter().filter_map(|audio| kind.strip_prefix(audio));
    rest.any(|rest| rest.starts_with('"'))
}

/// Returns the event that ends a session, after which the provider says what the session has used.
pub fn close() -> String {
    json!({ "type": "session.close" }).to_string()
}

/// Returns the event that adds to the instructions of a session.
pub fn instruct(text: &str) -> String {
    json!({ "type": "session.instructions.append", "content": text, "delegation_id": null })
        .to_string()
}

/// An event on the wire. Each type has a few of the members.
#[derive(Deserialize)]
struct Envelope<'frame> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'frame, str>,
    #[serde(borrow)]
    event_id: Option<Cow<'frame, str>>,
    #[serde(borrow)]
    session: Option<&'frame RawValue>,
    #[serde(borrow)]
    usage: Option<&'frame RawValue>,
    #[serde(borrow)]
    error: Option<&'frame RawValue>,
    #[serde(borrow)]
    event: Option<&'frame RawValue>,
    #[serde(borrow)]
    reason: Option<Cow<'frame, str>>,
}

#[derive(Deserialize)]
struct Seconds {
    seconds: f64,
    paused_seconds: Option<f64>,
}

/// An event of the backend, inside of a `response.event` or a `decision.event`.
#[derive(Deserialize)]
struct Inner<'frame> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'frame, str>,
    #[serde(borrow)]
    response: Option<&'frame RawValue>,
    #[serde(borrow)]
    decision: Option<&'frame RawValue>,
}

/// A response, or a decision, of the backend.
#[derive(Deserialize)]
struct Done<'frame> {
    #[serde(borrow)]
    id: Option<Cow<'frame, str>>,
    #[serde(borrow)]
    model: Option<Cow<'frame, str>>,
    #[serde(borrow)]
    service_tier: Option<Cow<'frame, str>>,
    #[serde(borrow)]
    usage: Option<&'frame RawValue>,
    tool_usage: Option<ToolUsage>,
}

#[derive(Deserialize)]
struct ToolUsage {
    web_search: Option<Requests>,
}

#[derive(Deserialize)]
struct Requests {
    num_requests: Option<u32>,
}

/// The tokens of a response of the Responses API.
#[derive(Deserialize)]
struct Spent {
    input_tokens: Option<u64>,
    input_tokens_details: Option<Cached>,
    output_tokens: Option<u64>,
    total_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Cached {
    cached_tokens: Option<u64>,
}

/// Reads a text frame of a side channel.
pub(super) fn read(frame: &str) -> Result<ServerEvent<'_>, OddFrame> {
    let kind = |envelope: &Envelope<'_>| event::find(EVENT_TYPES, &envelope.kind);
    event::read(frame, kind, news)
}

/// Returns what an event of this type says; `None` when it lacks what the type must have.
fn news<'frame>(kind: &str, envelope: &Envelope<'frame>) -> Option<News<'frame>> {
    Some(match kind {
        "session.started" | "session.updated" => {
            News::Session(EffectiveSession::read(envelope.session?)?.into())
        }
        "session.input_transcript.delta" | "session.output_transcript.delta" => News::Spoken,
        "session.paused" => News::Standby(true),
        "session.resumed" => News::Standby(false),
        "session.usage.updated" => News::Lasted(Lasted::read(envelope.usage?)?),
        "session.closed" => News::Closed {
            by_caller: matches!(
                envelope.reason.as_deref(),
                Some("close_requested" | "remote_hangup")
            ),
            lasted: envelope.usage.and_then(Lasted::read),
        },
        "response.event" | "decision.event" => {
            let inner: Inner<'_> = object(envelope.event?.get())?;
            match (&*inner.kind, inner.response.or(inner.decision)) {
                (
                    "response.completed"
                    | "response.failed"
                    | "response.incomplete"
                    | "decision.completed",
                    Some(done),
                ) => News::Worked(Work::read(done, envelope.event_id.as_deref())?.into()),
                _ => News::Other,
            }
        }
        "error" => event::error(envelope.error)?,
        _ => News::Other,
    })
}

impl Lasted {
    fn read(usage: &RawValue) -> Option<Self> {
        let said: Seconds = object(usage.get())?;
        let time = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
        let fits = |time: &Duration| *time <= LONGEST_REPORT;
        Some(Self {
            total: time(said.seconds).filter(fits)?,
            standby: said.paused_seconds.and_then(time),
        })
    }
}

impl Work {
    /// Reads a response of the backend. A decision has no id of its own: the id of its event takes its place.
    fn read(done: &RawValue, event: Option<&str>) -> Option<Self> {
        let done: Done<'_> = object(done.get())?;
        let name = |text: &str| {
            (1..=LONGEST_NAME)
                .contains(&text.len())
                .then(|| text.into())
        };
        let searches = done.tool_usage.and_then(|tools| tools.web_search);
        Some(Self {
            response: id(done.id.as_deref().or(event)?)?,
            model: done.model.as_deref().and_then(name).unwrap_or_default(),
            tier: done.service_tier.as_deref().and_then(name),
            usage: match done.usage {
                None => UsageReport::Missing,
                Some(usage) => spent(usage).map_or(UsageReport::Unreadable, |usage| {
                    UsageReport::Figures(usage.into())
                }),
            },
            searches: searches
                .and_then(|requests| requests.num_requests)
                .unwrap_or_default(),
        })
    }
}

/// Reads the tokens of a response of the Responses API. All are text.
fn spent(usage: &RawValue) -> Option<Usage> {
    let spent: Spent = object(usage.get())?;
    spent.input_tokens.or(spent.output_tokens)?;
    let cached = spent
        .input_tokens_details
        .and_then(|details| details.cached_tokens);
    let text = |text| Kinds {
        text,
        ..Kinds::default()
    };
    Some(Usage {
        total: spent.total_tokens,
        input: spent.input_tokens,
        output: spent.output_tokens,
        input_details: Some(InputDetails {
            text: spent.input_tokens,
            cached,
            cached_details: Some(text(cached)),
            ..InputDetails::default()
        }),
        output_details: Some(text(spent.output_tokens)),
        seconds: None,
    })
}

/// The types of events that the provider sends (openai-python 3.57.0), without those that hold only audio.
const EVENT_TYPES: &[&str] = &[
    "decision.event",
    "decision.item.created",
    "decision.item.deleted",
    "error",
    "info",
    "response.event",
    "session.closed",
    "session.commentary.appended",
    "session.delegation.created",
    "session.input_audio.muted",
    "session.input_audio.unmuted",
    "session.input_transcript.delta",
    "session.instructions.appended",
    "session.output_transcript.delta",
    "session.paused",
    "session.resumed",
    "session.started",
    "session.thinking.appended",
    "session.updated",
    "session.usage.updated",
];
