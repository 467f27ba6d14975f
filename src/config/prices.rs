//! Reads `prices.toml`: what the provider's models cost.

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use time::Month;
use toml::value::Datetime;

use crate::clock::Timestamp;
use crate::domain::{Card, Money, Prices, Rates, in_tier};

/// Used when the operator has written no prices.
pub(super) const COMPILED_IN: &str = include_str!("../../config/prices.toml");

/// Error for a file of prices that cannot be used. Continues the sentence "the file …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct PricesError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    model: Vec<toml::Spanned<Model>>,
}

/// A card as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    names: Vec<Box<str>>,
    tier: Option<Box<str>>,
    #[serde(deserialize_with = "day")]
    valid_from: Timestamp,
    text: Option<Written>,
    audio: Option<Written>,
    image: Option<Written>,
    minute: Option<Dollars>,
    standby: Option<Dollars>,
    search: Option<Dollars>,
}

/// Prices of one kind of tokens as they are written.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    input: Option<Dollars>,
    cached: Option<Dollars>,
    output: Option<Dollars>,
}

#[derive(Clone, Copy)]
struct Dollars(Money);

/// Reads the text of a file of prices.
pub fn read_prices(text: &str) -> Result<Prices, PricesError> {
    let wrong = |start: usize, message: &str| PricesError {
        line: text.get(..start).unwrap_or_default().matches('\n').count() + 1,
        message: message.to_owned(),
    };
    let file: File = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        wrong(start, error.message())
    })?;
    let mut prices = Prices::default();
    for model in &file.model {
        add(&mut prices, model.get_ref()).map_err(|message| wrong(model.span().start, message))?;
    }
    Ok(prices)
}

fn add(prices: &mut Prices, model: &Model) -> Result<(), &'static str> {
    let dollars = |price: Option<Dollars>| price.map(|price| price.0);
    let card = Card {
        text: rates(model.text),
        audio: rates(model.audio),
        image: rates(model.image),
        minute: dollars(model.minute),
        standby: dollars(model.standby),
        search: dollars(model.search),
    };
    if card == Card::default() {
        return Err("the card has no price: give text, audio, image or minute");
    }
    if model.names.is_empty() {
        return Err("the card names no model");
    }
    for name in &model.names {
        let name = in_tier(name, model.tier.as_deref());
        if !prices.add(&name, model.valid_from, card) {
            return Err("a model of the card has another card with the same valid_from");
        }
    }
    Ok(())
}

fn rates(written: Option<Written>) -> Rates {
    let price = |price: Option<Dollars>| price.map(|price| price.0);
    written.map_or(Rates::default(), |written| Rates {
        fresh: price(written.input),
        cached: price(written.cached),
        output: price(written.output),
    })
}

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // The shortest decimal that is this number is what was written, so that no price is rounded.
        let number = f64::deserialize(from)?.to_string();
        let message =
            "a price must be a number of dollars, at least 0, with at most nine decimal places";
        Money::parse(&number)
            .map(Self)
            .ok_or_else(|| D::Error::custom(message))
    }
}

