//! Watches one call by its side channel, from its answer until it is over.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;

use super::dial::Attached;
use super::limits::{Act, Leash};
use super::meter::{Meter, Models};
use crate::broker::Inner;
use crate::clock::Tick;
use crate::config::{Farewell, Hold};
use crate::domain::{Call, CallState, CallStep, EndReason, EntryId, SessionText, UpstreamCall};
use crate::provider::{EffectiveSession, MostTokens, News, Pins, ServerEvent};
use crate::upstream::{SideChannel, UpstreamError};

/// The waits before a lost side channel is joined again.
const REJOIN_WAITS: [u64; 5] = [0, 1, 2, 4, 8];
/// After the hang-up, the use of the last response is waited for so long.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often uses are written again that could not be written.
const REWRITE: Duration = Duration::from_secs(1);
/// The provider's code for an account without credit. Nothing works until an operator acts.
const OUT_OF_CREDIT: &str = "insufficient_quota";

/// One call that this replica watches.
pub(super) struct Watch {
    entry: EntryId,
    epoch: u32,
    call: UpstreamCall,
    /// The persona's session, which is asserted again on every new side channel.
    session: SessionText,
    /// What the provider confirmed of it; `None` before the side channel has joined.
    pins: Option<Pins>,
    meter: Meter,
    leash: Leash,
    /// Notified when the row was changed by somebody else.
    told: Arc<Notify>,
    is_joined: bool,
}

/// The side channel of the call.
enum Side {
    Open(Box<dyn SideChannel>),
    /// Lost, and joined again at that moment.
    Lost {
        tries: usize,
        next: Tick,
    },
}

impl Side {
    /// Postpones the next attempt to join, longer each time.
    fn is_tried_later(&mut self, now: Tick) {
        if let Self::Lost { tries, next } = self {
            *tries += 1;
            let wait = REJOIN_WAITS.get(*tries).or(REJOIN_WAITS.last());
            *next = now.plus(Duration::from_secs(wait.copied().unwrap_or_default()));
        }
    }
}

/// What a watch waits for.
enum Seen {
    Event(String),
    Lost,
    Joined(Result<Box<Attached>, UpstreamError>),
    Due,
    Told,
}

impl Watch {
    /// Returns the watch of an open call.
    pub(super) fn new(
        inner: &Inner,
        (row, call): (Call, UpstreamCall),
        session: SessionText,
    ) -> Self {
        let (clock, rules) = (&inner.parts.clock, &inner.rules.call);
        let now = clock.tick();
        let left = row.deadline_at.since(clock.now()).min(rules.max_duration);
        let told = inner.watches.register(row.entry);
        Self {
            entry: row.entry,
            epoch: row.epoch,
            call,
            session,
            pins: None,
            meter: Meter::new(row.entry, row.used.cost),
            leash: Leash::new(rules, now, now.plus(left), row.joined_at.is_some()),
            told,
            is_joined: row.joined_at.is_some(),
        }
    }
}

impl Inner {
    /// Watches a call in a task of its own.
    pub(super) fn watch(self: &Arc<Self>, mut watch: Watch, attached: Option<Attached>) {
        let inner = Arc::clone(self);
        self.watches.tasks.spawn(async move {
            let now = inner.parts.clock.tick();
            let mut side = Side::Lost {
                tries: 0,
                next: now,
            };
            watch.leash.sees(false, now);
            if let Some(attached) = attached {
                watch.sees_by(attached, &mut side, now);
            }
            while watch.turn(&inner, &mut side).await.is_continue() {}
            watch.last_words(&inner, side).await;
            inner.watches.forget(watch.entry, &watch.told);
        });
    }
}

impl Watch {
    /// Waits for one thing to happen, and does what is due because of it.
    async fn turn(&mut self, inner: &Arc<Inner>, side: &mut Side) -> ControlFlow<()> {
        let seen = self.see(inner, side).await;
        let now = inner.parts.clock.tick();
        let acts = match seen {
            Seen::Event(text) => self.hear(inner, &text, side).await,
            Seen::Lost => {
                *side = Side::Lost {
                    tries: 0,
                    next: now,
                };
                self.leash.sees(false, now);
                Vec::new()
            }
            Seen::Joined(Ok(attached)) => {
                self.sees_by(*attached, side, now);
                Vec::new()
            }
            Seen::Joined(Err(UpstreamError::UnknownCall(_))) => {
                // The creating key is loaded, and the provider knows no such call any more.
                let over = CallStep::Over(EndReason::Provider).by(self.epoch);
                inner.change_call(self.entry, over).await;
                return ControlFlow::Break(());
            }
            Seen::Joined(Err(_)) => {
                side.is_tried_later(now);
                Vec::new()
            }
            Seen::Due => {
                if self.meter.is_behind() {
                    self.write(inner).await;
                }
                self.leash.woke(now)
            }
            Seen::Told => {
                self.look(inner).await?;
                if inner.watches.is_listened_to(self.entry) {
                    self.leash.joined(now);
                    self.note_joined(inner).await;
                }
                Vec::new()
            }
        };
        for act in acts {
            self.act(inner, side, act).await?;
        }
        ControlFlow::Continue(())
    }

