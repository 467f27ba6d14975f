//! Meters one call: prices each response and transcription, and keeps their use until the records have it.

mod live;
mod voice;

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::json;

use self::voice::Voice;
use super::allowance::Allowance;
use crate::audit::Event;
use crate::broker::Inner;
use crate::clock::Tick;
use crate::domain::{
    Call, CallUse, Cost, EntryId, KeyFingerprint, Mark, Money, Reading, SessionText, Tokens,
    UpstreamCall, Usage,
};
use crate::provider::{self, EffectiveSession, News, UsageReport};
use crate::records::{RecordsError, Spending, TopUp};

/// Bounds the uses that wait for the records. A call is hung up long before it reaches this bound.
const MAX_UNWRITTEN: usize = 1_000;
/// Bounds the responses whose end is waited for.
const MAX_BEGUN: usize = 64;
/// Shortest time without a side channel in which somebody may have had a turn.
const BLIND: Duration = Duration::from_secs(1);

/// The meter of one call.
pub(super) struct Meter {
    entry: EntryId,
    /// The API key that created the call.
    key: KeyFingerprint,
    epoch: u32,
    /// The owner's role.
    role: Box<str>,
    models: Models,
    heard: Heard,
    /// The voice of a GPT-Live session, which is billed by time.
    voice: Option<Voice>,
    unwritten: VecDeque<CallUse>,
    /// The cost of the uses that are recorded, by any replica.
    recorded: Money,
    allowance: Allowance,
    /// Upper bound on the tokens that the next response reads: the longest context so far, and the speech since then.
    context: Tokens,
    /// The responses whose end was not seen yet.
    begun: Vec<Begun>,
    blind_since: Option<Tick>,
    /// The number of times without a side channel.
    blinded: u32,
}

/// A response whose end was not seen yet.
struct Begun {
    response: Box<str>,
    since: Tick,
    /// Set when a time without a side channel is over: the response may have ended by then.
    ended_by: Option<Tick>,
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
    /// Returns the meter of a call that was created at `created`, and may have been watched before. `session` is the persona's.
    pub(super) fn new(
        (row, call): (&Call, &UpstreamCall),
        created: Tick,
        session: &SessionText,
        mut allowance: Allowance,
    ) -> Self {
        let asked = EffectiveSession::read(session.as_json());
        allowance.holds(row.held.money);
        // Each token of a context was once new, or part of an answer.
        let mut context = allowance.prompt();
        context += row.used.usage.fresh;
        context += row.used.usage.output;
        Self {
            entry: row.entry,
            key: call.key.clone(),
            epoch: row.epoch,
            role: row.role.clone().unwrap_or_default(),
            models: asked.as_ref().map(Models::of).unwrap_or_default(),
            heard: Heard::default(),
            voice: Voice::of(row, created),
            unwritten: VecDeque::new(),
            recorded: row.used.cost,
            allowance,
            context,
            begun: Vec::new(),
            blind_since: None,
            blinded: 0,
        }
    }

    /// Returns the model that transcribes what callers say.
    pub(super) fn transcription(&self) -> Option<&str> {
        self.models.transcription.as_deref()
    }

    /// Takes the models of the session in force. The model of a voice that is billed by time cannot change, and has the price
    /// of the persona's own name.
    pub(super) fn takes_models(&mut self, models: Models) {
        let asked = self.models.response.take();
        self.models = models;
        if self.voice.is_some() {
            self.models.response = asked.or(self.models.response.take());
        }
    }

