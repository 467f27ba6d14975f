//! Reckons what the next answer of a call may cost at most, so that it can be held before the call spends it.

use std::time::Duration;

use super::{Card, Money, Prices, SessionText, Tokens, Usage};
use crate::clock::Timestamp;
use crate::provider::{Dialect, EffectiveSession, MostTokens};

/// Bytes of instructions and tools for each text token, at least: English has four, other scripts have two.
const BYTES_PER_TOKEN: u64 = 2;
/// Most text tokens that the provider adds to instructions and tools. 347 were recorded.
const OVERHEAD: u64 = 512;
/// Speech that may be heard before the next answer.
const SPEECH: Duration = Duration::from_mins(1);
/// Most text tokens of the transcription of that speech: ten in a second.
const TRANSCRIPT: u64 = 600;
/// Tokens of the longest answer of any model (model cards of 2.x), where a session sets no limit.
const LONGEST_ANSWER: u64 = 32_000;

/// The prices of a session's models, and the length of its answers.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    card: Card,
    /// The price of what runs beside the answers: transcriptions, or the voice of GPT-Live. `None` when nothing does.
    beside: Option<Card>,
    longest: u64,
    /// The tokens of instructions and tools, at most.
    prompt: Tokens,
}

/// Error for a session whose model has no price, by the name of the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the model {0:?} has no price")]
pub struct Unpriced(pub Box<str>);

impl Need {
    /// Returns the need of calls that run `session`.
    pub fn of(session: &SessionText, prices: &Prices, now: Timestamp) -> Result<Self, Unpriced> {
        let shown = EffectiveSession::read(session.as_json());
        let shown = shown.ok_or_else(|| Unpriced("".into()))?;
        let card = |model: &str| {
            prices
                .card(model, now)
                .ok_or_else(|| Unpriced(model.into()))
        };
        let model = shown.model().unwrap_or_default();
        let (answers, beside) = match shown.dialect() {
            Dialect::Realtime => {
                let transcription = shown.transcription_model.as_deref().map(card);
                let answers = if shown.is_transcription {
                    // Nothing answers.
                    Card::default()
                } else {
                    *card(&model)?
                };
                (answers, transcription.transpose()?.copied())
            }
            Dialect::Live => {
                let voice = *card(&model)?;
                voice.minute.ok_or_else(|| Unpriced(model.clone()))?;
                (backend(&shown, prices, now)?, Some(voice))
            }
        };
        let prompt = shown.prompt_length().div_ceil(BYTES_PER_TOKEN) + OVERHEAD;
        Ok(Self {
            card: answers,
            beside,
            longest: match shown.most_tokens() {
                Some(MostTokens::Count(most)) => most,
                Some(MostTokens::Unlimited) | None => LONGEST_ANSWER,
            },
            prompt: Tokens {
                text: prompt,
                ..Tokens::default()
            },
        })
    }

    /// Returns the tokens of the longest answer.
    pub const fn longest(&self) -> u64 {
        self.longest
    }

    /// Returns the tokens of instructions and tools, at most: the context of the first answer.
    pub const fn prompt(&self) -> Tokens {
        self.prompt
    }

    /// Returns the most that an answer costs which reads `context` and a minute of speech: nothing comes from the cache, and
    /// the answer is as long as may be, at the dearer kind of its tokens.
    pub fn next_answer(&self, context: Tokens) -> Money {
        let heard = Usage::heard(SPEECH);
        let mut read = heard;
        read.fresh += context;
        let mut written = [read, read];
        written[0].output.text = self.longest;
        written[1].output.audio = self.longest;
        let answer = written.map(|usage| self.card.cost(&usage).money);
        let mut transcribed = heard;
        transcribed.output.text = TRANSCRIPT;
        transcribed.transcribed = SPEECH;
        let beside = self.beside.map(|card| card.cost(&transcribed).money);
        answer[0].max(answer[1]) + beside.unwrap_or_default()
    }

    /// Returns the least money that a call needs to begin: the price of its first answer.
    pub fn least(&self) -> Money {
        self.next_answer(self.prompt)
    }
}

