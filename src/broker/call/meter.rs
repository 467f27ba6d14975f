//! Meters one call: prices each response and transcription, and keeps their use until the records have it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::broker::Inner;
use crate::domain::{CallUse, EntryId, Mark, Money, Reading, Usage};
use crate::provider::{self, EffectiveSession, News, UsageReport};

/// Bounds the uses that wait for the records. Long before so many, the call is hung up.
const MAX_UNWRITTEN: usize = 1_000;

/// The meter of one call.
pub(super) struct Meter {
    entry: EntryId,
    models: Models,
    heard: Heard,
    unwritten: VecDeque<CallUse>,
    /// The price of the whole call, as far as it is known here.
    cost: Money,
}

/// The models of a session, in the provider's words.
#[derive(Clone, Debug, Default)]
pub(super) struct Models {
    /// The model that answers.
    pub(super) response: Option<Box<str>>,
    /// The model that transcribes what callers say.
    transcription: Option<Box<str>>,
}

impl Models {
    /// Returns the models of the session in force.
    pub(super) fn of(shown: &EffectiveSession<'_>) -> Self {
        Self {
            response: shown.model(),
            transcription: shown.transcription_model.as_deref().map(Into::into),
        }
    }
}

/// Speech that the model has heard and not answered yet.
#[derive(Default)]
struct Heard {
    length: Duration,
    /// The millisecond of the call's audio since which somebody speaks.
    since: Option<u64>,
}

impl Meter {
    /// Returns the meter of a call that has cost so much already.
    pub(super) fn new(entry: EntryId, cost: Money) -> Self {
        Self {
            entry,
            models: Models::default(),
            heard: Heard::default(),
            unwritten: VecDeque::new(),
            cost,
        }
    }

    /// Takes the models of the session in force.
    pub(super) fn takes_models(&mut self, models: Models) {
        self.models = models;
    }

    /// Takes an event in. Returns whether it reports use.
    pub(super) fn hears(&mut self, inner: &Inner, news: &News<'_>) -> bool {
        match news {
            News::SpeechStarted(at) => self.heard.since = *at,
            News::SpeechStopped(at) => self.heard.until(*at),
            News::Ended {
                response, usage, ..
            } => {
                let figures = self.figures(usage, Usage::of_response);
                self.count(inner, (response, true), figures);
                self.heard.length = Duration::ZERO;
                return true;
            }
            News::Transcribed { item, usage } => {
                let figures = self.figures(usage, Usage::of_transcription);
                self.count(inner, (item, false), figures);
                return true;
            }
            _ => {}
        }
        false
    }

    /// Returns the use that the provider reports, or an estimate: the provider bills at least what the model has heard.
    fn figures(
        &self,
        report: &UsageReport,
        read: fn(&provider::Usage) -> Reading,
    ) -> (Usage, Mark) {
        match report {
            UsageReport::Figures(said) => (read(said).usage, Mark::Measured),
            UsageReport::Missing | UsageReport::Unreadable => {
                (Usage::heard(self.heard.length), Mark::Estimated)
            }
        }
    }

    fn count(&mut self, inner: &Inner, (id, is_turn): (&str, bool), (usage, mark): (Usage, Mark)) {
        let models = &self.models;
        let model = if is_turn {
            models.response.clone()
        } else {
            models.transcription.clone()
        };
        let model = model.unwrap_or_default();
        let cost = inner.price(&model, &usage);
        self.cost += cost;
        let used = CallUse {
            id: id.into(),
            is_turn,
            model,
            mark,
            usage,
            cost,
        };
        if self.unwritten.len() < MAX_UNWRITTEN {
            self.unwritten.push_back(used);
        }
    }

    /// True when uses wait for the records.
    pub(super) fn is_behind(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Returns the price of the call so far.
    pub(super) const fn cost(&self) -> Money {
        self.cost
    }

    /// Writes the uses that wait. Returns whether the records took them.
    pub(super) async fn write(&mut self, inner: &Inner) -> bool {
        while let Some(used) = self.unwritten.front() {
            let written = inner.parts.records.use_call(self.entry, used.clone());
            match written.await {
                // Another replica may have counted what this one has not seen.
                Ok(row) => self.cost = row.map_or(self.cost, |row| row.used.cost.max(self.cost)),
                Err(error) => {
                    inner.note_records(&error);
                    return false;
                }
            }
            self.unwritten.pop_front();
        }
        true
    }
}

impl Heard {
    fn until(&mut self, at: Option<u64>) {
        if let (Some(since), Some(at)) = (self.since.take(), at) {
            self.length += Duration::from_millis(at.saturating_sub(since));
        }
    }
}

impl Inner {
    /// Returns the price of a use. A use without a price is logged: it counts less than it costs.
    fn price(&self, model: &str, usage: &Usage) -> Money {
        let card = self.rules.prices.card(model, self.parts.clock.now());
        let cost = card.map(|card| card.cost(usage));
        if !usage.is_nothing() && cost.is_none_or(|cost| cost.is_unpriced) {
            tracing::warn!(
                model,
                "a call used what has no price, so its cost is too low; a newer version of the broker may know the price"
            );
        }
        cost.map_or(Money::default(), |cost| cost.money)
    }
}