    /// Waits for an event, a lost or a new side channel, a limit, or a word of somebody else.
    async fn see(&self, inner: &Inner, side: &mut Side) -> Seen {
        let clock = &inner.parts.clock;
        let due = self.leash.due();
        let rewrite = clock.tick().plus(REWRITE);
        let due = if self.meter.is_behind() {
            due.min(rewrite)
        } else {
            due
        };
        let side = async {
            match side {
                Side::Open(channel) => channel.next().await.map_or(Seen::Lost, Seen::Event),
                Side::Lost { next, .. } => {
                    clock.until(*next).await;
                    let attached = inner.attach(&self.call, &self.session).await;
                    Seen::Joined(attached.map(Box::new))
                }
            }
        };
        tokio::select! {
            biased;
            () = self.told.notified() => Seen::Told,
            () = clock.until(due) => Seen::Due,
            seen = side => seen,
        }
    }

    /// Takes a side channel on which the provider has confirmed the persona.
    fn sees_by(&mut self, attached: Attached, side: &mut Side, now: Tick) {
        *side = Side::Open(attached.channel);
        self.pins = Some(attached.pins);
        self.meter.takes_models(attached.models);
        self.leash.sees(true, now);
    }

    /// Looks at the row after somebody else has changed it. The watch ends with the call, and when another replica watches it.
    async fn look(&self, inner: &Inner) -> ControlFlow<()> {
        match inner.parts.records.call(&self.call.id).await {
            Ok(Some(row)) if row.state == CallState::Open && row.epoch == self.epoch => {
                ControlFlow::Continue(())
            }
            Ok(_) => ControlFlow::Break(()),
            Err(error) => {
                inner.note_records(&error);
                ControlFlow::Continue(())
            }
        }
    }

