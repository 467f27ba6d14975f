//! Reckons the time that GPT-Live bills a call for: the provider's reports, and the clock since the last one.

use std::time::Duration;

use crate::broker::Inner;
use crate::clock::Tick;
use crate::domain::{Call, CallUse, Cost, Mark, Money, SessionText, Usage};
use crate::provider::{Dialect, EffectiveSession, Lasted};

/// Billed for a session that was only created, and credited against the time that it runs.
const PREPAID: Duration = Duration::from_secs(15);
/// A report may be rounded up. So much of it is booked with the next one, which may be the last and exact.
const ROUNDING: Duration = Duration::from_secs(1);
/// The provider ends every session by then.
const LONGEST: Duration = Duration::from_hours(2);
/// How often money is compared with the clock: reports may come a minute apart, or not at all.
const TICK: Duration = Duration::from_secs(10);

/// Time that is billed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Billed {
    active: Duration,
    standby: Duration,
}

impl Billed {
    fn total(self) -> Duration {
        self.active + self.standby
    }

    /// Returns at least what is billed for any session.
    fn at_least_prepaid(self) -> Self {
        let rest = PREPAID.saturating_sub(self.total());
        Self {
            active: self.active + rest,
            ..self
        }
    }

    /// Returns the time less `booked`. Of a call that was taken over, nobody knows how much of that was standby.
    fn beyond(self, booked: Self) -> Self {
        let more = self.total().saturating_sub(booked.total());
        let standby = self.standby.saturating_sub(booked.standby).min(more);
        let active = self.active.saturating_sub(booked.active);
        Self {
            active: active.min(more.saturating_sub(standby)),
            standby,
        }
    }
}

/// The voice of one GPT-Live session.
pub(super) struct Voice {
    /// What was billed until `known_at`.
    known: Billed,
    known_at: Tick,
    /// True when the provider has said so.
    is_reported: bool,
    is_standby: bool,
    is_over: bool,
    booked: Billed,
    ticked: Tick,
}

impl Voice {
    /// Returns the voice of the call in `row`, which was created at `created`; `None` unless the call is one of GPT-Live.
    pub(super) fn of(row: &Call, created: Tick) -> Option<Self> {
        let is_live = row.upstream.as_ref().is_some_and(|call| call.id.is_live());
        is_live.then(|| Self::new(created, row.used.usage.transcribed))
    }

    /// Returns the voice of a session that was created at `created`, and of whose time `booked` is already booked.
    fn new(created: Tick, booked: Duration) -> Self {
        Self {
            known: Billed::default(),
            known_at: created,
            is_reported: false,
            is_standby: false,
            is_over: false,
            booked: Billed {
                active: booked,
                ..Billed::default()
            },
            ticked: created,
        }
    }

    /// Returns what the session has lasted until `now`, by the last report and the clock.
    fn lasted(&self, now: Tick) -> Billed {
        let mut lasted = self.known;
        if !self.is_over {
            let left = LONGEST.saturating_sub(lasted.total());
            let more = now.since(self.known_at).min(left);
            let part = if self.is_standby {
                &mut lasted.standby
            } else {
                &mut lasted.active
            };
            *part += more;
        }
        lasted
    }

    /// Notes that the session is in standby from now on, or is not.
    pub(super) fn turns(&mut self, is_standby: bool, now: Tick) {
        self.known = self.lasted(now);
        self.known_at = now;
        self.is_standby = is_standby;
    }

    /// Notes that the session is over.
    pub(super) fn ends(&mut self, now: Tick) {
        self.turns(false, now);
        self.is_over = true;
    }

    /// Takes a report of the provider, which replaces what was known.
    pub(super) fn hears(&mut self, said: &Lasted, now: Tick) {
        self.turns(self.is_standby, now);
        let standby = said.standby.unwrap_or(self.known.standby).min(said.total);
        self.known = Billed {
            active: said.total.saturating_sub(standby),
            standby,
        };
        self.is_reported = true;
    }

    /// Returns the use that is known and not booked yet: all of it when the session `is_over`. Books it.
    pub(super) fn book(
        &mut self,
        (inner, model): (&Inner, &str),
        is_over: bool,
        now: Tick,
    ) -> Option<CallUse> {
        let mark = if self.is_reported && now == self.known_at {
            Mark::Measured
        } else {
            Mark::Estimated
        };
        let mut lasted = self.lasted(now);
        if !is_over {
            lasted.active = lasted.active.saturating_sub(ROUNDING);
        }
        let more = lasted.at_least_prepaid().beyond(self.booked);
        if more.total().is_zero() {
            return None;
        }
        let booked = self.booked.total();
        self.booked.active += more.active;
        self.booked.standby += more.standby;
        Some(inner.voice_use((model, booked), more, mark))
    }

