//! Handles the events of a side channel: what each one means for the limits, the meter and the persona.

use std::sync::Arc;

use super::limits::Act;
use super::meter::Models;
use super::side::Side;
use super::watch::{Over, Watch};
use crate::broker::Inner;
use crate::clock::Tick;
use crate::domain::EndReason;
use crate::provider::{
    EffectiveSession, MostTokens, News, OddFrame, ServerEvent, UNKNOWN, UsageReport,
    own_transcription,
};

/// The provider's code for an account without credit. Nothing works until an operator acts.
const OUT_OF_CREDIT: &str = "insufficient_quota";
/// The event by which a part of speech is transcribed, before the speaker has paused.
const HEARD: &str = "conversation.item.input_audio_transcription.delta";

impl Watch {
    /// Handles an event of the provider. Keeps and logs nothing of its content.
    pub(super) async fn hear(
        &mut self,
        inner: &Arc<Inner>,
        frame: &str,
        side: &mut Side,
    ) -> Vec<Act> {
        let now = inner.parts.clock.tick();
        let read = self.call.id.dialect().read(frame);
        if let Some(kind) = oddity(&read) {
            inner.parts.vitals.series.odd_events.add([kind], 1);
        }
        let event = match read {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(call = self.call.id.as_str(), %error, "an event of the provider was ignored");
                return Vec::new();
            }
        };
        if is_life(&event) {
            self.leash.lives(now);
        }
        let changes_money = self.meter.hears(inner, &event.news, now);
        let is_followed = matches!(event.news, News::Transcribed { .. });
        let mut acts = self.judge(inner, event.news, (side, now)).await;
        match acts[..] {
            _ if !changes_money => {}
            // The answer to the transcribed speech ends soon, and both uses are written together.
            [] if is_followed => self.pay_later(now),
            // A response is cancelled before anything is written.
            [Act::Cancel(_)] => self.rewrite = Some(now),
            _ => acts.extend(self.pay(inner).await),
        }
        self.note_joined(inner).await;
        acts
    }

    /// Returns what an event means for the limits and the persona.
    async fn judge(
        &mut self,
        inner: &Arc<Inner>,
        news: News<'_>,
        (side, now): (&mut Side, Tick),
    ) -> Vec<Act> {
        match news {
            News::Session(shown) => self.compare(inner, &shown, side).await,
            News::Began { response, most } => {
                let is_allowed = self.allows(most);
                self.leash.response_began(&response, is_allowed, now)
            }
            News::Ended {
                response, failure, ..
            } => {
                let mut acts = self.leash.response_ended(&response, now);
                if failure.is_some_and(|code| &*code == OUT_OF_CREDIT) {
                    acts.extend(self.is_out_of_credit(inner));
                }
                acts
            }
            News::PlaybackStarted => {
                self.leash.is_played(now);
                Vec::new()
            }
            News::PlaybackStopped => self.leash.was_played(now),
            News::Closed { by_caller, .. } => {
                self.over = Some(Over::Closed);
                self.leash.end(if by_caller {
                    EndReason::HungUp
                } else {
                    EndReason::Provider
                })
            }
            // Of GPT-Live, only `session.closed` ends a session.
            News::Error { code, .. } if self.call.id.is_live() => {
                let (call, code) = (self.call.id.as_str(), code.as_deref());
                tracing::info!(
                    call,
                    code,
                    "the provider reports an error; the call goes on"
                );
                Vec::new()
            }
            News::Error { code, .. } if code.as_deref() == Some(OUT_OF_CREDIT) => {
                self.is_out_of_credit(inner)
            }
            News::Worked(work) if matches!(work.usage, UsageReport::Figures(_)) => {
                self.require_priced_work(inner, (&work.model, work.tier.as_deref()))
            }
            News::Item(_)
            | News::Worked(_)
            | News::Transcribed { .. }
            | News::SpeechStarted(_)
            | News::SpeechStopped(_)
            | News::Committed
            | News::Error { .. }
            | News::Spoken
            | News::Standby(_)
            | News::Lasted(_)
            | News::Other => Vec::new(),
        }
    }

    /// Ends the call, and starts nothing new for a while: the account has no credit left.
    fn is_out_of_credit(&mut self, inner: &Inner) -> Vec<Act> {
        inner.parts.upstream.has_no_credit(&self.call.key);
        self.leash.end(EndReason::Provider)
    }

    /// Compares the session in force with the persona, and restores what the page may not change.
    async fn compare(
        &mut self,
        inner: &Inner,
        shown: &EffectiveSession<'_>,
        side: &mut Side,
    ) -> Vec<Act> {
        self.leash.joined(inner.parts.clock.tick());
        self.meter.takes_models(Models::of(shown));
        let mut acts = self.require_priced(inner, side).await;
        acts.extend(self.require_pinned(inner, shown, side).await);
        acts
    }

    /// Restores the persona's transcription model when the page has chosen one without a price, where money is limited.
    pub(super) async fn require_priced(&mut self, inner: &Inner, side: &mut Side) -> Vec<Act> {
        let (agreement, clock) = (inner.agreement(), &inner.parts.clock);
        let prices = &agreement.money.prices;
        let model = self.meter.transcription();
        let is_priced = model.is_none_or(|model| prices.card(model, clock.now()).is_some());
        if is_priced || !self.terms.is_limited() {
            return Vec::new();
        }
        tracing::info!(
            call = self.call.id.as_str(),
            "the page chose a transcription model without a price; the persona's model is restored"
        );
        inner.parts.vitals.series.persona_corrections.add([], 1);
        let own = own_transcription(self.terms.session.as_json());
        self.send(side, own).await;
        self.leash.corrected(clock.tick())
    }

    /// Restores the pinned fields that the page has changed.
    async fn require_pinned(
        &mut self,
        inner: &Inner,
        shown: &EffectiveSession<'_>,
        side: &mut Side,
    ) -> Vec<Act> {
        let now = inner.parts.clock.tick();
        let Some(pins) = &mut self.pins else {
            return self.judge_backend(inner, shown);
        };
        let changed = pins.changed(shown);
        if changed.is_empty() {
            return Vec::new();
        }
        tracing::info!(
            call = self.call.id.as_str(),
            fields = ?changed,
            "the page changed a field that its persona pins; the persona's value is restored"
        );
        let corrections = pins.corrections(&changed, self.terms.session.as_json());
        let corrected = &inner.parts.vitals.series.persona_corrections;
        corrected.add([], changed.len() as u64);
        for correction in corrections {
            self.send(side, correction).await;
        }
        self.leash.corrected(now)
    }

    /// Ends a call whose page has chosen a backend without a price, where money is limited.
    fn judge_backend(&mut self, inner: &Inner, shown: &EffectiveSession<'_>) -> Vec<Act> {
        let backend = shown.backend.as_ref();
        let backend = backend.map(|backend| (&*backend.model, backend.service_tier.as_deref()));
        backend.map_or_else(Vec::new, |backend| self.require_priced_work(inner, backend))
    }

    /// Ends a call for which a model works at a tier without a price, where money is limited.
    fn require_priced_work(
        &mut self,
        inner: &Inner,
        (model, tier): (&str, Option<&str>),
    ) -> Vec<Act> {
        let (agreement, now) = (inner.agreement(), inner.parts.clock.now());
        let card = agreement.money.prices.backend(model, tier, now);
        if card.is_some() || !self.terms.is_limited() {
            return Vec::new();
        }
        self.leash.end(EndReason::MoneyLimit)
    }

    /// True when a response may have this many output tokens.
    fn allows(&self, most: Option<MostTokens>) -> bool {
        let pinned = self.pins.as_ref().and_then(|pins| pins.most_tokens);
        most.is_none() || pinned.is_none_or(|pinned| most <= Some(pinned))
    }
}

/// Returns what is odd about an event that was read, if anything is.
fn oddity(read: &Result<ServerEvent<'_>, OddFrame>) -> Option<&'static str> {
    match read {
        Ok(event) => match event.news {
            News::Error { .. } => Some("error"),
            News::Other if event.kind == UNKNOWN => Some("unknown"),
            _ => None,
        },
        Err(odd) => Some(odd.word()),
    }
}

/// True for events that come only while somebody speaks or the model works. A page can commit silence.
fn is_life(event: &ServerEvent<'_>) -> bool {
    match event.news {
        News::SpeechStarted(_)
        | News::SpeechStopped(_)
        | News::PlaybackStarted
        | News::Transcribed { .. }
        | News::Began { .. }
        | News::Ended { .. }
        | News::Spoken
        | News::Worked(_) => true,
        News::Other => event.kind.starts_with("response.") || event.kind == HEARD,
        News::Session(_)
        | News::Item(_)
        | News::Error { .. }
        | News::Committed
        | News::Standby(_)
        | News::Lasted(_)
        | News::Closed { .. }
        | News::PlaybackStopped => false,
    }
}
