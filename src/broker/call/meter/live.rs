//! Meters what GPT-Live bills: the time of the voice, and the responses of the backend.

use std::time::Duration;

use super::{Meter, Voice};
use crate::broker::Inner;
use crate::clock::Tick;
use crate::domain::{CallUse, Mark, Usage, in_tier};
use crate::provider::{News, Work};

impl Meter {
    /// Handles an event of GPT-Live. Returns whether it changes what was spent or will be spent.
    pub(super) fn hears_live(&mut self, inner: &Inner, news: &News<'_>, now: Tick) -> bool {
        match (news, &mut self.voice) {
            (News::Worked(work), _) => self.count_work(inner, work),
            (News::Standby(is_standby), Some(voice)) => voice.turns(*is_standby, now),
            (News::Lasted(said), Some(voice)) => {
                voice.hears(said, now);
                self.count_voice(inner, false, now);
            }
            (News::Closed { lasted, .. }, Some(voice)) => {
                if let Some(said) = lasted {
                    voice.hears(said, now);
                }
                self.ends_voice(inner, now);
            }
            _ => return false,
        }
        true
    }

    /// Counts the known time of the voice that is not counted yet; the whole rest when the session `is_over`.
    fn count_voice(&mut self, inner: &Inner, is_over: bool, now: Tick) {
        let model = self.models.response.clone().unwrap_or_default();
        let voice = self.voice.as_mut();
        let used = voice.and_then(|voice| voice.book((inner, &model), is_over, now));
        if let Some(used) = used {
            self.push(inner, used);
        }
    }

    /// Counts the rest of the voice: its session is over.
    pub(super) fn ends_voice(&mut self, inner: &Inner, now: Tick) {
        self.count_voice(inner, true, now);
        if let Some(voice) = &mut self.voice {
            voice.ends(now);
        }
    }

    /// Counts a response of the backend.
    fn count_work(&mut self, inner: &Inner, work: &Work) {
        let read = self.reads(Duration::ZERO);
        let (usage, mark) = self.figures(inner, &work.usage, (Usage::of_response, read));
        if mark == Mark::Measured {
            self.context.widen(usage.context());
        }
        let tier = work.tier.as_deref();
        let model = in_tier(&work.model, tier);
        let prices = &inner.agreement().money.prices;
        let card = prices.backend(&work.model, tier, inner.parts.clock.now());
        let cost = card.copied().unwrap_or_default();
        let cost = cost.work_cost(&usage, work.searches);
        let used = CallUse {
            id: work.response.clone(),
            is_turn: false,
            cost: inner.known_price(&model, cost),
            model: (*model).into(),
            mark,
            usage,
        };
        self.push(inner, used);
    }

    /// Returns when money is to be compared with the clock again; `None` for a call that costs nothing by the clock alone.
    pub(in crate::broker::call) fn due(&self) -> Option<Tick> {
        self.voice.as_ref().map(Voice::due)
    }

    /// True when it is time to compare money with the clock.
    pub(in crate::broker::call) fn ticks(&mut self, now: Tick) -> bool {
        self.voice.as_mut().is_some_and(|voice| voice.ticks(now))
    }
}
