//! What calls use: turns, seconds, tokens by kind and money.

use super::super::{Mark, Money, Usage};

/// The use by one response or one transcription of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallUse {
    /// The provider's id of the response, or of the item that was transcribed. It is counted once.
    pub id: Box<str>,
    /// True for a response of the model, false for a transcription.
    pub is_turn: bool,
    /// The model, in the provider's words.
    pub model: Box<str>,
    /// How the figures came to be known.
    pub mark: Mark,
    /// The tokens, and audio that is billed by its duration.
    pub usage: Usage,
    /// The price.
    pub cost: Money,
}

/// The sums of use over a whole call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// The responses of the model.
    pub turns: u64,
    /// The seconds from the page's first sign of life to the end, rounded up; zero while the call runs.
    pub seconds: u64,
    /// The tokens, and audio that is billed by its duration.
    pub usage: Usage,
    /// The price.
    pub cost: Money,
    /// The part of the price that was reckoned, because nobody measured it.
    pub estimated: Money,
}

impl Used {
    /// Returns the sums with `more` in them.
    #[must_use]
    pub fn plus(&self, more: &CallUse) -> Self {
        Self {
            turns: self.turns.saturating_add(u64::from(more.is_turn)),
            seconds: self.seconds,
            usage: self.usage + more.usage,
            cost: self.cost + more.cost,
            estimated: match more.mark {
                Mark::Estimated => self.estimated + more.cost,
                Mark::Measured | Mark::Reported => self.estimated,
            },
        }
    }
}