    /// Handles an event. Returns whether it changes what was spent, or what the next answer may cost.
    pub(super) fn hears(&mut self, inner: &Inner, news: &News<'_>, now: Tick) -> bool {
        match news {
            News::SpeechStarted(at) => {
                self.heard.since = *at;
                return false;
            }
            News::SpeechStopped(at) => self.heard.until(*at),
            News::Began { response, .. } => self.begins(inner, response, now),
            News::Ended {
                response, usage, ..
            } => {
                self.begun.retain(|begun| begun.response != *response);
                let read = self.reads(Duration::ZERO);
                let (usage, mark) = self.figures(inner, usage, (Usage::of_response, read));
                self.count(inner, (response, true), (usage, mark));
                if mark == Mark::Measured {
                    self.context.widen(usage.context());
                    self.heard.length = Duration::ZERO;
                }
            }
            News::Transcribed { item, usage } => {
                let heard = Usage::heard(self.heard.length);
                let figures = self.figures(inner, usage, (Usage::of_transcription, heard));
                self.count(inner, (item, false), figures);
            }
            _ => return self.hears_live(inner, news, now),
        }
        true
    }

    /// Returns the use that the provider reports, or the estimate: the provider bills at least what the model has read.
    fn figures(
        &self,
        inner: &Inner,
        report: &UsageReport,
        (read, estimate): (fn(&provider::Usage) -> Reading, Usage),
    ) -> (Usage, Mark) {
        match report {
            UsageReport::Figures(said) => {
                let reading = read(said);
                if !reading.adds_up {
                    self.alarm(
                        inner,
                        "its figures contradict each other; the larger ones are counted",
                    );
                }
                return (reading.usage, Mark::Measured);
            }
            UsageReport::Unreadable => {
                self.alarm(inner, "its figures are no counts; an estimate is counted");
            }
            UsageReport::Missing => {}
        }
        (estimate, Mark::Estimated)
    }

    /// Records that the provider reports a use that cannot be right.
    fn alarm(&self, inner: &Inner, what: &str) {
        let model = self.models.response.as_deref();
        let details = json!({ "model": model, "what": what });
        inner.parts.audit.note(Event::OddUsage, details);
    }

    /// Returns an estimate of what a response reads after speech of this length beyond what is known.
    fn reads(&self, more: Duration) -> Usage {
        let mut usage = Usage::heard(self.heard.length + more);
        usage.fresh += self.context;
        usage
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
        let used = CallUse {
            id: id.into(),
            is_turn,
            model,
            mark,
            usage,
            cost,
        };
        self.push(inner, used);
    }

    fn push(&mut self, inner: &Inner, used: CallUse) {
        inner.count_use(&used, &self.role, Some(&self.key));
        if self.unwritten.len() < MAX_UNWRITTEN {
            self.unwritten.push_back(used);
        }
    }

    /// Notes that the model begins to work on a response. The end of an earlier one was missed, if it may have been.
    fn begins(&mut self, inner: &Inner, response: &str, now: Tick) {
        self.gives_up_missed(inner);
        let is_known = self.begun.iter().any(|begun| *begun.response == *response);
        if !is_known && self.begun.len() < MAX_BEGUN {
            self.begun.push(Begun {
                response: response.into(),
                since: now,
                ended_by: None,
            });
        }
    }

    /// Notes that the call is unobserved since this moment. The next report on a voice includes the unobserved time; until then,
    /// the voice counts as active.
    pub(super) fn is_blind_since(&mut self, since: Tick) {
        match &mut self.voice {
            Some(voice) => voice.turns(false, since),
            None => _ = self.blind_since.get_or_insert(since),
        }
    }

    /// Notes that the side channel is back. In the time without it somebody may have had a turn: unless the model is known to
    /// have worked on a response, one is counted as an estimate.
    pub(super) fn sees_again(&mut self, inner: &Inner, now: Tick) {
        let since = self.blind_since.take();
        let length = since.map_or(Duration::ZERO, |since| now.since(since));
        if length < BLIND {
            return;
        }
        self.gives_up_missed(inner);
        if self.begun.is_empty() {
            self.blinded += 1;
            let id = format!("blind_{}_{}", self.epoch, self.blinded);
            self.estimate(inner, &id, (length, length));
        }
        for begun in &mut self.begun {
            begun.ended_by = Some(now);
        }
    }

