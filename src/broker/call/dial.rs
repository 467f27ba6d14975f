//! Dials calls. Joins the side channel first, and gives the caller the answer second, so that no call runs unwatched.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::maybe_done;
use serde_json::{Map, Value};

use super::meter::Models;
use super::terms::Terms;
use super::watch::Watch;
use super::{Answered, CallRequest};
use crate::broker::audited::note_persona;
use crate::broker::{Broker, BrokerError, Choice, Inner};
use crate::clock::{Tick, Timestamp};
use crate::config::CallSettings;
use crate::domain::{
    Call, CallStep, Caller, ConnectMode, Hold, Kind, KnownTicket, Offer, Persona, PersonaName,
    RemovedChannel, SessionText, Ticket, TicketRefusal, UpstreamCall,
};
use crate::gate::Pass;
use crate::provider::{
    Dialect, EffectiveSession, News, Pins, ServerEvent, assertion, contradiction, look,
};
use crate::upstream::{Begun, CallOrder, Payer, SideChannel, Turn, UpstreamError};

/// Longest time to join a side channel and to see the persona confirmed.
const ATTACH: Duration = Duration::from_secs(5);
/// The wait before a side channel that the provider does not know yet is tried again.
const ATTACH_PAUSE: Duration = Duration::from_millis(250);
/// How long before the provider's own limit the broker ends a call.
const BEFORE_PROVIDER: Duration = Duration::from_secs(5);
/// Lower bound on the provider's own limit for a session. A shorter one shows that a clock is wrong.
const SHORTEST_SESSION: Duration = Duration::from_mins(5);
/// How long a limit of calls at once is remembered as having no place. Short, because calls end.
const FULL_FOR: Duration = Duration::from_secs(1);

/// A side channel on which the provider has confirmed the persona.
pub(super) struct Attached {
    pub(super) channel: Box<dyn SideChannel>,
    /// What the provider confirmed; `None` where the page may change everything.
    pub(super) pins: Option<Pins>,
    pub(super) models: Models,
    /// The time at which the provider ends the session.
    pub(super) expires_at: Option<Timestamp>,
}

impl Attached {
    /// Checks that the session on `channel` is the one of `call`, and runs as `asked`.
    pub(super) fn confirmed(
        (channel, shown): (Box<dyn SideChannel>, &EffectiveSession<'_>),
        call: &UpstreamCall,
        asked: Option<&SessionText>,
    ) -> Result<Self, UpstreamError> {
        if shown.id.as_ref().is_some_and(|id| !call.id.is_of(id)) {
            return Err(UpstreamError::Invalid("its side channel is another call's"));
        }
        let pins = asked.map(|asked| Pins::confirm(asked.as_json(), shown));
        let wrong = |_| UpstreamError::Invalid("its session is not the persona's");
        Ok(Self {
            channel,
            pins: pins.transpose().map_err(wrong)?,
            models: Models::of(shown),
            expires_at: shown.expires_at.map(Timestamp::from_seconds),
        })
    }
}

/// A call with its answer and its side channel.
struct Connected {
    sdp: String,
    attached: Attached,
    row: Call,
    join_took: Duration,
}

impl Broker {
    /// Exchanges an offer for an answer. The call is watched from before the answer until it is over.
    pub async fn call(
        &self,
        caller: Arc<Caller>,
        mut asked: CallRequest,
        pass: Pass,
    ) -> Result<Arc<Answered>, BrokerError> {
        if let Some(ticket) = &asked.ticket {
            asked.choice = Choice::of_ticket(ticket);
        }
        let (inner, owner) = (Arc::clone(&self.0), Arc::clone(&caller));
        let work = Box::pin(async move { inner.dial(&owner, asked).await });
        match self.carry_through(caller, work, pass).await {
            Err(BrokerError::Repeated(entry)) => {
                let (again, clock) = (&self.0.watches.again, &self.0.parts.clock);
                let answered = again.answer(entry, &**clock).await;
                answered.ok_or(BrokerError::Repeated(entry))
            }
            outcome => outcome,
        }
    }
}

impl Inner {
    async fn dial(
        self: Arc<Self>,
        caller: &Arc<Caller>,
        asked: CallRequest,
    ) -> Result<Arc<Answered>, BrokerError> {
        let persona = self.persona(caller, &asked.choice)?;
        let mode = persona.mode(self.rules.connect, Some(ConnectMode::Call));
        let is_spoken = asked
            .dialect
            .is_none_or(|dialect| dialect == persona.session.dialect());
        mode.filter(|_| is_spoken)
            .ok_or(BrokerError::ModeNotAllowed)?;
        note_persona(&persona.name);
        let terms = self.terms(caller, &persona, asked.choice.language.as_ref())?;
        self.may_dial(caller, (&persona, &terms), &asked)?;
        let turn = self.turn_for(caller, &persona.name).await?;
        let has_neither = caller.identity.is_none() && asked.ticket.is_none();
        let ticket = has_neither.then(Ticket::random);
        let shown = asked.ticket.as_ref().map(|shown| shown.hash.clone());
        let hash = shown.or_else(|| ticket.as_ref().map(Ticket::hash));
        let dial = self.to_dial(caller, &terms, (asked.idempotency.clone(), hash));
        let row = self.write_down((asked.kind(), &persona.name), dial).await?;
        let key = asked.idempotency.clone();
        let _dialling = self.watches.again.dials(row.entry, key);
        let (offer, removed) = to_send(&asked.offer, &terms.settings);
        let order = CallOrder {
            offer: offer.as_str().to_owned().into(),
            session: terms.session.clone(),
            behalf: caller.party(),
        };
        let start = self.parts.clock.tick();
        let exchanged = self.parts.upstream.exchange(order, turn).await;
        let begun = match exchanged {
            Ok(begun) => begun,
            Err(failed) => return Err(self.not_begun(&row, failed, (start, &terms.session)).await),
        };
        let call = begun.call.clone();
        let upstream_took = self.parts.clock.tick().since(start);
        let connected = self.connect(&row, begun, (&terms, removed)).await;
        let connected = match connected {
            Ok(connected) => connected,
            Err(error) => return Err(self.undone(&row, (&call, upstream_took), error).await),
        };
        let answered = Answered {
            entry: row.entry,
            call: call.clone(),
            persona: persona.name.clone(),
            sdp: connected.sdp,
            ends_at: connected.row.deadline_at,
            ticket,
            upstream_took,
            join_took: connected.join_took,
        };
        let watch = Watch::new(&self, (connected.row, call), terms);
        self.watch(watch, Some(connected.attached));
        let answered = Arc::new(answered);
        let now = self.parts.clock.tick();
        self.watches.again.keep(&answered, asked.idempotency, now);
        Ok(answered)
    }

