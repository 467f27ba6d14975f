//! Reads the provider's events, as far as the watcher of a call needs them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::effective::EffectiveSession;
use super::live::{Lasted, Work};
use super::{MostTokens, Usage, object};

/// Longest text frame that is read. An event may carry an image of 15 MiB in base64.
pub const LONGEST_FRAME: usize = 21 * 1024 * 1024;
/// Longest id that is kept. The provider's have some 30 bytes.
const LONGEST_ID: usize = 512;
/// Longest error code that is kept.
const LONGEST_CODE: usize = 64;

/// The type of events that this version does not know.
pub const UNKNOWN: &str = "unknown";

/// One event of the provider.
#[derive(Debug)]
pub struct ServerEvent<'frame> {
    /// The type: one of the published ones, or [`UNKNOWN`].
    pub kind: &'static str,
    /// What the event says.
    pub news: News<'frame>,
}

/// What an event says.
#[derive(Debug)]
pub enum News<'frame> {
    /// `session.created` or `session.updated`: the session as the provider runs it.
    Session(Box<EffectiveSession<'frame>>),
    /// `response.created`: a response has begun.
    Began {
        /// The response's id.
        response: Box<str>,
        /// Most tokens of its output. `None` when the event does not say.
        most: Option<MostTokens>,
    },
    /// `response.done`: a response has ended, however it did.
    Ended {
        /// The response's id.
        response: Box<str>,
        /// How it ended.
        status: ResponseStatus,
        /// What it used.
        usage: UsageReport,
        /// The code of the error that ended it.
        failure: Option<Box<str>>,
    },
    /// `conversation.item.input_audio_transcription.completed`: speech was transcribed.
    Transcribed {
        /// The item's id.
        item: Box<str>,
        /// What the transcription used.
        usage: UsageReport,
    },
    /// `conversation.item.added`: the item of this id is part of the conversation.
    Item(Box<str>),
    /// `input_audio_buffer.speech_started`: somebody speaks, from this millisecond of the call's audio on.
    SpeechStarted(Option<u64>),
    /// `input_audio_buffer.speech_stopped`: nobody speaks, from this millisecond of the call's audio on.
    SpeechStopped(Option<u64>),
    /// `input_audio_buffer.committed`: the speech became an item.
    Committed,
    /// `output_audio_buffer.started`: the page plays the model's voice.
    PlaybackStarted,
    /// `output_audio_buffer.stopped` or `.cleared`: the page plays nothing.
    PlaybackStopped,
    /// `error`. Most errors end nothing.
    Error {
        /// The error's code, or else its type.
        code: Option<Box<str>>,
        /// The `event_id` of the client event that the error answers.
        event: Option<Box<str>>,
    },
    /// `session.input_transcript.delta` or `session.output_transcript.delta` of GPT-Live: somebody speaks.
    Spoken,
    /// `session.paused` of GPT-Live, or, with false, `session.resumed`.
    Standby(bool),
    /// `session.usage.updated` of GPT-Live: the time that is billed until now.
    Lasted(Lasted),
    /// `response.event` or `decision.event` of GPT-Live: a response of the backend has ended, however it did.
    Worked(Box<Work>),
    /// `session.closed` of GPT-Live: the session is over. No other event says so.
    Closed {
        /// True when somebody closed the session or hung up.
        by_caller: bool,
        /// The time that is billed.
        lasted: Option<Lasted>,
    },
    /// Nothing that a watcher needs.
    Other,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseStatus {
    /// All was said.
    Completed,
    /// Somebody spoke, or asked for an end.
    Cancelled,
    /// An error ended it.
    Failed,
    /// A limit or a filter ended it.
    Incomplete,
    /// A word that this version does not know, or none.
    Other,
}

/// The usage in an event.
#[derive(Clone, Debug, PartialEq)]
pub enum UsageReport {
    /// The event has none, or null.
    Missing,
    /// The figures are no counts.
    Unreadable,
    /// The figures.
    Figures(Box<Usage>),
}

/// Error for a frame that is no event. Never shows the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OddFrame {
    /// Longer than [`LONGEST_FRAME`].
    #[error("the frame is too long")]
    TooLong,
    /// No JSON object with a type, or a member that is read is repeated or has another type than published.
    #[error("the frame is no event")]
    NoEvent,
    /// An event of a known type without what the type must have.
    #[error("the event {0} is incomplete")]
    Incomplete(&'static str),
}

impl OddFrame {
    /// Returns the oddity in a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::TooLong | Self::NoEvent => "no_event",
            Self::Incomplete(_) => "incomplete",
        }
    }
}