/// Returns the prices of the backend of a GPT-Live session. Without a backend, there are no answers that cost anything.
fn backend(
    shown: &EffectiveSession<'_>,
    prices: &Prices,
    now: Timestamp,
) -> Result<Card, Unpriced> {
    let Some(backend) = &shown.backend else {
        return Ok(Card::default());
    };
    let card = prices.backend(&backend.model, backend.service_tier.as_deref(), now);
    let card = card.ok_or_else(|| Unpriced((*backend.model).into()))?;
    if backend.searches() && card.search.is_none() {
        return Err(Unpriced("web_search".into()));
    }
    Ok(*card)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Listener, Rates, SessionObject};
    use super::*;

    fn card(text: i64, audio: i64, output: i64) -> Card {
        let dollars = |dollars: i64| Some(Money::from_nanos(dollars * 1_000_000_000));
        let rates = |input, output| Rates {
            fresh: dollars(input),
            cached: dollars(0),
            output: dollars(output),
        };
        Card {
            text: rates(text, output / 2),
            audio: rates(audio, output),
            ..Card::default()
        }
    }

    fn session(more: &serde_json::Value) -> SessionText {
        let mut session =
            json!({ "type": "realtime", "model": "m", "instructions": "a".repeat(976) });
        let fields = more.as_object().unwrap().clone();
        session.as_object_mut().unwrap().extend(fields);
        let known = Listener::default();
        let object = SessionObject::new(&session, &known).unwrap();
        object.written_for(&known)
    }

    fn prices() -> Prices {
        let mut prices = Prices::default();
        let now = Timestamp::from_seconds(0);
        prices.add("m", now, card(4, 32, 64));
        let minute = Card {
            minute: Some(Money::from_nanos(17_000_000)),
            ..Card::default()
        };
        prices.add("t", now, minute);
        prices
    }

    #[test]
    fn mo20_a_call_needs_its_prompt_a_minute_of_speech_and_one_answer() {
        let now = Timestamp::from_seconds(0);
        let need = |more| Need::of(&session(&more), &prices(), now);
        // 976 bytes and two quotes are 489 tokens, and 512 of the provider; 600 tokens of speech; 100 of the answer.
        let least = (489 + 512) * 4_000 + 600 * 32_000 + 100 * 64_000;
        let found = need(json!({ "max_output_tokens": 100 })).unwrap();
        assert_eq!(found.least(), Money::from_nanos(least));
        let transcribed = json!({ "max_output_tokens": 100, "audio": { "input": { "transcription": { "model": "t" } } } });
        let found = need(transcribed).unwrap();
        assert_eq!(found.least(), Money::from_nanos(least + 17_000_000));
        let context = Tokens {
            audio: 1_000,
            ..found.prompt()
        };
        let more = Money::from_nanos(least + 17_000_000 + 1_000 * 32_000);
        assert_eq!(found.next_answer(context), more);
        let unbounded = need(json!({})).unwrap();
        let longest = Money::from_nanos(least + (32_000 - 100) * 64_000);
        assert_eq!(unbounded.least(), longest);
    }

    #[test]
    fn a_session_that_only_transcribes_needs_a_minute_of_its_transcription() {
        let transcribed = json!({ "type": "transcription", "audio": { "input": { "transcription": { "model": "t" } } } });
        let known = Listener::default();
        let object = SessionObject::new(&transcribed, &known).unwrap();
        let need = Need::of(
            &object.written_for(&known),
            &prices(),
            Timestamp::from_seconds(0),
        );
        assert_eq!(need.unwrap().least(), Money::from_nanos(17_000_000));
    }

    #[test]
    fn mo8_a_session_is_priced_only_when_all_its_models_are() {
        let now = Timestamp::from_seconds(0);
        for more in [
            json!({ "model": "other" }),
            json!({ "audio": { "input": { "transcription": { "model": "other" } } } }),
        ] {
            let found = Need::of(&session(&more), &prices(), now);
            assert_eq!(found.unwrap_err(), Unpriced("other".into()));
        }
    }

    #[test]
    fn lv4_a_live_call_needs_a_minute_of_its_voice_and_one_answer_of_its_backend() {
        let now = Timestamp::from_seconds(0);
        let mut prices = prices();
        let voice = Card {
            minute: Some(Money::from_nanos(50_000_000)),
            ..Card::default()
        };
        prices.add("gpt-live-1", now, voice);
        let need = |delegation: serde_json::Value| {
            let session = json!({ "model": "gpt-live-1", "delegation": delegation });
            let known = Listener::default();
            let object = SessionObject::new(&session, &known).unwrap();
            Need::of(&object.written_for(&known), &prices, now)
        };
        let alone = need(json!({ "type": "client" })).unwrap();
        assert_eq!(alone.least(), Money::from_nanos(50_000_000));
        let responses = |more: serde_json::Value| {
            let mut responses =
                json!({ "model": "m", "max_output_tokens": 100, "instructions": "a".repeat(974) });
            let fields = more.as_object().unwrap().clone();
            responses.as_object_mut().unwrap().extend(fields);
            json!({ "type": "responses", "responses": responses })
        };
        // 488 tokens of instructions, and 512 of the provider. A minute of speech has a price of its own here.
        let least = 50_000_000 + (488 + 512) * 4_000 + 600 * 32_000 + 100 * 64_000;
        let found = need(responses(json!({}))).unwrap();
        assert_eq!(found.least(), Money::from_nanos(least));
        for (more, missing) in [
            (json!({ "model": "other" }), "other"),
            (json!({ "service_tier": "priority" }), "m"),
            (json!({ "tools": [{ "type": "web_search" }] }), "web_search"),
        ] {
            let found = need(responses(more));
            assert_eq!(found.unwrap_err(), Unpriced(missing.into()));
        }
    }
}
