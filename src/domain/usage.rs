//! Counts what calls use, in the kinds that prices tell apart.

use std::ops::{Add, AddAssign};
use std::time::Duration;

use crate::provider;

/// Audio that one input token stands for (OpenAI's cost guide: 600 tokens a minute).
const HEARD_PER_TOKEN: Duration = Duration::from_millis(100);
/// Audio that one output token stands for (the same guide: 1,200 tokens a minute).
const SPOKEN_PER_TOKEN: Duration = Duration::from_millis(50);

/// Tokens by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Text tokens.
    pub text: u64,
    /// Audio tokens.
    pub audio: u64,
    /// Image tokens.
    pub image: u64,
}

/// What a response, a transcription or a whole call used. Sums saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Input tokens that the provider had not cached.
    pub fresh: Tokens,
    /// Input tokens from the provider's cache.
    pub cached: Tokens,
    /// Output tokens.
    pub output: Tokens,
    /// Audio that is billed by its duration.
    pub transcribed: Duration,
}

/// How a figure came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// The broker saw the figure itself.
    Measured,
    /// The broker reckoned the figure, because the provider gave none.
    Estimated,
    /// A page sent the figure. No limit uses it.
    Reported,
}

impl Mark {
    /// Returns the word for it in records and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Estimated => "estimated",
            Self::Reported => "reported",
        }
    }
}

/// A usage as read from the provider's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The usage. Where figures contradict each other, the larger reading, at the dearest kind.
    pub usage: Usage,
    /// False when figures contradict each other. The audit log reports it.
    pub adds_up: bool,
}

impl Tokens {
    /// Returns the tokens of all kinds.
    pub const fn sum(self) -> u64 {
        let some = self.text.saturating_add(self.audio);
        some.saturating_add(self.image)
    }

    /// Raises each kind to that of `other`.
    pub fn widen(&mut self, other: Self) {
        *self = self.zip(other, u64::max);
    }

    /// Returns the result of `join` for each kind.
    fn zip(self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            text: join(self.text, other.text),
            audio: join(self.audio, other.audio),
            image: join(self.image, other.image),
        }
    }
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, other: Self) {
        *self = self.zip(other, u64::saturating_add);
    }
}

impl Usage {
    /// Reads the usage of a response. Tokens of no named kind count as audio, the dearest kind.
    pub fn of_response(said: &provider::Usage) -> Reading {
        let (mut usage, mut adds_up) = named(said);
        adds_up &= agrees(said.input, usage.input()) && agrees(said.output, usage.output.sum());
        let (input, output) = unnamed(said, &usage);
        usage.fresh.audio = usage.fresh.audio.saturating_add(input);
        usage.output.audio = usage.output.audio.saturating_add(output);
        adds_up &= agrees(said.total, usage.tokens());
        let rest = surplus(said.total, usage.tokens());
        usage.output.audio = usage.output.audio.saturating_add(rest);
        Reading { usage, adds_up }
    }

    /// Reads the usage of a transcription. Tokens of no named kind are audio in and text out.
    pub fn of_transcription(said: &provider::Usage) -> Reading {
        let (mut usage, adds_up) = named(said);
        let (input, output) = unnamed(said, &usage);
        usage.fresh.audio = usage.fresh.audio.saturating_add(input);
        usage.output.text = usage.output.text.saturating_add(output);
        let seconds = said.seconds.unwrap_or_default();
        usage.transcribed = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Reading { usage, adds_up }
    }

    /// Returns an estimate of the input tokens for audio of this length.
    pub fn heard(length: Duration) -> Self {
        Self {
            fresh: audio(length, HEARD_PER_TOKEN),
            ..Self::default()
        }
    }

    /// Returns an estimate of the output tokens for audio of this length.
    pub fn spoken(length: Duration) -> Tokens {
        audio(length, SPOKEN_PER_TOKEN)
    }

