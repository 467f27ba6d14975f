//! Prices usage by the provider's price cards.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use super::{Money, Usage};
use crate::clock::Timestamp;
use crate::provider::undated;

const MILLION_TOKENS: i128 = 1_000_000;
const MINUTE: i128 = Duration::from_mins(1).as_nanos().cast_signed();

/// Prices of one million tokens of one kind. `None` where no price is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Price of input that the provider had not cached.
    pub fresh: Option<Money>,
    /// Price of input from the provider's cache. `None` for the price of other input.
    pub cached: Option<Money>,
    /// Price of output.
    pub output: Option<Money>,
}

/// The price card of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// Prices of text.
    pub text: Rates,
    /// Prices of audio.
    pub audio: Rates,
    /// Prices of images.
    pub image: Rates,
    /// Price of one minute of audio, for models that are billed by duration.
    pub minute: Option<Money>,
    /// Price of one minute in standby. `None` for the price of any other minute.
    pub standby: Option<Money>,
    /// Price of one web search.
    pub search: Option<Money>,
}

/// The cost of a usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The money.
    pub money: Money,
    /// True when a part of the usage has no price, and when usage costs nothing. The audit log reports it.
    pub is_unpriced: bool,
}

impl Card {
    /// Returns the cost of `usage`, rounded up once. Parts without a price cost nothing.
    pub fn cost(&self, usage: &Usage) -> Cost {
        let parts = [
            (usage.fresh.text, self.text.fresh),
            (usage.fresh.audio, self.audio.fresh),
            (usage.fresh.image, self.image.fresh),
            (usage.cached.text, self.text.cached.or(self.text.fresh)),
            (usage.cached.audio, self.audio.cached.or(self.audio.fresh)),
            (usage.cached.image, self.image.cached.or(self.image.fresh)),
            (usage.output.text, self.text.output),
            (usage.output.audio, self.audio.output),
            (usage.output.image, self.image.output),
        ];
        let tokens = parts.map(|(count, price)| priced(count.into(), price));
        let sum = tokens.into_iter().fold(0_i128, i128::saturating_add);
        let nanos =
            round_up(sum, MILLION_TOKENS).saturating_add(timed(usage.transcribed, self.minute));
        let is_missing = parts
            .iter()
            .any(|&(count, price)| count > 0 && price.is_none())
            || (usage.transcribed > Duration::ZERO && self.minute.is_none());
        Cost::new(nanos, is_missing || (nanos == 0 && !usage.is_nothing()))
    }

    /// Returns the cost of a voice for its active time and its standby time, each rounded up once.
    pub fn voice_cost(&self, active: Duration, standby: Duration) -> Cost {
        let nanos =
            timed(active, self.minute).saturating_add(timed(standby, self.standby.or(self.minute)));
        Cost::new(nanos, nanos == 0 && active + standby > Duration::ZERO)
    }

    /// Returns the cost of `usage` and of `searches` web searches.
    pub fn work_cost(&self, usage: &Usage, searches: u32) -> Cost {
        let work = self.cost(usage);
        let found = priced(searches.into(), self.search);
        Cost {
            money: work.money + Cost::new(found, false).money,
            is_unpriced: work.is_unpriced || (searches > 0 && found == 0),
        }
    }
}

impl Cost {
    fn new(nanos: i128, is_unpriced: bool) -> Self {
        Self {
            money: Money::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX)),
            is_unpriced,
        }
    }
}

/// Returns the price of `length`, in nano-dollars.
fn timed(length: Duration, minute: Option<Money>) -> i128 {
    round_up(priced(length.as_nanos().cast_signed(), minute), MINUTE)
}

fn priced(count: i128, price: Option<Money>) -> i128 {
    count.saturating_mul(price.unwrap_or_default().as_nanos().into())
}

fn round_up(amount: i128, unit: i128) -> i128 {
    amount.saturating_add(unit - 1) / unit
}

/// The price cards of all models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// The cards of each model with the time from which they are valid, the latest first.
    cards: HashMap<Box<str>, Vec<(Timestamp, Card)>>,
}

impl Prices {
    /// Adds the card of `model` that is valid from `from`. Returns false when there already is one of that time.
    pub fn add(&mut self, model: &str, from: Timestamp, card: Card) -> bool {
        let cards = self.cards.entry(model.into()).or_default();
        let place = cards.partition_point(|&(time, _)| time > from);
        let is_new = cards.get(place).is_none_or(|&(time, _)| time != from);
        if is_new {
            cards.insert(place, (from, card));
        }
        is_new
    }