    /// Counts estimates of the responses whose end was not seen. The call is over.
    pub(super) fn closes(&mut self, inner: &Inner, now: Tick) {
        self.sees_again(inner, now);
        for begun in &mut self.begun {
            begun.ended_by.get_or_insert(now);
        }
        self.gives_up_missed(inner);
        self.ends_voice(inner, now);
    }

    /// Counts estimates of the responses whose end may have been missed.
    fn gives_up_missed(&mut self, inner: &Inner) {
        let missed = self.begun.extract_if(.., |begun| begun.ended_by.is_some());
        let missed: Vec<_> = missed.collect();
        for Begun {
            response,
            since,
            ended_by,
        } in missed
        {
            let lasted = ended_by.map_or(Duration::ZERO, |ended| ended.since(since));
            self.estimate(inner, &response, (Duration::ZERO, lasted));
        }
    }

    /// Counts an estimate of a response: the broker did not see the speech before it (`heard`), nor the answer (`spoken`).
    fn estimate(&mut self, inner: &Inner, id: &str, (heard, spoken): (Duration, Duration)) {
        let mut usage = self.reads(heard);
        usage.output = self.allowance.spoken(spoken);
        self.count(inner, (id, true), (usage, Mark::Estimated));
    }

    /// True when uses wait for the records.
    pub(super) fn is_behind(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Returns the price of the call until `now`.
    pub(super) fn cost(&self, inner: &Inner, now: Tick) -> Money {
        let unwritten = self.unwritten.iter().map(|used| used.cost);
        let model = self.models.response.as_deref().unwrap_or_default();
        let voice = self.voice.as_ref();
        let voice = voice.map(|voice| voice.unbooked((inner, model), now));
        unwritten.fold(self.recorded + voice.unwrap_or_default(), |sum, cost| {
            sum + cost
        })
    }

    /// Returns the top-up, by the watch of this epoch, with which `answers` more stay within what is held; `None` when so much
    /// is held.
    pub(super) fn lacks(
        &self,
        (answers, epoch): (usize, u32),
        (inner, now): (&Inner, Tick),
    ) -> Option<TopUp> {
        let context = self.reads(Duration::ZERO).fresh;
        let spent = self.cost(inner, now);
        let to = self.allowance.lacks(spent, context, answers)?;
        let budgets = self.allowance.budgets;
        Some(TopUp { epoch, to, budgets })
    }

    /// Writes the uses that wait, and holds more money with them. Returns the row then.
    pub(super) async fn write(
        &mut self,
        inner: &Inner,
        top_up: Option<TopUp>,
    ) -> Result<Option<Call>, RecordsError> {
        let uses = self.unwritten.iter().cloned().collect();
        let spending = Spending {
            uses,
            top_up,
            can_wait: true,
        };
        let row = inner.parts.records.spend_call(self.entry, spending).await?;
        if let Some(row) = &row {
            // Another replica may have counted what this one has not seen.
            self.recorded = row.used.cost;
            self.allowance.holds(row.held.money);
        } else {
            let unwritten = self.unwritten.iter().map(|used| used.cost);
            self.recorded = unwritten.fold(self.recorded, |sum, cost| sum + cost);
        }
        self.unwritten.clear();
        Ok(row)
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
    /// Returns the price of a use. A use without a price raises an alarm: it counts less than it costs.
    pub(super) fn price(&self, model: &str, usage: &Usage) -> Money {
        let prices = &self.agreement().money.prices;
        let card = prices.card(model, self.parts.clock.now());
        self.known_price(model, card.copied().unwrap_or_default().cost(usage))
    }

    /// Returns the money of a cost. Raises the alarm when a part has no price.
    pub(super) fn known_price(&self, model: &str, cost: Cost) -> Money {
        if cost.is_unpriced {
            self.parts.vitals.series.price_misses.add([model], 1);
            let details = json!({ "model": model });
            self.parts.audit.note(Event::ZeroPrice, details);
        }
        cost.money
    }
}
