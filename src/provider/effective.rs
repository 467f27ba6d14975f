//! Reads the session as the provider runs it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Dialect, EventLists, object, whole_seconds};

/// Most tokens of a response's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MostTokens {
    /// So many.
    Count(u64),
    /// `inf`: as many as the model can.
    Unlimited,
}

impl MostTokens {
    /// Reads a number, or `"inf"`.
    pub fn read(json: &RawValue) -> Option<Self> {
        if json.get() == "\"inf\"" {
            return Some(Self::Unlimited);
        }
        serde_json::from_str(json.get()).ok().map(Self::Count)
    }
}

/// A session as the provider runs it. Hides itself: it holds the persona's instructions.
pub struct EffectiveSession<'frame> {
    /// `sess_…`. Ends like the id of the session's call.
    pub id: Option<Cow<'frame, str>>,
    /// The name of the caller for whom the session was created, if the session shows one.
    pub safety_identifier: Option<Cow<'frame, str>>,
    /// The time at which the provider ends the session, in seconds since the Unix epoch.
    pub expires_at: Option<u64>,
    /// The model that transcribes what callers say. `None` when nothing is transcribed.
    pub transcription_model: Option<Cow<'frame, str>>,
    /// True when the session only transcribes.
    pub is_transcription: bool,
    /// The backend of a GPT-Live session, when the provider runs one.
    pub backend: Option<Backend<'frame>>,
    /// What the page of a GPT-Live session may send and see.
    client: Option<&'frame RawValue>,
    /// The fields that a persona pins.
    pub(super) pinned: PinnedFields<'frame>,
}

/// The model behind a GPT-Live session that answers what needs thought.
#[derive(Deserialize)]
pub struct Backend<'frame> {
    /// The model; empty when the session does not say.
    #[serde(borrow, default)]
    pub model: Cow<'frame, str>,
    /// The service tier; `None` for the usual one.
    #[serde(borrow)]
    pub service_tier: Option<Cow<'frame, str>>,
    #[serde(borrow)]
    max_output_tokens: Option<&'frame RawValue>,
    #[serde(borrow)]
    instructions: Option<&'frame RawValue>,
    #[serde(borrow)]
    tools: Option<&'frame RawValue>,
}

impl Backend<'_> {
    /// Returns the most tokens of one of its answers.
    fn most_tokens(&self) -> Option<MostTokens> {
        MostTokens::read(self.max_output_tokens?)
    }

    /// True when it may search the web.
    pub fn searches(&self) -> bool {
        #[derive(Deserialize)]
        struct Tool<'json> {
            #[serde(borrow, rename = "type")]
            kind: Cow<'json, str>,
        }
        let tools = self.tools.map(RawValue::get);
        let tools: Option<Vec<Tool<'_>>> = tools.and_then(|tools| serde_json::from_str(tools).ok());
        let mut tools = tools.into_iter().flatten();
        tools.any(|tool| tool.kind.starts_with("web_search"))
    }
}

/// The fields of a session that a persona pins, in JSON. A missing field and null are the same.
#[derive(Clone, Copy, Default, Deserialize)]
pub(super) struct PinnedFields<'json> {
    #[serde(borrow, default)]
    instructions: Option<&'json RawValue>,
    #[serde(borrow, default)]
    tools: Option<&'json RawValue>,
    #[serde(borrow, default)]
    model: Option<&'json RawValue>,
    #[serde(borrow, default)]
    max_output_tokens: Option<&'json RawValue>,
    #[serde(borrow, default)]
    prompt: Option<&'json RawValue>,
    #[serde(borrow, default)]
    tracing: Option<&'json RawValue>,
    #[serde(borrow, default)]
    delegation: Option<&'json RawValue>,
    #[serde(borrow, default)]
    triggers: Option<&'json RawValue>,
}

/// A field that a persona pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// `instructions`
    Instructions,
    /// `tools`
    Tools,
    /// `model`
    Model,
    /// `max_output_tokens`
    MaxOutputTokens,
    /// `prompt`
    Prompt,
    /// `tracing`
    Tracing,
    /// `delegation` of GPT-Live
    Delegation,
    /// `triggers` of GPT-Live
    Triggers,
}

impl Pinned {
    /// Returns the fields that a persona pins in this dialect. Nobody can change the others of GPT-Live.
    pub(super) const fn of(dialect: Dialect) -> &'static [Self] {
        match dialect {
            Dialect::Realtime => &[
                Self::Instructions,
                Self::Tools,
                Self::Model,
                Self::MaxOutputTokens,
                Self::Prompt,
                Self::Tracing,
            ],
            Dialect::Live => &[Self::Delegation, Self::Triggers],
        }
    }

    /// Returns the field's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Tools => "tools",
            Self::Model => "model",
            Self::MaxOutputTokens => "max_output_tokens",
            Self::Prompt => "prompt",
            Self::Tracing => "tracing",
            Self::Delegation => "delegation",
            Self::Triggers => "triggers",
        }
    }
}