    /// Returns the price of what is billed until `now` and not booked yet.
    pub(super) fn unbooked(&self, (inner, model): (&Inner, &str), now: Tick) -> Money {
        let billed = self.lasted(now).at_least_prepaid();
        inner.voice_cost(model, billed.beyond(self.booked)).money
    }

    /// Returns when the money is compared with the clock again.
    pub(super) fn due(&self) -> Tick {
        self.ticked.plus(TICK)
    }

    /// True once in a while.
    pub(super) fn ticks(&mut self, now: Tick) -> bool {
        let is_due = now >= self.due();
        if is_due {
            self.ticked = now;
        }
        is_due
    }
}

impl Inner {
    /// Books what is billed for the mere creation of the call in `row`: of GPT-Live, that is not nothing. Repeated, it books
    /// nothing more.
    pub(in crate::broker::call) async fn book_creation(
        &self,
        row: &Call,
        session: &SessionText,
        mark: Mark,
    ) {
        if session.dialect() != Dialect::Live {
            return;
        }
        let shown = EffectiveSession::read(session.as_json());
        let model = shown.and_then(|shown| shown.model()).unwrap_or_default();
        let prepaid = Billed::default().at_least_prepaid();
        let used = self.voice_use((&model, Duration::ZERO), prepaid, mark);
        self.count_use_of(row, &used);
        if let Err(error) = self.parts.records.use_call(row.entry, used).await {
            self.note_records(&error);
        }
    }

    /// Books, by the clock, what nobody has counted of a GPT-Live session that is over.
    pub(in crate::broker::call) async fn book_unwatched(&self, row: &Call) {
        let clock = &self.parts.clock;
        let now = clock.tick();
        let created = now.minus(clock.now().since(row.dialled_at));
        let Some(mut voice) = Voice::of(row, created) else {
            return;
        };
        let model = self.voice_model(row).await;
        if let Some(used) = voice.book((self, &model), true, now) {
            self.count_use_of(row, &used);
            if let Err(error) = self.parts.records.use_call(row.entry, used).await {
                self.note_records(&error);
            }
        }
    }

    /// Returns the model under which the voice of a call was booked first: its persona may have another one by now, or be gone.
    async fn voice_model(&self, row: &Call) -> Box<str> {
        let first = voice_id(Duration::ZERO);
        let booked = self.parts.records.model_of_use(row.entry, &first).await;
        if let Err(error) = &booked {
            self.note_records(error);
        }
        let agreement = self.agreement();
        let persona = agreement.personas.named(row.persona.as_str());
        let asked = || persona.and_then(|persona| persona.model());
        booked.ok().flatten().or_else(asked).unwrap_or_default()
    }

    /// Returns the use of a voice for the time `more`, after the time `booked`. The id of the use follows from `booked`, so the
    /// same time is never counted twice.
    fn voice_use(&self, (model, booked): (&str, Duration), more: Billed, mark: Mark) -> CallUse {
        let cost = self.voice_cost(model, more);
        CallUse {
            id: voice_id(booked).into(),
            is_turn: false,
            model: model.into(),
            mark,
            usage: Usage {
                transcribed: more.total(),
                ..Usage::default()
            },
            cost: self.known_price(model, cost),
        }
    }

    fn voice_cost(&self, model: &str, time: Billed) -> Cost {
        let now = self.parts.clock.now();
        let prices = &self.agreement().money.prices;
        let card = prices.card(model, now);
        let cost = card.copied().unwrap_or_default();
        cost.voice_cost(time.active, time.standby)
    }
}

/// Returns the id of the use of a voice after as much as `booked`.
fn voice_id(booked: Duration) -> String {
    format!("voice_{}", booked.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn billed(active: u64, standby: u64) -> Billed {
        let [active, standby] = [active, standby].map(Duration::from_secs);
        Billed { active, standby }
    }

    #[test]
    fn lv22_standby_that_another_run_has_booked_is_not_booked_again() {
        assert_eq!(billed(65, 65).beyond(billed(60, 60)), billed(5, 5));
        // Booked by a run before: 60 s of each, which the row has as one sum.
        assert_eq!(billed(65, 65).beyond(billed(120, 0)), billed(0, 10));
        assert_eq!(billed(130, 0).beyond(billed(120, 0)), billed(10, 0));
        assert_eq!(billed(80, 20).beyond(billed(100, 0)), billed(0, 0));
    }
}