/// An event on the wire. Each type has a few of the members.
#[derive(Deserialize)]
struct Envelope<'frame> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'frame, str>,
    #[serde(borrow)]
    session: Option<&'frame RawValue>,
    #[serde(borrow)]
    response: Option<&'frame RawValue>,
    #[serde(borrow)]
    item: Option<&'frame RawValue>,
    #[serde(borrow)]
    error: Option<&'frame RawValue>,
    #[serde(borrow)]
    usage: Option<&'frame RawValue>,
    #[serde(borrow)]
    item_id: Option<Cow<'frame, str>>,
    audio_start_ms: Option<u64>,
    audio_end_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Response<'frame> {
    #[serde(borrow)]
    id: Cow<'frame, str>,
    #[serde(borrow)]
    status: Option<Cow<'frame, str>>,
    #[serde(borrow)]
    status_details: Option<&'frame RawValue>,
    #[serde(borrow)]
    max_output_tokens: Option<&'frame RawValue>,
    #[serde(borrow)]
    usage: Option<&'frame RawValue>,
}

#[derive(Deserialize)]
struct Item<'frame> {
    #[serde(borrow)]
    id: Cow<'frame, str>,
}

#[derive(Deserialize)]
struct StatusDetails<'frame> {
    #[serde(borrow)]
    error: Option<&'frame RawValue>,
}

#[derive(Deserialize)]
struct Complaint<'frame> {
    #[serde(borrow)]
    code: Option<Cow<'frame, str>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'frame, str>>,
    #[serde(borrow)]
    event_id: Option<Cow<'frame, str>>,
    /// The name of `event_id` in GPT-Live.
    #[serde(borrow)]
    client_event_id: Option<Cow<'frame, str>>,
}

impl<'frame> ServerEvent<'frame> {
    /// Reads a text frame.
    pub fn read(frame: &'frame str) -> Result<Self, OddFrame> {
        let kind = |envelope: &Envelope<'_>| find(EVENT_TYPES, &envelope.kind);
        read(frame, kind, news)
    }
}

/// Reads a text frame as an event whose members are those of `E`: its type by `kind`, and the rest by `news`.
pub(super) fn read<'frame, E: Deserialize<'frame>>(
    frame: &'frame str,
    kind: impl FnOnce(&E) -> &'static str,
    news: impl FnOnce(&str, &E) -> Option<News<'frame>>,
) -> Result<ServerEvent<'frame>, OddFrame> {
    if frame.len() > LONGEST_FRAME {
        return Err(OddFrame::TooLong);
    }
    let envelope: E = object(frame).ok_or(OddFrame::NoEvent)?;
    let kind = kind(&envelope);
    let news = news(kind, &envelope).ok_or(OddFrame::Incomplete(kind))?;
    Ok(ServerEvent { kind, news })
}

