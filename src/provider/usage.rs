//! Reads the provider's figures of use.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::object;

/// The use that a finished response or transcription reports, in the provider's own figures. The figures need not add up.
///
/// Source: `RealtimeResponse.usage` and `TranscriptTextUsageTokens` / `…Duration` of the published schema. Members that
/// are not listed here are ignored, like `reasoning_tokens`, which are part of the text tokens.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens of input and output.
    #[serde(rename = "total_tokens")]
    pub total: Option<u64>,
    /// Tokens of input, the cached ones included.
    #[serde(rename = "input_tokens")]
    pub input: Option<u64>,
    /// Tokens of output.
    #[serde(rename = "output_tokens")]
    pub output: Option<u64>,
    /// The kinds of input.
    #[serde(rename = "input_token_details")]
    pub input_details: Option<InputDetails>,
    /// The kinds of output.
    #[serde(rename = "output_token_details")]
    pub output_details: Option<Kinds>,
    /// Seconds of audio, for models that are billed by duration.
    pub seconds: Option<f64>,
}

/// Input tokens by kind.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct InputDetails {
    /// Text tokens.
    #[serde(rename = "text_tokens")]
    pub text: Option<u64>,
    /// Audio tokens.
    #[serde(rename = "audio_tokens")]
    pub audio: Option<u64>,
    /// Image tokens.
    #[serde(rename = "image_tokens")]
    pub image: Option<u64>,
    /// Tokens of all kinds that came from the cache.
    #[serde(rename = "cached_tokens")]
    pub cached: Option<u64>,
    /// The kinds of the tokens that came from the cache.
    #[serde(rename = "cached_tokens_details")]
    pub cached_details: Option<Kinds>,
}

/// Tokens by kind.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Kinds {
    /// Text tokens.
    #[serde(rename = "text_tokens")]
    pub text: Option<u64>,
    /// Audio tokens.
    #[serde(rename = "audio_tokens")]
    pub audio: Option<u64>,
    /// Image tokens.
    #[serde(rename = "image_tokens")]
    pub image: Option<u64>,
}

impl Usage {
    /// Reads the JSON of a usage. Returns `None` when a figure is negative, no whole number, a text, or given twice, and when
    /// there is no figure at all.
    pub fn read(json: &RawValue) -> Option<Self> {
        let usage: Self = object(json.get())?;
        let is_time = |seconds: f64| (0.0..1e9).contains(&seconds);
        let has_figure = usage != Self::default();
        (has_figure && usage.seconds.is_none_or(is_time)).then_some(usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Usage> {
        Usage::read(&RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn mo10_a_figure_that_is_no_count_refuses_the_usage() {
        for wrong in [
            r#"{"input_tokens":-1}"#,
            r#"{"input_tokens":"12"}"#,
            r#"{"input_tokens":1.5}"#,
            r#"{"input_tokens":1,"input_tokens":2}"#,
            r#"{"input_tokens":18446744073709551616}"#,
            r#"{"input_tokens":1,"input_token_details":{"text_tokens":-1}}"#,
            r#"{"output_tokens":1,"output_token_details":{"audio_tokens":"1"}}"#,
            r#"{"type":"duration","seconds":-3}"#,
            r#"{"type":"duration","seconds":"3"}"#,
            r#"{"type":"duration","seconds":1e300}"#,
            r#"{"type":"tokens"}"#,
            "{}",
            "[]",
            "[1,2,3]",
            "12",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn mo10_two_to_the_53_is_exact_and_unknown_details_are_ignored() {
        let usage = read(
            r#"{"input_tokens":9007199254740993,"new":{},"input_token_details":{"new_tokens":5,"text_tokens":null}}"#,
        );
        let usage = usage.unwrap();
        assert_eq!(usage.input, Some(9_007_199_254_740_993));
        assert_eq!(usage.input_details, Some(InputDetails::default()));
    }
}