    /// Applies the rules that can refuse the call before anything is reserved.
    fn may_dial(
        &self,
        caller: &Caller,
        (persona, terms): (&Persona, &Terms),
        asked: &CallRequest,
    ) -> Result<(), BrokerError> {
        if asked.offer.has_video() && !persona.calls.video {
            return Err(BrokerError::VideoNotAllowed);
        }
        if let Some(ticket) = asked.ticket.as_ref().filter(|ticket| ticket.uses > 0) {
            return Err(self.used_before(ticket, asked.idempotency.as_deref()));
        }
        self.may_open(caller, terms, (asked.kind(), &asked.session))
    }

    /// Returns the refusal of a used ticket. A repeated request gets the answer of the first request instead.
    fn used_before(&self, ticket: &KnownTicket, key: Option<&str>) -> BrokerError {
        let again = &self.watches.again;
        let earlier = ticket.entry.zip(key);
        match earlier.filter(|(entry, key)| again.knows(*entry, key)) {
            Some((entry, _)) => BrokerError::Repeated(entry),
            None => TicketRefusal::Used.into(),
        }
    }

    /// Applies the rules that can refuse a call or a relay of this kind, with the settings that the page wants, before anything
    /// is reserved.
    pub(super) fn may_open(
        &self,
        caller: &Caller,
        terms: &Terms,
        (kind, wanted): (Kind, &Map<String, Value>),
    ) -> Result<(), BrokerError> {
        if terms.session.dialect() == Dialect::Live && !wanted.is_empty() {
            return Err(BrokerError::OffersOnly);
        }
        if let Some(field) = contradiction(terms.session.as_json(), wanted) {
            return Err(BrokerError::Pinned(field.as_str()));
        }
        if let Some(quota) = self.spent_quota(caller, kind) {
            return Err(self.quota_exceeded(quota));
        }
        if let Some(limit) = self.is_full(caller) {
            return Err(BrokerError::TooManyCalls(limit));
        }
        Ok(())
    }

    /// Returns the limit of calls at once that had no place for the caller a moment ago.
    pub(super) fn is_full(&self, caller: &Caller) -> Option<&'static str> {
        let (limit, since) = self.watches.full.get(&caller.crowd())?;
        (self.parts.clock.tick().since(since) < FULL_FOR).then_some(limit)
    }

