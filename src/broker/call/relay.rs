//! Opens relays: the provider has confirmed the persona before the client's connection is accepted.
//!
//! A relay is watched like a call. Its side channel is the relay itself, which passes on the events that the watch needs.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::dial::Attached;
use super::line::{Carried, Line, LineEnd, Passes, RelayEnd, Tap};
use super::meter::Models;
use super::terms::Terms;
use super::watch::Watch;
use crate::audit::Event;
use crate::broker::audited::{Delivery, note_persona};
use crate::broker::{Broker, BrokerError, Choice, Inner};
use crate::clock::{Tick, Timestamp, millis};
use crate::config::Farewell;
use crate::domain::{
    Call, CallStep, Caller, ConnectMode, EndReason, EntryId, Kind, KnownTicket, Outcome, Persona,
    PersonaName, SessionChange, SessionText, UpstreamCall, UpstreamCallId,
};
use crate::gate::Pass;
use crate::provider::{self, EffectiveSession, News, Pins, ServerEvent};
use crate::upstream::{RelayLeg, RelayOrder, UpstreamError};
use crate::websocket::{Leg, Message};

/// Longest wait for the provider to confirm the persona.
const ASSERT: Duration = Duration::from_secs(5);
/// Events that wait for the watch of a relay. When there are more, the relay waits.
const EVENTS: usize = 32;

/// A caller's request for a relay.
#[derive(Clone, Debug)]
pub struct RelayRequest {
    /// The persona.
    pub choice: Choice,
    /// The model that the client asks for. It must be the persona's.
    pub model: Option<String>,
    /// True when the client asks for a session that only transcribes. The persona must be one for that.
    pub wants_transcription: bool,
    /// True when the client wants to know before the relay ends.
    pub wants_notices: bool,
    /// The ticket that the caller shows. Its persona and language replace the choice.
    pub ticket: Option<Arc<KnownTicket>>,
}

/// A relay whose session at the provider runs, and that waits for its client.
#[derive(Debug)]
pub struct Relayed {
    /// The entry of the relay.
    entry: EntryId,
    /// The session at the provider.
    call: UpstreamCall,
    persona: PersonaName,
    ends_at: Timestamp,
    upstream_took: Duration,
    line: Mutex<Option<Line>>,
}

impl Relayed {
    /// Returns the line, once.
    pub fn take(&self) -> Option<Line> {
        self.line.lock().take()
    }
}

impl Delivery for Relayed {
    fn event(&self, origin: Option<&str>) -> Option<(Event, Value)> {
        let what = json!({
            "call": self.call.id.as_str(),
            "persona": self.persona.as_str(),
            "origin": origin,
            "ends_at": self.ends_at.as_millis(),
            "upstream_ms": millis(self.upstream_took),
        });
        Some((Event::CallOpened, what))
    }

    async fn undelivered(&self, inner: &Inner) {
        // The watch writes the end down.
        drop(self.take());
        let outcome = (Outcome::Undelivered, SessionChange::Keep, None);
        let settled = inner.settle(self.entry, self.upstream_took, outcome).await;
        if let Err(error) = settled {
            inner.note_records(&error);
        }
    }
}

impl Broker {
    /// Opens a relay's session at the provider, as the persona says.
    pub async fn relay(
        &self,
        caller: Arc<Caller>,
        mut asked: RelayRequest,
        pass: Pass,
    ) -> Result<Arc<Relayed>, BrokerError> {
        if let Some(ticket) = &asked.ticket {
            asked.choice = Choice::of_ticket(ticket);
        }
        let (inner, owner) = (Arc::clone(&self.0), Arc::clone(&caller));
        let work = Box::pin(async move { inner.open_relay(&owner, asked).await });
        self.carry_through(caller, work, pass).await
    }
}