    /// Returns the models that have a card.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.cards.keys().map(|model| &**model)
    }

    /// Returns the card of exactly this model at `now`. A model's first card also applies before its time, so that a
    /// wrong clock does not make a call free.
    pub fn card(&self, model: &str, now: Timestamp) -> Option<&Card> {
        let cards = self.cards.get(model)?;
        let valid = cards.iter().find(|&&(from, _)| from <= now);
        valid.or(cards.last()).map(|(_, card)| card)
    }

    /// Returns the card of the backend `model` in a service tier at `now`. The provider reports dated snapshots for models
    /// that were asked for without a date.
    pub fn backend(&self, model: &str, tier: Option<&str>, now: Timestamp) -> Option<&Card> {
        let card = |model| self.card(&in_tier(model, tier), now);
        card(model).or_else(|| card(undated(model)))
    }
}

/// Returns the name under which the card of `model` in a service tier is kept.
pub fn in_tier<'model>(model: &'model str, tier: Option<&str>) -> Cow<'model, str> {
    match tier {
        None | Some("auto" | "default") => model.into(),
        Some(tier) => format!("{model} {tier}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tokens;
    use super::*;

    fn dollars(text: &str) -> Option<Money> {
        let money = Money::parse(text);
        assert!(money.is_some(), "{text}");
        money
    }

    fn rates(fresh: &str, cached: &str, output: &str) -> Rates {
        Rates {
            fresh: dollars(fresh),
            cached: dollars(cached),
            output: dollars(output),
        }
    }

    /// The card of gpt-realtime-2.1.
    fn card() -> Card {
        Card {
            text: rates("4.00", "0.40", "24.00"),
            audio: rates("32.00", "0.40", "64.00"),
            image: Rates {
                output: None,
                ..rates("5.00", "0.50", "0")
            },
            ..Card::default()
        }
    }

    fn tokens(text: u64, audio: u64, image: u64) -> Tokens {
        Tokens { text, audio, image }
    }

    fn nanos(card: Card, usage: Usage) -> i64 {
        let cost = card.cost(&usage);
        assert!(!cost.is_unpriced);
        cost.money.as_nanos()
    }

    #[test]
    fn mo1_a_spoken_turn_costs_exactly_its_tokens() {
        let usage = Usage {
            fresh: tokens(14, 27, 0),
            output: tokens(28, 136, 0),
            ..Usage::default()
        };
        assert_eq!(nanos(card(), usage), 10_296_000);
    }

    #[test]
    fn mo2_cached_audio_costs_the_cached_price() {
        let usage = Usage {
            fresh: tokens(43, 32, 0),
            cached: tokens(0, 64, 0),
            output: tokens(18, 43, 0),
            ..Usage::default()
        };
        assert_eq!(nanos(card(), usage), 4_405_600);
    }

    #[test]
    fn mo3_images_have_prices_of_their_own() {
        let usage = Usage {
            fresh: tokens(0, 0, 500),
            cached: tokens(0, 0, 500),
            ..Usage::default()
        };
        assert_eq!(nanos(card(), usage), 2_750_000);
    }

    #[test]
    fn mo4_a_transcription_by_tokens_costs_the_transcription_models_price() {
        let card = Card {
            text: rates("1.25", "1.25", "5.00"),
            audio: Rates {
                fresh: dollars("1.25"),
                ..Rates::default()
            },
            ..Card::default()
        };
        let usage = Usage {
            fresh: tokens(0, 26, 0),
            output: tokens(4, 0, 0),
            ..Usage::default()
        };
        assert_eq!(nanos(card, usage), 52_500);
        // Without a price for the cache, cached input costs as much as other input.
        let cached = Usage {
            cached: tokens(0, 26, 0),
            ..Usage::default()
        };
        assert_eq!(nanos(card, cached), 32_500);
    }

    #[test]
    fn mo5_a_transcription_by_duration_is_rounded_up_once() {
        let card = Card {
            minute: dollars("0.017"),
            ..Card::default()
        };
        let seconds = |seconds| Usage {
            transcribed: Duration::from_secs_f64(seconds),
            ..Usage::default()
        };
        assert_eq!(nanos(card, seconds(3.0)), 850_000);
        assert_eq!(nanos(card, seconds(2.8)), 793_334);
    }

    #[test]
    fn mo8_a_model_has_a_price_by_its_exact_name_only() {
        let mut prices = Prices::default();
        assert!(prices.add("gpt-realtime", Timestamp::from_seconds(0), card()));
        for (model, is_known) in [
            ("gpt-realtime", true),
            ("gpt-realtime-translate", false),
            ("gpt-real", false),
            ("GPT-realtime", false),
            ("", false),
        ] {
            let found = prices.card(model, Timestamp::from_seconds(5));
            assert_eq!(found.is_some(), is_known, "{model}");
        }
    }

    #[test]
    fn mo9_usage_without_a_price_shows() {
        let video = Usage {
            output: tokens(1, 0, 1),
            ..Usage::default()
        };
        let cost = card().cost(&video);
        assert!(cost.is_unpriced);
        assert_eq!(cost.money.as_nanos(), 24_000);
        let free = Card {
            text: rates("0", "0", "0"),
            ..Card::default()
        };
        let usage = Usage {
            fresh: tokens(1, 0, 0),
            ..Usage::default()
        };
        assert!(free.cost(&usage).is_unpriced);
        assert!(!free.cost(&Usage::default()).is_unpriced);
        let heard = Usage {
            transcribed: Duration::from_secs(1),
            ..Usage::default()
        };
        assert!(card().cost(&heard).is_unpriced);
    }

    #[test]
    fn mo10_a_cost_beyond_all_money_saturates() {
        let usage = Usage {
            fresh: tokens(u64::MAX, u64::MAX, u64::MAX),
            cached: tokens(u64::MAX, u64::MAX, u64::MAX),
            output: tokens(u64::MAX, u64::MAX, 0),
            transcribed: Duration::MAX,
        };
        assert_eq!(card().cost(&usage).money, Money::from_nanos(i64::MAX));
        let exact = Usage {
            cached: tokens(1 << 53, 0, 0),
            ..Usage::default()
        };
        assert_eq!(nanos(card(), exact), (1_i64 << 53) * 400);
    }

    #[test]
    fn lv15_standby_has_a_price_of_its_own_and_otherwise_costs_as_much_as_any_minute() {
        let minutes = |minutes| Duration::from_mins(minutes);
        let live = Card {
            minute: dollars("0.05"),
            standby: dollars("0.02"),
            ..Card::default()
        };
        let nanos = |card: Card, active, standby| card.voice_cost(active, standby).money.as_nanos();
        assert_eq!(nanos(live, minutes(1), minutes(1)), 70_000_000);
        let prepaid = Duration::from_secs(15);
        assert_eq!(nanos(live, prepaid, Duration::ZERO), 12_500_000);
        let older = Card {
            standby: None,
            ..live
        };
        assert_eq!(nanos(older, minutes(1), minutes(1)), 100_000_000);
        assert!(card().voice_cost(minutes(1), Duration::ZERO).is_unpriced);
    }

    #[test]
    fn lv16_a_backend_is_priced_by_model_and_tier_and_by_its_searches() {
        let mut prices = Prices::default();
        let now = Timestamp::from_seconds(5);
        let fast = Card {
            search: dollars("0.01"),
            ..card()
        };
        prices.add(&in_tier("m-small", None), now, card());
        prices.add(&in_tier("m-small", Some("priority")), now, fast);
        for (model, tier, found) in [
            ("m-small", None, Some(&card())),
            ("m-small", Some("default"), Some(&card())),
            ("m-small-2026-03-01", Some("auto"), Some(&card())),
            ("m-small-2026-03-01", Some("priority"), Some(&fast)),
            ("m-small", Some("flex"), None),
            ("m-smaller", None, None),
        ] {
            assert_eq!(prices.backend(model, tier, now), found, "{model} {tier:?}");
        }
        let usage = Usage {
            fresh: tokens(1_000, 0, 0),
            ..Usage::default()
        };
        assert_eq!(fast.work_cost(&usage, 2).money.as_nanos(), 24_000_000);
        assert!(card().work_cost(&usage, 1).is_unpriced);
    }

    #[test]
    fn a_card_applies_from_its_time_and_the_first_one_before_it_too() {
        let mut prices = Prices::default();
        let at = Timestamp::from_seconds;
        let dearer = Card {
            text: rates("8", "8", "8"),
            ..card()
        };
        assert!(prices.add("m", at(10), card()));
        assert!(prices.add("m", at(20), dearer));
        assert!(!prices.add("m", at(20), card()));
        for (now, expected) in [(0, card()), (10, card()), (19, card()), (20, dearer)] {
            assert_eq!(prices.card("m", at(now)), Some(&expected), "{now}");
        }
    }
}