    /// Takes an event of the provider in. Nothing of its content is kept or logged.
    async fn hear(&mut self, inner: &Arc<Inner>, frame: &str, side: &mut Side) -> Vec<Act> {
        let now = inner.parts.clock.tick();
        let event = match ServerEvent::read(frame) {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(call = self.call.id.as_str(), %error, "an event of the provider is passed over");
                return Vec::new();
            }
        };
        if is_life(&event) {
            self.leash.lives(now);
        }
        if self.meter.hears(inner, &event.news) {
            self.write(inner).await;
        }
        let acts = match event.news {
            News::Session(shown) => self.compare(inner, &shown, side).await,
            News::Began { response, most } => {
                let is_allowed = self.allows(inner, most);
                self.leash.response_began(&response, is_allowed, now)
            }
            News::Ended {
                response, failure, ..
            } => {
                let mut acts = self.leash.response_ended(&response, now);
                acts.extend(self.leash.has_cost(self.meter.cost()));
                if failure.is_some_and(|code| &*code == OUT_OF_CREDIT) {
                    acts.extend(self.leash.end(EndReason::Provider));
                }
                acts
            }
            News::PlaybackStopped => self.leash.was_played(now),
            News::Error { code, .. } if code.as_deref() == Some(OUT_OF_CREDIT) => {
                self.leash.end(EndReason::Provider)
            }
            News::Transcribed { .. } => self.leash.has_cost(self.meter.cost()),
            News::Item(_)
            | News::SpeechStarted(_)
            | News::SpeechStopped(_)
            | News::Committed
            | News::PlaybackStarted
            | News::Error { .. }
            | News::Other => Vec::new(),
        };
        self.note_joined(inner).await;
        acts
    }

    /// Compares the session in force with the persona's, and puts back what the page has changed.
    async fn compare(
        &mut self,
        inner: &Inner,
        shown: &EffectiveSession<'_>,
        side: &mut Side,
    ) -> Vec<Act> {
        let now = inner.parts.clock.tick();
        self.leash.joined(now);
        let Some(pins) = &mut self.pins else {
            return Vec::new();
        };
        self.meter.takes_models(Models::of(shown));
        if inner.rules.call.persona == Hold::Free {
            return Vec::new();
        }
        let changed = pins.changed(shown);
        if changed.is_empty() {
            return Vec::new();
        }
        tracing::info!(
            call = self.call.id.as_str(),
            fields = ?changed,
            "the page has changed what its persona pins; it is put back"
        );
        let corrections = pins.corrections(&changed, self.session.as_json());
        for correction in corrections {
            self.send(side, correction).await;
        }
        self.leash.corrected(now)
    }

    /// True when a response may have as many tokens.
    fn allows(&self, inner: &Inner, most: Option<MostTokens>) -> bool {
        let pinned = self.pins.as_ref().and_then(|pins| pins.most_tokens);
        let is_free = inner.rules.call.persona == Hold::Free;
        is_free || most.is_none() || pinned.is_none_or(|pinned| most <= Some(pinned))
    }

    /// Writes the page's first sign of life down.
    async fn note_joined(&mut self, inner: &Inner) {
        if !self.is_joined && self.leash.has_joined() {
            self.is_joined = true;
            inner
                .change_call(self.entry, CallStep::Joined.by(self.epoch))
                .await;
        }
    }

    async fn act(&mut self, inner: &Arc<Inner>, side: &mut Side, act: Act) -> ControlFlow<()> {
        match act {
            Act::Warn(farewell) => {
                inner
                    .change_call(self.entry, CallStep::Warned.by(self.epoch))
                    .await;
                if farewell == Farewell::Warn {
                    self.send(side, time_is_short()).await;
                }
            }
            Act::SayGoodbye => self.send(side, goodbye()).await,
            Act::Cancel(response) => self.send(side, cancel(&response)).await,
            Act::End(reason) => {
                for response in self.leash.responses() {
                    self.send(side, cancel(response)).await;
                }
                inner.end_call(self.entry, &self.call, reason).await;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    async fn send(&self, side: &mut Side, event: String) {
        if let Side::Open(channel) = side
            && let Err(error) = channel.send(event).await
        {
            tracing::debug!(call = self.call.id.as_str(), %error, "the side channel took no event");
        }
    }

    /// Writes the uses that wait, and notes when the records do not take them.
    async fn write(&mut self, inner: &Inner) {
        let is_recorded = self.meter.write(inner).await;
        let now = inner.parts.clock.tick();
        self.leash.is_recorded(is_recorded, now);
    }

    /// Waits briefly for the use of the last response, and closes the side channel.
    async fn last_words(&mut self, inner: &Inner, mut side: Side) {
        let clock = &inner.parts.clock;
        let hear = async {
            while let Side::Open(channel) = &mut side
                && let Some(frame) = channel.next().await
            {
                if let Ok(event) = ServerEvent::read(&frame) {
                    self.meter.hears(inner, &event.news);
                }
            }
        };
        // Whatever comes later is lost.
        let _ = clock.timeout(LAST_WORDS, hear).await;
        if let Side::Open(channel) = side {
            channel.close().await;
        }
        self.write(inner).await;
    }
}

/// True for events that come only while somebody speaks or the model works.
fn is_life(event: &ServerEvent<'_>) -> bool {
    match event.news {
        News::SpeechStarted(_)
        | News::SpeechStopped(_)
        | News::Committed
        | News::PlaybackStarted
        | News::PlaybackStopped
        | News::Transcribed { .. }
        | News::Began { .. }
        | News::Ended { .. } => true,
        News::Other => event.kind.starts_with("response."),
        News::Session(_) | News::Item(_) | News::Error { .. } => false,
    }
}

/// Asks the model to stop a response.
fn cancel(response: &str) -> String {
    json!({ "type": "response.cancel", "response_id": response }).to_string()
}

/// Tells the model that little time is left.
fn time_is_short() -> String {
    let text = "Little time is left in this conversation. Bring it to a close politely.";
    let content = json!([{ "type": "input_text", "text": text }]);
    let item = json!({ "type": "message", "role": "system", "content": content });
    json!({ "type": "conversation.item.create", "item": item }).to_string()
}

/// Asks the model to say goodbye.
fn goodbye() -> String {
    let response = json!({
        "instructions": "The time of this conversation is over. Say goodbye in one short sentence.",
        "tool_choice": "none",
    });
    json!({ "type": "response.create", "response": response }).to_string()
}