impl Inner {
    async fn open_relay(
        self: Arc<Self>,
        caller: &Arc<Caller>,
        asked: RelayRequest,
    ) -> Result<Arc<Relayed>, BrokerError> {
        // A replica that drains would have to close the relay at once.
        if self.draining.is_cancelled() {
            return Err(BrokerError::ShuttingDown);
        }
        let (persona, mut terms) = self.relay_terms(caller, &asked)?;
        let ticket = asked.ticket.as_deref();
        if let Some(ticket) = ticket {
            self.rest(ticket, &terms.settings).await?;
        }
        let turn = self.turn_for(caller, &persona.name).await?;
        let opens = (ticket, &mut terms);
        let row = self.write_relay_down(caller, &persona.name, opens).await?;
        let start = self.parts.clock.tick();
        let order = RelayOrder {
            model: EffectiveSession::read(terms.session.as_json()).and_then(|asked| asked.model()),
            is_transcription: terms.only_transcribes(),
            behalf: caller.party(),
            bounds: self.rules.relay.bounds(),
        };
        let confirmed = async {
            let leg = self.parts.upstream.relay(order, turn).await?;
            self.assert(leg, &terms).await
        };
        let confirmed = match confirmed.await {
            Ok(confirmed) => confirmed,
            Err(error) => {
                let error = self.failed_since(start, error);
                return Err(self.not_relayed(&row, error, start).await);
            }
        };
        let call = confirmed.call.clone();
        let model = confirmed.models.response.clone();
        let lasts = terms.lasts(&row);
        let row = match self.take_up(&row, (&call, model, lasts), start).await {
            Ok(row) => row,
            Err(error) => return Err(self.not_relayed(&row, error, start).await),
        };
        let (entry, ends_at) = (row.entry, row.deadline_at);
        let mut line = self.line(row, call.clone(), (confirmed, terms));
        line.notices = asked.wants_notices;
        let relayed = Relayed {
            entry,
            call,
            persona: persona.name.clone(),
            ends_at,
            upstream_took: self.parts.clock.tick().since(start),
            line: Mutex::new(Some(line)),
        };
        Ok(Arc::new(relayed))
    }

    /// Returns the persona of a relay and its terms. Applies the rules that can refuse it before anything is reserved.
    fn relay_terms(
        &self,
        caller: &Arc<Caller>,
        asked: &RelayRequest,
    ) -> Result<(Arc<Persona>, Terms), BrokerError> {
        let persona = self.persona(caller, &asked.choice)?;
        let mode = persona.mode(self.rules.connect, Some(ConnectMode::Relay));
        mode.ok_or(BrokerError::ModeNotAllowed)?;
        note_persona(&persona.name);
        let mut terms = self.terms(caller, &persona, asked.choice.language.as_ref())?;
        if terms.only_transcribes() {
            // No model speaks.
            terms.settings.farewell = Farewell::None;
        } else if asked.wants_transcription {
            return Err(BrokerError::Converses);
        }
        let kind = match asked.ticket {
            Some(_) => Kind::Redemption,
            None => Kind::Call,
        };
        let model = asked.model.as_deref();
        let wanted = model.map(|model| ("model".to_owned(), model.into()));
        self.may_open(caller, &terms, (kind, &wanted.into_iter().collect()))?;
        Ok((persona, terms))
    }

    /// Records that the relay did not begin. Its session at the provider, if there was one, ended with the connection.
    async fn not_relayed(&self, row: &Call, error: BrokerError, start: Tick) -> BrokerError {
        let took = self.parts.clock.tick().since(start);
        let over = CallStep::Over(EndReason::Provider).by_anybody();
        self.change_call(row.entry, over).await;
        let code = error.records_code();
        let settled = self.settle_call(row.entry, took, Outcome::Failed { code });
        settled.await.err().unwrap_or(error)
    }

    /// Records that the relay runs.
    async fn take_up(
        &self,
        row: &Call,
        (call, model, lasts): (&UpstreamCall, Option<Box<str>>, Duration),
        start: Tick,
    ) -> Result<Call, BrokerError> {
        let took = self.parts.clock.tick().since(start);
        let steps = [
            CallStep::Named(call.clone()),
            CallStep::Opened(lasts),
            CallStep::Joined,
        ];
        let steps = steps.map(CallStep::by_anybody).to_vec();
        self.answer_call(row.entry, (steps, model, None), (lasts, took))
            .await
    }

    /// Starts the watch of a relay, and returns the relay's end of the line.
    fn line(
        self: &Arc<Self>,
        row: Call,
        call: UpstreamCall,
        (confirmed, terms): (Confirmed, Terms),
    ) -> Line {
        let (events, received) = mpsc::channel(EVENTS);
        let (orders, ordered) = mpsc::unbounded_channel();
        let entry = row.entry;
        let carried = Carried {
            orders: orders.clone(),
            over: None,
        };
        self.watches.relays.insert(entry, carried);
        let most_tokens = confirmed.pins.as_ref().and_then(|pins| pins.most_tokens);
        let is_held = confirmed.pins.is_some();
        let transcribers = self.transcribers(&terms);
        let tap = Tap {
            events: received,
            orders,
        };
        let attached = Attached {
            channel: Box::new(tap),
            pins: confirmed.pins,
            models: confirmed.models,
            // The provider says so itself, and closes the connection.
            expires_at: None,
        };
        self.watch(Watch::new(self, (row, call), terms), Some(attached));
        Line {
            upstream: confirmed.leg,
            greeting: Some(confirmed.greeting),
            passes: Passes::Persona {
                is_held,
                most_tokens,
                transcribers,
            },
            events,
            orders: ordered,
            drain: self.draining.clone(),
            drain_time: self.rules.drain_time,
            settings: self.rules.relay.clone(),
            notices: false,
            clock: Arc::clone(&self.parts.clock),
            end: LineEnd::Relay(RelayEnd {
                inner: Arc::clone(self),
                entry,
            }),
        }
    }

