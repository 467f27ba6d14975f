//! Reckons the usage of a conversation by formula: tokens of what was said so far, and of what is said now.

use serde_json::{Value, json};

use super::OddUsage;

/// Characters of one text token.
const CHARACTERS_PER_TOKEN: u64 = 4;
/// Milliseconds of heard audio of one token.
const HEARD_MS_PER_TOKEN: u64 = 100;
/// Milliseconds of spoken audio of one token.
const SPOKEN_MS_PER_TOKEN: u64 = 50;
/// Milliseconds that a character takes to be spoken.
pub(super) const MS_PER_CHARACTER: u64 = 80;
/// Cached tokens come in blocks of this size.
const CACHE_BLOCK: u64 = 64;

/// What was said so far, in tokens.
#[derive(Default)]
pub(super) struct Conversation {
    text: u64,
    audio: u64,
    /// Tokens of the last input, which the provider has in its cache.
    cached: u64,
    /// The id of the last item.
    pub(super) last_item: Option<String>,
}

/// Returns the tokens of a text.
pub(super) fn text_tokens(text: &str) -> u64 {
    let characters = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
    characters.div_ceil(CHARACTERS_PER_TOKEN)
}

/// Returns how long a text takes to be spoken.
pub(super) fn spoken_ms(text: &str) -> u64 {
    let characters = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
    characters.saturating_mul(MS_PER_CHARACTER)
}

impl Conversation {
    /// Adds a text that was written.
    pub(super) fn wrote(&mut self, text: &str) {
        self.text += text_tokens(text);
    }

    /// Adds speech that was heard.
    pub(super) fn heard(&mut self, millis: u64) {
        self.audio += millis.div_ceil(HEARD_MS_PER_TOKEN);
    }

    /// Returns the usage of a response of `text`, spoken or not, under `session`. Adds the response to the conversation.
    pub(super) fn answered(&mut self, text: &str, is_spoken: bool, session: &Value) -> Value {
        let rules = text_tokens(session["instructions"].as_str().unwrap_or_default())
            + session["tools"].as_array().map_or(0, |tools| {
                tools
                    .iter()
                    .map(|tool| text_tokens(&tool.to_string()))
                    .sum()
            });
        let (text_in, audio_in) = (rules + self.text, self.audio);
        let input = text_in + audio_in;
        let cached = self.cached.min(input) / CACHE_BLOCK * CACHE_BLOCK;
        let cached_text = cached.min(text_in);
        let text_out = text_tokens(text);
        let audio_out = if is_spoken {
            spoken_ms(text).div_ceil(SPOKEN_MS_PER_TOKEN)
        } else {
            0
        };
        self.text += text_out;
        self.audio += audio_out;
        self.cached = input;
        json!({
            "total_tokens": input + text_out + audio_out,
            "input_tokens": input,
            "output_tokens": text_out + audio_out,
            "input_token_details": {
                "text_tokens": text_in,
                "audio_tokens": audio_in,
                "image_tokens": 0,
                "cached_tokens": cached,
                "cached_tokens_details": {
                    "text_tokens": cached_text,
                    "audio_tokens": cached - cached_text,
                    "image_tokens": 0,
                },
            },
            "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
        })
    }
}

/// Returns `usage` with what is wrong with it.
pub(super) fn twisted(mut usage: Value, odd: OddUsage) -> Value {
    match odd {
        OddUsage::Right => {}
        OddUsage::Null | OddUsage::TopLevel => return Value::Null,
        OddUsage::WrongSum => usage["total_tokens"] = json!(1),
        OddUsage::ExtraKeys => {
            usage["output_token_details"]["reasoning_tokens"] = json!(1);
            usage["input_token_details"]["scent_tokens"] = json!(7);
        }
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_adds_up_grows_and_is_cached_in_blocks() {
        let session = json!({"instructions": "x".repeat(400), "tools": []});
        let mut conversation = Conversation::default();
        conversation.heard(2800);
        let first = conversation.answered("Hello there.", true, &session);
        assert_eq!(first["input_token_details"]["audio_tokens"], 28);
        assert_eq!(first["input_token_details"]["text_tokens"], 100);
        assert_eq!(first["input_token_details"]["cached_tokens"], 0);
        assert_eq!(
            first["output_token_details"],
            json!({"text_tokens": 3, "audio_tokens": 20})
        );
        assert_eq!(first["total_tokens"], 151);
        let second = conversation.answered("Yes.", false, &session);
        assert_eq!(second["input_tokens"], 151);
        assert_eq!(second["input_token_details"]["cached_tokens"], 128);
        let cached = &second["input_token_details"]["cached_tokens_details"];
        assert_eq!(
            (&cached["text_tokens"], &cached["audio_tokens"]),
            (&json!(103), &json!(25))
        );
    }
}