    /// Returns the length of the audio that a transcription with these figures has heard.
    pub fn audio_length(&self) -> Duration {
        let tokens = self.fresh.audio.saturating_add(self.cached.audio);
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        self.transcribed.max(HEARD_PER_TOKEN * tokens)
    }

    /// Returns what the next response reads at least: all that this one has read and said.
    pub fn context(&self) -> Tokens {
        let mut context = self.fresh;
        context += self.cached;
        context += self.output;
        context
    }

    /// Returns the input tokens, the cached ones included.
    pub const fn input(&self) -> u64 {
        self.fresh.sum().saturating_add(self.cached.sum())
    }

    /// Returns the tokens of input and output.
    pub const fn tokens(&self) -> u64 {
        self.input().saturating_add(self.output.sum())
    }

    /// Returns true when nothing was used.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            fresh: self.fresh.zip(other.fresh, u64::saturating_add),
            cached: self.cached.zip(other.cached, u64::saturating_add),
            output: self.output.zip(other.output, u64::saturating_add),
            transcribed: self.transcribed.saturating_add(other.transcribed),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Returns the tokens of audio of this length. A begun token counts.
fn audio(length: Duration, per_token: Duration) -> Tokens {
    let tokens = length.as_millis().div_ceil(per_token.as_millis());
    Tokens {
        audio: u64::try_from(tokens).unwrap_or(u64::MAX),
        ..Tokens::default()
    }
}

/// Returns the tokens of named kinds, and whether the figures of the cache agree with each other and with their kinds.
fn named(said: &provider::Usage) -> (Usage, bool) {
    let input = said.input_details.clone().unwrap_or_default();
    let kinds = Tokens {
        text: input.text.unwrap_or_default(),
        audio: input.audio.unwrap_or_default(),
        image: input.image.unwrap_or_default(),
    };
    let cached = input.cached_details.as_ref().map(tokens);
    let is_same = input
        .cached
        .is_none_or(|sum| sum == cached.unwrap_or_default().sum());
    let cached = cached.unwrap_or_default();
    let usage = Usage {
        fresh: kinds.zip(cached, u64::saturating_sub),
        cached,
        output: said.output_details.as_ref().map(tokens).unwrap_or_default(),
        ..Usage::default()
    };
    let is_part = kinds.zip(cached, u64::max) == kinds;
    (usage, is_same && is_part)
}

/// Returns the input and output tokens of no named kind. Details that exceed their sum leave none.
fn unnamed(said: &provider::Usage, usage: &Usage) -> (u64, u64) {
    (
        surplus(said.input, usage.input()),
        surplus(said.output, usage.output.sum()),
    )
}

/// Returns what `said` exceeds `counted` by.
fn surplus(said: Option<u64>, counted: u64) -> u64 {
    said.unwrap_or_default().saturating_sub(counted)
}

fn agrees(said: Option<u64>, counted: u64) -> bool {
    said.is_none_or(|said| said == counted)
}

fn tokens(said: &provider::Kinds) -> Tokens {
    Tokens {
        text: said.text.unwrap_or_default(),
        audio: said.audio.unwrap_or_default(),
        image: said.image.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(json: &Value) -> provider::Usage {
        serde_json::from_value(json.clone()).unwrap()
    }

    fn kinds(text: u64, audio: u64, image: u64) -> Tokens {
        Tokens { text, audio, image }
    }

    /// The second turn of a recorded conversation.
    fn recorded() -> Value {
        json!({
            "total_tokens": 296, "input_tokens": 132, "output_tokens": 164,
            "input_token_details": {
                "text_tokens": 106, "audio_tokens": 26, "image_tokens": 0, "cached_tokens": 64,
                "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 0, "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": 28, "audio_tokens": 136},
        })
    }

    #[test]
    fn cached_tokens_are_part_of_the_input_and_count_once() {
        let reading = Usage::of_response(&said(&recorded()));
        assert!(reading.adds_up);
        assert_eq!(reading.usage.fresh, kinds(42, 26, 0));
        assert_eq!(reading.usage.cached, kinds(64, 0, 0));
        assert_eq!(reading.usage.output, kinds(28, 136, 0));
        assert_eq!(reading.usage.tokens(), 296);
    }

    #[test]
    fn mo19_reasoning_tokens_are_part_of_the_text_and_count_once() {
        let mut usage = recorded();
        usage["output_token_details"]["reasoning_tokens"] = 20.into();
        assert_eq!(
            Usage::of_response(&said(&usage)),
            Usage::of_response(&said(&recorded()))
        );
    }

    #[test]
    fn mo10_where_sums_do_not_add_the_larger_reading_counts_and_shows() {
        for (path, figure, expected) in [
            ("/input_tokens", 140, (kinds(42, 34, 0), kinds(28, 136, 0))),
            ("/input_tokens", 100, (kinds(42, 26, 0), kinds(28, 136, 0))),
            ("/output_tokens", 170, (kinds(42, 26, 0), kinds(28, 142, 0))),
            ("/output_tokens", 1, (kinds(42, 26, 0), kinds(28, 136, 0))),
            ("/total_tokens", 300, (kinds(42, 26, 0), kinds(28, 140, 0))),
            ("/total_tokens", 0, (kinds(42, 26, 0), kinds(28, 136, 0))),
            (
                "/input_token_details/text_tokens",
                50,
                (kinds(0, 68, 0), kinds(28, 136, 0)),
            ),
            (
                "/input_token_details/cached_tokens",
                128,
                (kinds(42, 26, 0), kinds(28, 136, 0)),
            ),
        ] {
            let mut usage = recorded();
            *usage.pointer_mut(path).unwrap() = figure.into();
            let reading = Usage::of_response(&said(&usage));
            assert!(!reading.adds_up, "{path} {figure}");
            let found = (reading.usage.fresh, reading.usage.output);
            assert_eq!(found, expected, "{path} {figure}");
        }
    }

    #[test]
    fn tokens_without_details_count_as_the_dearest_kind() {
        let reading = Usage::of_response(&said(&json!({"input_tokens": 10, "output_tokens": 5})));
        assert!(!reading.adds_up);
        assert_eq!(reading.usage.fresh, kinds(0, 10, 0));
        assert_eq!(reading.usage.output, kinds(0, 5, 0));
    }

    #[test]
    fn a_transcription_counts_tokens_or_seconds() {
        let usage = json!({
            "type": "tokens", "input_tokens": 26, "output_tokens": 4, "total_tokens": 30,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 26},
        });
        let reading = Usage::of_transcription(&said(&usage));
        assert!(reading.adds_up);
        assert_eq!(reading.usage.fresh, kinds(0, 26, 0));
        assert_eq!(reading.usage.output, kinds(4, 0, 0));
        let usage = json!({"type": "duration", "seconds": 2.8});
        let reading = Usage::of_transcription(&said(&usage));
        assert_eq!(reading.usage.transcribed, Duration::from_millis(2800));
        assert_eq!(reading.usage.tokens(), 0);
    }

    #[test]
    fn audio_of_unknown_cost_counts_a_token_for_each_begun_tenth_of_a_second() {
        let heard = |millis| Usage::heard(Duration::from_millis(millis)).fresh.audio;
        assert_eq!((heard(0), heard(1), heard(60_000)), (0, 1, 600));
    }

    #[test]
    fn usages_add_up_and_saturate() {
        let one = Usage::of_response(&said(&recorded())).usage;
        let mut sum = one + one;
        assert_eq!(sum.tokens(), 592);
        sum.output.text = u64::MAX;
        sum += one;
        assert_eq!((sum.output.text, sum.tokens()), (u64::MAX, u64::MAX));
        assert!(Usage::default().is_nothing() && !one.is_nothing());
    }
}