impl<'json> PinnedFields<'json> {
    /// Reads the pinned fields of a session object.
    pub(super) fn read(session: &'json RawValue) -> Option<Self> {
        object(session.get())
    }

    fn model(&self) -> Option<Box<str>> {
        let model: Cow<'_, str> = serde_json::from_str(self.model?.get()).ok()?;
        Some(model.as_ref().into())
    }

    /// Returns the dialect of the session.
    pub(super) fn dialect(&self) -> Dialect {
        Dialect::of_model(&self.model().unwrap_or_default())
    }

    /// Returns the JSON of a field; `None` when it is missing or null.
    pub(super) const fn get(&self, field: Pinned) -> Option<&'json RawValue> {
        match field {
            Pinned::Instructions => self.instructions,
            Pinned::Tools => self.tools,
            Pinned::Model => self.model,
            Pinned::MaxOutputTokens => self.max_output_tokens,
            Pinned::Prompt => self.prompt,
            Pinned::Tracing => self.tracing,
            Pinned::Delegation => self.delegation,
            Pinned::Triggers => self.triggers,
        }
    }
}

#[derive(Deserialize)]
struct Frame<'frame> {
    #[serde(borrow)]
    id: Option<Cow<'frame, str>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'frame, str>>,
    #[serde(borrow)]
    expires_at: Option<&'frame RawValue>,
    #[serde(borrow)]
    safety_identifier: Option<Cow<'frame, str>>,
    #[serde(borrow)]
    audio: Option<Audio<'frame>>,
    #[serde(borrow)]
    client: Option<&'frame RawValue>,
    #[serde(borrow)]
    delegation: Option<Delegation<'frame>>,
}

#[derive(Deserialize)]
struct Delegation<'frame> {
    #[serde(borrow)]
    responses: Option<Backend<'frame>>,
    #[serde(borrow)]
    decisions: Option<Backend<'frame>>,
}

#[derive(Deserialize)]
struct Audio<'frame> {
    #[serde(borrow)]
    input: Option<Input<'frame>>,
}

#[derive(Deserialize)]
struct Input<'frame> {
    #[serde(borrow)]
    transcription: Option<Transcription<'frame>>,
}

#[derive(Deserialize)]
struct Transcription<'frame> {
    #[serde(borrow)]
    model: Option<Cow<'frame, str>>,
}

impl<'frame> EffectiveSession<'frame> {
    /// Reads a session object. Returns `None` when it is no object, repeats a member or has one of another type.
    pub fn read(session: &'frame RawValue) -> Option<Self> {
        let frame: Frame<'_> = object(session.get())?;
        let input = frame.audio.and_then(|audio| audio.input);
        let backend = frame
            .delegation
            .and_then(|known| known.responses.or(known.decisions));
        Some(Self {
            backend,
            client: frame.client,
            id: frame.id,
            expires_at: frame.expires_at.and_then(whole_seconds),
            safety_identifier: frame.safety_identifier,
            is_transcription: frame.kind.as_deref() == Some("transcription"),
            transcription_model: input.and_then(|input| input.transcription?.model),
            pinned: PinnedFields::read(session)?,
        })
    }
}

impl EffectiveSession<'_> {
    /// Returns the model's name.
    pub fn model(&self) -> Option<Box<str>> {
        self.pinned.model()
    }

    /// Returns the dialect of the session.
    pub fn dialect(&self) -> Dialect {
        self.pinned.dialect()
    }

    /// Returns the lists of what the page of a GPT-Live session may send and see.
    pub(super) fn lists(&self) -> EventLists {
        self.client
            .map_or_else(EventLists::default, EventLists::of_client)
    }

    /// Returns the most tokens of the output of a response, or of a response of the backend.
    pub fn most_tokens(&self) -> Option<MostTokens> {
        match &self.backend {
            Some(backend) => backend.most_tokens(),
            None => MostTokens::read(self.pinned.max_output_tokens?),
        }
    }

    /// True when the length of each response is limited, or there are none that are billed by their length.
    pub fn is_bounded(&self) -> bool {
        let has_none = self.dialect() == Dialect::Live && self.backend.is_none();
        has_none
            || self.is_transcription
            || matches!(self.most_tokens(), Some(MostTokens::Count(_)))
    }

    /// Returns the bytes of instructions and tools together, in JSON: those of the backend, where there is one.
    pub fn prompt_length(&self) -> u64 {
        let fields = match &self.backend {
            Some(backend) => [backend.instructions, backend.tools],
            None => [self.pinned.instructions, self.pinned.tools],
        };
        let lengths = fields.map(|json| json.map_or(0, |json| json.get().len()));
        lengths.into_iter().sum::<usize>() as u64
    }
}

impl fmt::Debug for EffectiveSession<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EffectiveSession({:?})", self.id)
    }
}