/// Reads a day, and returns its beginning in UTC.
fn day<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let wrong = || D::Error::custom("valid_from must be a day, without quotes: 2026-10-02");
    let written = Datetime::deserialize(from).map_err(|_| wrong())?;
    let date = written.date.filter(|_| written.time.is_none());
    let moment = date.and_then(|date| {
        let month = Month::try_from(date.month).ok()?;
        let day = time::Date::from_calendar_date(date.year.into(), month, date.day).ok()?;
        u64::try_from(day.midnight().assume_utc().unix_timestamp()).ok()
    });
    moment.map(Timestamp::from_seconds).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Tokens, Usage};
    use crate::provider::{KNOWN_MODELS, LIVE_MODELS};

    const NOW: Timestamp = Timestamp::from_seconds(1_796_083_200);

    #[test]
    fn the_compiled_in_prices_are_those_of_the_providers_page() {
        let prices = read_prices(COMPILED_IN).unwrap();
        let usage = Usage {
            fresh: Tokens {
                text: 14,
                audio: 27,
                image: 0,
            },
            output: Tokens {
                text: 28,
                audio: 136,
                image: 0,
            },
            ..Usage::default()
        };
        for (model, nanos) in [
            ("gpt-realtime-2.1", 10_296_000),
            ("gpt-realtime-2", 10_296_000),
            ("gpt-realtime-1.5", 10_072_000),
            ("gpt-realtime", 10_072_000),
            ("gpt-realtime-2.1-mini", 3_065_600),
            ("gpt-realtime-mini", 3_065_600),
        ] {
            let cost = prices.card(model, NOW).unwrap().cost(&usage);
            assert_eq!(
                (cost.money.as_nanos(), cost.is_unpriced),
                (nanos, false),
                "{model}"
            );
        }
        let minute = Usage {
            transcribed: std::time::Duration::from_mins(1),
            ..Usage::default()
        };
        for (model, nanos) in [
            ("gpt-realtime-whisper", 17_000_000),
            ("gpt-transcribe", 4_500_000),
        ] {
            let cost = prices.card(model, NOW).unwrap().cost(&minute);
            assert_eq!(
                (cost.money.as_nanos(), cost.is_unpriced),
                (nanos, false),
                "{model}"
            );
        }
    }

    #[test]
    fn every_known_realtime_model_has_a_price() {
        let prices = read_prices(COMPILED_IN).unwrap();
        for model in KNOWN_MODELS
            .iter()
            .filter(|name| name.starts_with("gpt-realtime"))
        {
            assert!(prices.card(model, NOW).is_some(), "{model}");
        }
    }

    #[test]
    fn every_known_live_model_has_the_price_of_a_minute_and_1_1_that_of_standby() {
        let prices = read_prices(COMPILED_IN).unwrap();
        let minute = std::time::Duration::from_mins(1);
        for model in LIVE_MODELS {
            let card = prices.card(model, NOW).unwrap();
            let cost = |active, standby| card.voice_cost(active, standby).money.as_nanos();
            let nothing = std::time::Duration::ZERO;
            assert_eq!(cost(minute, nothing), 50_000_000, "{model}");
            let standby = if *model == "gpt-live-1.1" { 20 } else { 50 };
            assert_eq!(cost(nothing, minute), standby * 1_000_000, "{model}");
        }
    }

    #[test]
    fn a_later_card_changes_the_price_from_its_day_on() {
        let text = "[[model]]\nnames = ['m']\nvalid_from = 2026-11-01\nminute = 1\n\
                    [[model]]\nnames = ['m']\nvalid_from = 2026-12-02\nminute = 0.1\n";
        let prices = read_prices(text).unwrap();
        let price = |now| prices.card("m", now).unwrap().minute.unwrap().to_string();
        assert_eq!(price(NOW), "1.00");
        assert_eq!(price(Timestamp::from_seconds(1_796_169_600)), "0.10");
    }

    #[test]
    fn a_wrong_file_is_refused_with_the_line() {
        let card = "[[model]]\nnames = ['m']\nvalid_from = 2026-11-01\n";
        for (rest, line, words) in [
            ("minute = -1\n", 4, "at least 0"),
            ("minute = 0.0000000001\n", 4, "nine decimal places"),
            ("minute = nan\n", 4, "a number of dollars"),
            ("minute = '1'\n", 4, "expected f64"),
            ("text = { inputs = 1 }\n", 4, "unknown field `inputs`"),
            ("", 1, "no price"),
            (
                "minute = 1\n[[model]]\nnames = []\nvalid_from = 2026-11-01\nminute = 1\n",
                5,
                "names no model",
            ),
            (
                "minute = 1\n[[model]]\nnames = ['m']\nvalid_from = 2026-11-01\nminute = 1\n",
                5,
                "same valid_from",
            ),
            (
                "minute = 1\n[[model]]\nnames = ['m']\nvalid_from = '2026-11-01'\nminute = 1\n",
                7,
                "must be a day",
            ),
            (
                "minute = 1\n[[model]]\nnames = ['m']\nvalid_from = 10:00:00\nminute = 1\n",
                7,
                "must be a day",
            ),
        ] {
            let error = read_prices(&format!("{card}{rest}")).unwrap_err();
            assert!(
                error.message.contains(words) && error.line == line,
                "{rest}: {error}"
            );
        }
        assert!(read_prices("").is_err());
    }
}