    /// Returns the models that may transcribe: the persona's own where that is the persona's model, and those that have a
    /// price where money is limited. `None` for all.
    fn transcribers(&self, terms: &Terms) -> Option<Arc<[Box<str>]>> {
        if let Some(own) = terms.asserted().filter(|_| terms.only_transcribes()) {
            let asked = EffectiveSession::read(own.as_json());
            let own = asked.and_then(|asked| asked.transcription_model);
            return Some(own.iter().map(|model| (**model).into()).collect());
        }
        let prices = &self.agreement().money.prices;
        let all = || prices.models().map(Into::into).collect();
        terms.is_limited().then(all)
    }

    /// Applies `session`, and waits until the provider confirms it.
    async fn assert(
        &self,
        RelayLeg { mut leg, key }: RelayLeg,
        terms: &Terms,
    ) -> Result<Confirmed, UpstreamError> {
        leg.put(Message::Text(assertion(&terms.session).into()));
        let confirmed = async {
            while let Some(Ok(message)) = leg.next().await {
                let Message::Text(text) = message else {
                    continue;
                };
                let Ok(event) = ServerEvent::read(&text) else {
                    continue;
                };
                match event.news {
                    News::Session(shown) if event.kind == "session.updated" => {
                        let id = shown.id.as_deref().and_then(UpstreamCallId::parse);
                        let id = id.filter(UpstreamCallId::is_of_relay);
                        let id = id.ok_or(UpstreamError::Invalid("it names no session"))?;
                        let shown = (&*shown, greeting(&text)?);
                        return confirm(UpstreamCall { id, key }, leg, shown, terms.asserted());
                    }
                    News::Error { .. } => {
                        return Err(UpstreamError::Invalid("it refuses the persona's session"));
                    }
                    _ => {}
                }
            }
            Err(UpstreamError::Invalid("its session ended at once"))
        };
        let confirmed = self.parts.clock.timeout(ASSERT, confirmed).await;
        confirmed.unwrap_or(Err(UpstreamError::TimedOut))
    }
}

/// A session that runs as its persona says.
struct Confirmed {
    leg: Leg,
    call: UpstreamCall,
    greeting: String,
    pins: Option<Pins>,
    models: Models,
}

fn confirm(
    call: UpstreamCall,
    leg: Leg,
    (shown, greeting): (&EffectiveSession<'_>, String),
    asked: Option<&SessionText>,
) -> Result<Confirmed, UpstreamError> {
    let pins = asked.map(|asked| Pins::confirm(asked.as_json(), shown));
    let wrong = |_| UpstreamError::Invalid("its session is not the persona's");
    Ok(Confirmed {
        pins: pins.transpose().map_err(wrong)?,
        models: Models::of(shown),
        leg,
        call,
        greeting,
    })
}

/// Returns the event that makes a new session the persona's. The model is chosen by the address.
fn assertion(session: &SessionText) -> String {
    let mut session: Map<String, Value> =
        serde_json::from_str(session.as_json().get()).unwrap_or_default();
    session.remove("model");
    json!({ "type": "session.update", "event_id": provider::CORRECTION, "session": session })
        .to_string()
}

/// Returns the event that greets the client: what the provider shows of the session now, under the name of its first event.
fn greeting(updated: &str) -> Result<String, UpstreamError> {
    #[derive(Deserialize)]
    struct Updated<'frame> {
        #[serde(borrow)]
        event_id: &'frame RawValue,
        #[serde(borrow)]
        session: &'frame RawValue,
    }
    let updated: Updated<'_> =
        serde_json::from_str(updated).map_err(|_| UpstreamError::Invalid("it shows no session"))?;
    let (id, session) = (updated.event_id.get(), updated.session.get());
    Ok(format!(
        r#"{{"type":"session.created","event_id":{id},"session":{session}}}"#
    ))
}
