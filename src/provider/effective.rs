//! Reads the session as the provider runs it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::object;

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
    /// The time at which the provider ends the session, in seconds since the Unix epoch.
    pub expires_at: Option<u64>,
    /// The model that transcribes what callers say. `None` when nothing is transcribed.
    pub transcription_model: Option<Cow<'frame, str>>,
    /// True when the session only transcribes.
    pub is_transcription: bool,
    /// The fields that a persona pins.
    pub(super) pinned: PinnedFields<'frame>,
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
}

impl Pinned {
    /// All of them.
    pub(super) const ALL: [Self; 6] = [
        Self::Instructions,
        Self::Tools,
        Self::Model,
        Self::MaxOutputTokens,
        Self::Prompt,
        Self::Tracing,
    ];

    /// Returns the field's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Tools => "tools",
            Self::Model => "model",
            Self::MaxOutputTokens => "max_output_tokens",
            Self::Prompt => "prompt",
            Self::Tracing => "tracing",
        }
    }
}

impl<'json> PinnedFields<'json> {
    /// Reads the pinned fields of a session object.
    pub(super) fn read(session: &'json RawValue) -> Option<Self> {
        object(session.get())
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
        }
    }
}

#[derive(Deserialize)]
struct Frame<'frame> {
    #[serde(borrow)]
    id: Option<Cow<'frame, str>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'frame, str>>,
    expires_at: Option<u64>,
    #[serde(borrow)]
    audio: Option<Audio<'frame>>,
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
        Some(Self {
            id: frame.id,
            expires_at: frame.expires_at,
            is_transcription: frame.kind.as_deref() == Some("transcription"),
            transcription_model: input.and_then(|input| input.transcription?.model),
            pinned: PinnedFields::read(session)?,
        })
    }
}

impl EffectiveSession<'_> {
    /// Returns the model's name.
    pub fn model(&self) -> Option<Box<str>> {
        let model: Cow<'_, str> = serde_json::from_str(self.pinned.model?.get()).ok()?;
        Some(model.as_ref().into())
    }

    /// Returns the most tokens of a response's output.
    pub fn most_tokens(&self) -> Option<MostTokens> {
        MostTokens::read(self.pinned.max_output_tokens?)
    }

    /// Returns the bytes of instructions and tools together, in JSON.
    pub fn prompt_length(&self) -> u64 {
        let fields = [self.pinned.instructions, self.pinned.tools];
        let lengths = fields.map(|json| json.map_or(0, |json| json.get().len()));
        lengths.into_iter().sum::<usize>() as u64
    }
}

impl fmt::Debug for EffectiveSession<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EffectiveSession({:?})", self.id)
    }
}