/// Returns the type of an event if `types` has it, else [`UNKNOWN`].
pub(super) fn find(types: &[&'static str], kind: &str) -> &'static str {
    let mut types = types.iter().copied();
    types.find(|known| *known == kind).unwrap_or(UNKNOWN)
}

/// Returns what an event of the type `error` says.
pub(super) fn error(error: Option<&RawValue>) -> Option<News<'_>> {
    let error: Complaint<'_> = object(error?.get())?;
    Some(News::Error {
        code: error.code(),
        event: error.event(),
    })
}

/// Returns what an event of this type says; `None` when it lacks what the type must have.
fn news<'frame>(kind: &str, envelope: &Envelope<'frame>) -> Option<News<'frame>> {
    let item = || id(envelope.item_id.as_deref()?);
    Some(match kind {
        "session.created" | "session.updated" => {
            News::Session(EffectiveSession::read(envelope.session?)?.into())
        }
        "response.created" => {
            let response: Response<'_> = object(envelope.response?.get())?;
            News::Began {
                response: id(&response.id)?,
                most: response.max_output_tokens.and_then(MostTokens::read),
            }
        }
        "response.done" => ended(&object(envelope.response?.get())?)?,
        "conversation.item.input_audio_transcription.completed" => News::Transcribed {
            item: item()?,
            usage: UsageReport::read(envelope.usage),
        },
        "conversation.item.added" => {
            let item: Item<'_> = object(envelope.item?.get())?;
            News::Item(id(&item.id)?)
        }
        "input_audio_buffer.speech_started" => News::SpeechStarted(envelope.audio_start_ms),
        "input_audio_buffer.speech_stopped" => News::SpeechStopped(envelope.audio_end_ms),
        "input_audio_buffer.committed" => News::Committed,
        "output_audio_buffer.started" => News::PlaybackStarted,
        "output_audio_buffer.stopped" | "output_audio_buffer.cleared" => News::PlaybackStopped,
        "error" => error(envelope.error)?,
        _ => News::Other,
    })
}

fn ended<'frame>(response: &Response<'_>) -> Option<News<'frame>> {
    let details = response
        .status_details
        .and_then(|raw| object::<StatusDetails<'_>>(raw.get()));
    let error = details.and_then(|details| object::<Complaint<'_>>(details.error?.get()));
    Some(News::Ended {
        response: id(&response.id)?,
        status: match response.status.as_deref() {
            Some("completed") => ResponseStatus::Completed,
            Some("cancelled") => ResponseStatus::Cancelled,
            Some("failed") => ResponseStatus::Failed,
            Some("incomplete") => ResponseStatus::Incomplete,
            _ => ResponseStatus::Other,
        },
        usage: UsageReport::read(response.usage),
        failure: error.and_then(|error| error.code()),
    })
}

impl UsageReport {
    pub(super) fn read(json: Option<&RawValue>) -> Self {
        let Some(json) = json else {
            return Self::Missing;
        };
        Usage::read(json).map_or(Self::Unreadable, |usage| Self::Figures(usage.into()))
    }
}

impl Complaint<'_> {
    /// Returns the id of the client event that the error answers.
    fn event(&self) -> Option<Box<str>> {
        let event = self.event_id.as_ref().or(self.client_event_id.as_ref())?;
        id(event)
    }

    fn code(&self) -> Option<Box<str>> {
        let code = self.code.as_deref().or(self.kind.as_deref())?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let is_code = code.len() <= LONGEST_CODE && code.bytes().all(is_plain);
        Some(if is_code { code } else { "unknown" }.into())
    }
}

/// Returns an id of one to [`LONGEST_ID`] bytes.
pub(super) fn id(text: &str) -> Option<Box<str>> {
    (1..=LONGEST_ID).contains(&text.len()).then(|| text.into())
}

/// The types of events that the provider published (`RealtimeServerEvent` in the schema).
const EVENT_TYPES: &[&str] = &[
    "conversation.created",
    "conversation.item.added",
    "conversation.item.created",
    "conversation.item.deleted",
    "conversation.item.done",
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.failed",
    "conversation.item.input_audio_transcription.segment",
    "conversation.item.retrieved",
    "conversation.item.truncated",
    "error",
    "input_audio_buffer.cleared",
    "input_audio_buffer.committed",
    "input_audio_buffer.dtmf_event_received",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.timeout_triggered",
    "mcp_list_tools.completed",
    "mcp_list_tools.failed",
    "mcp_list_tools.in_progress",
    "output_audio_buffer.cleared",
    "output_audio_buffer.started",
    "output_audio_buffer.stopped",
    "rate_limits.updated",
    "response.content_part.added",
    "response.content_part.done",
    "response.created",
    "response.done",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.mcp_call.completed",
    "response.mcp_call.failed",
    "response.mcp_call.in_progress",
    "response.mcp_call_arguments.delta",
    "response.mcp_call_arguments.done",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.delta",
    "response.output_audio_transcript.done",
    "response.output_item.added",
    "response.output_item.done",
    "response.output_text.delta",
    "response.output_text.done",
    "session.created",
    "session.updated",
];