    /// Writes the provider's id down while the side channel is joined, and takes the answer.
    async fn connect(
        &self,
        row: &Call,
        begun: Begun,
        (terms, removed): (&Terms, Option<RemovedChannel>),
    ) -> Result<Connected, BrokerError> {
        let start = self.parts.clock.tick();
        let (call, request) = (begun.call.clone(), begun.request.clone());
        let attached = async {
            let attached = self.attach_new(&call, terms.asserted()).await;
            attached.map(|attached| (attached, self.parts.clock.tick().since(start)))
        };
        let mut attached = pin!(maybe_done(attached));
        // The id is recorded even if the side channel fails, and before the answer is read.
        let mut named = pin!(self.name(row, &call, &terms.session));
        tokio::select! {
            biased;
            named = &mut named => named?,
            () = &mut attached => named.await?,
        }
        let attached = async {
            attached.as_mut().await;
            let attached = attached.as_mut().take_output();
            attached.unwrap_or(Err(UpstreamError::TimedOut))
        };
        let both = tokio::try_join!(begun.answer(), attached);
        let (answer, (attached, join_took)) =
            both.map_err(|error| self.failed_since(start, error))?;
        let unusable = UpstreamError::Invalid("it does not answer the offer");
        let sdp = match removed {
            None => answer,
            Some(removed) => removed
                .refused_in(&answer)
                .ok_or_else(|| self.failed_since(start, unusable))?,
        };
        let lasts = terms.lasts(row).min(self.provider_allows(&attached));
        let opened = vec![CallStep::Opened(lasts).by(row.epoch)];
        let model = attached.models.response.clone();
        let row = self
            .answer_call(row.entry, (opened, model, request), (lasts, join_took))
            .await?;
        Ok(Connected {
            sdp,
            attached,
            row,
            join_took,
        })
    }

    /// Returns how long the provider lets a new call last. Ignores times that can only come from a wrong clock.
    fn provider_allows(&self, attached: &Attached) -> Duration {
        let left = attached
            .expires_at
            .map(|end| end.since(self.parts.clock.now()));
        let left = left.filter(|left| *left >= SHORTEST_SESSION);
        left.map_or(Duration::MAX, |left| left.saturating_sub(BEFORE_PROVIDER))
    }

    /// Attaches to a new call. Tries again while parts of the provider do not know the call yet.
    async fn attach_new(
        &self,
        call: &UpstreamCall,
        asserted: Option<&SessionText>,
    ) -> Result<Attached, UpstreamError> {
        let clock = &self.parts.clock;
        let mut last = UpstreamError::TimedOut;
        let attached = async {
            loop {
                match self.attach(call, asserted).await {
                    Err(unknown @ UpstreamError::UnknownCall(_)) => last = unknown,
                    attached => break attached,
                }
                clock.sleep(ATTACH_PAUSE).await;
            }
        };
        let attached = clock.timeout(ATTACH, attached).await;
        attached.unwrap_or(Err(last))
    }

    /// Joins the side channel of a call, asserts the session if there is one, and waits until the provider confirms it.
    pub(super) async fn attach(
        &self,
        call: &UpstreamCall,
        asserted: Option<&SessionText>,
    ) -> Result<Attached, UpstreamError> {
        let clock = &self.parts.clock;
        let attached = async {
            let mut channel = self.parts.upstream.join(call).await?;
            let dialect = call.id.dialect();
            let update = match (asserted, dialect) {
                (Some(session), _) => assertion(session.as_json()),
                // An update without fields shows the session. GPT-Live shows it unasked.
                (None, Dialect::Realtime) => Some(look()),
                (None, Dialect::Live) => None,
            };
            let is_asserted = update.is_some();
            if let Some(update) = update {
                channel.send(update).await?;
            }
            while let Some(frame) = channel.next().await {
                // A page may have changed what GPT-Live shows first.
                let is_first = |kind| is_asserted && kind == "session.started";
                if let Ok(ServerEvent {
                    news: News::Session(shown),
                    kind,
                }) = dialect.read(&frame)
                    && !is_first(kind)
                {
                    return Attached::confirmed((channel, &shown), call, asserted);
                }
            }
            Err(UpstreamError::Invalid("its side channel ended at once"))
        };
        let attached = clock.timeout(ATTACH, attached).await;
        attached.unwrap_or(Err(UpstreamError::TimedOut))
    }

    /// Waits for a turn to start something at the provider for `caller`, with the persona of this name.
    pub(super) async fn turn_for(
        &self,
        caller: &Caller,
        persona: &PersonaName,
    ) -> Result<Turn, BrokerError> {
        let start = self.parts.clock.tick();
        let payer = Payer::of(caller, persona);
        let turn = self.parts.upstream.turn(caller.crowd(), payer).await;
        turn.map_err(|error| self.failed_since(start, error))
    }

    pub(super) fn failed_since(&self, start: Tick, error: UpstreamError) -> BrokerError {
        let took = self.parts.clock.tick().since(start);
        BrokerError::call(error, took)
    }
}

/// Returns the offer as the provider gets it, and the data channel that a locked persona does not have.
fn to_send(offer: &Offer, settings: &CallSettings) -> (Offer, Option<RemovedChannel>) {
    let offer = if settings.strip_candidates {
        offer.without_candidates()
    } else {
        offer.clone()
    };
    let locked = (settings.persona == Hold::Locked).then(|| offer.without_channel());
    match locked.flatten() {
        Some((offer, removed)) => (offer, Some(removed)),
        None => (offer, None),
    }
}
