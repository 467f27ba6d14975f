//! Watches one call by its side channel, from its answer until it is over.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument, Span};

use super::Told;
use super::dial::Attached;
use super::limits::{Act, Leash};
use super::meter::Meter;
use super::side::{Side, cancel, goodbye, time_is_short};
use super::terms::Terms;
use crate::broker::Inner;
use crate::clock::Tick;
use crate::config::Farewell;
use crate::domain::{Call, CallState, CallStep, EndReason, EntryId, UpstreamCall};
use crate::provider::Pins;
use crate::spans;
use crate::upstream::UpstreamError;

/// Longest time that the cancelling of responses may take at the end.
const CANCELLING: Duration = Duration::from_millis(500);
/// The wait before a row is read again after a failure.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One call that this replica watches.
pub(super) struct Watch {
    pub(super) entry: EntryId,
    pub(super) call: UpstreamCall,
    pub(super) terms: Terms,
    /// The session that the provider confirmed; `None` before the side channel has joined.
    pub(super) pins: Option<Pins>,
    pub(super) meter: Meter,
    pub(super) leash: Leash,
    /// Notified when another task or replica has changed the row.
    pub(super) told: Arc<Told>,
    /// The number of lapses of this replica's lease when the watch last confirmed that it still owns the call.
    lapses: u32,
    is_joined: bool,
    /// Why the watch is over, if it is.
    pub(super) over: Option<Over>,
    /// When to write again what the call used, or the money for its next answer.
    pub(super) rewrite: Option<Tick>,
    /// The span of the end, once it has begun.
    ending: Option<Span>,
}

/// Why a watch is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The provider reported that the call has ended.
    Closed,
    /// The row says that the call was hung up by another task or replica. The last use may still come.
    HungUp,
    /// Another replica watches the call.
    Replaced,
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
    /// Returns the watch of an open call. A call that was taken over counts as unobserved since its last watcher was alive.
    pub(super) fn new(inner: &Inner, (row, call): (Call, UpstreamCall), terms: Terms) -> Self {
        let (clock, settings) = (&inner.parts.clock, &terms.settings);
        let now = clock.tick();
        let left = row
            .deadline_at
            .since(clock.now())
            .min(settings.max_duration);
        let told = inner.watches.register(&row);
        let mut leash = Leash::new(settings, now, now.plus(left));
        leash.resumes(&row, now);
        let created = now.minus(clock.now().since(row.dialled_at));
        let (of, session) = ((&row, &call), &terms.session);
        let mut meter = Meter::new(of, created, session, terms.allowance.clone());
        if let Some(last_seen) = row.watched_until {
            meter.is_blind_since(now.minus(clock.now().since(last_seen)));
        }
        Self {
            entry: row.entry,
            call,
            meter,
            terms,
            pins: None,
            leash,
            told,
            lapses: inner.watches.lapses(now),
            is_joined: row.joined_at.is_some(),
            over: None,
            rewrite: None,
            ending: None,
        }
    }
}

impl Inner {
    /// Watches a call in a task of its own.
    pub(super) fn watch(self: &Arc<Self>, mut watch: Watch, attached: Option<Attached>) {
        let (inner, (entry, call)) = (Arc::clone(self), (watch.entry, watch.call.clone()));
        let told = Arc::clone(&watch.told);
        // Only this replica can count the last use of a relay, so its end waits for that.
        let tasks = if call.id.is_of_relay() {
            &self.work
        } else {
            &self.watches.tasks
        };
        let watching = tasks.spawn(async move {
            let now = inner.parts.clock.tick();
            let mut side = Side::lost(now);
            watch.leash.sees(false, now);
            watch.meter.is_blind_since(now);
            if let Some(attached) = attached {
                watch.sees_by(&inner, attached, (&mut side, now));
            }
            while watch.turn(&inner, &mut side).await.is_continue() {}
            let ending = watch.ending();
            let last_words = watch.last_words(&inner, side);
            last_words.instrument(ending.clone()).await;
            ending
        });
        let inner = Arc::clone(self);
        self.watches.tasks.spawn(async move {
            let watched = watching.await;
            if watched.is_err() {
                tracing::error!(
                    call = call.id.as_str(),
                    "the task that watches a call failed, so the call is hung up"
                );
                // The watch is gone, so nothing else would close the session.
                inner.watches.running.remove(&entry);
                inner
                    .end_until_certain((entry, None), &call, EndReason::Blind)
                    .await;
            }
            let ending = watched.unwrap_or_else(|_| Span::none());
            inner.forget(entry, &told).instrument(ending).await;
        });
    }
}

impl Watch {
    /// Waits for the next thing to happen, and reacts to it.
    async fn turn(&mut self, inner: &Arc<Inner>, side: &mut Side) -> ControlFlow<()> {
        let seen = self.see(inner, side).await;
        let now = inner.parts.clock.tick();
        let lapses = inner.watches.lapses(now);
        if lapses != self.lapses {
            // The lease has lapsed: another replica may have taken the call over, so the row decides.
            self.lapses = lapses;
            self.look(inner).await?;
        }
        let acts = match seen {
            Seen::Event(text) => self.hear(inner, &text, side).await,
            Seen::Lost if let Some(reason) = inner.why_relay_ended(self.entry) => {
                self.leash.end(reason)
            }
            Seen::Lost => {
                side.is_lost(now);
                self.leash.sees(false, now);
                self.meter.is_blind_since(now);
                Vec::new()
            }
            Seen::Joined(Ok(attached)) => {
                inner.parts.vitals.series.side_channel_reconnects.add([], 1);
                self.sees_by(inner, *attached, (side, now));
                let mut acts = self.require_priced(inner, side).await;
                acts.extend(self.pay(inner).await);
                acts
            }
            Seen::Joined(Err(UpstreamError::UnknownCall(_))) => {
                // The call is over, or its key was revoked: the hang-up finds out which.
                self.leash.end(EndReason::Provider)
            }
            Seen::Joined(Err(_)) => {
                side.is_lost(now);
                self.pay(inner).await
            }
            Seen::Due => {
                if side.is_good(now) {
                    self.leash.sees(true, now);
                }
                let mut acts = Vec::new();
                let ticks = self.terms.is_limited() && self.meter.ticks(now);
                if ticks || self.rewrite.is_some_and(|rewrite| now >= rewrite) {
                    acts = self.pay(inner).await;
                }
                acts.extend(self.leash.woke(now));
                acts
            }
            Seen::Told => {
                self.look(inner).await?;
                Vec::new()
            }
        };
        for act in acts {
            self.act(inner, side, act).await?;
        }
        ControlFlow::Continue(())
    }

    /// Waits for an event, a lost or a new side channel, a limit, or a change of the row by another task.
    async fn see(&self, inner: &Inner, side: &mut Side) -> Seen {
        let clock = &inner.parts.clock;
        let tick = self.meter.due().filter(|_| self.terms.is_limited());
        let due = [tick, self.rewrite].into_iter().flatten();
        let due = due.fold(self.leash.due(), Tick::min);
        // Limits come first, so that requests about the call cannot delay them.
        if due <= clock.tick() {
            return Seen::Due;
        }
        let next = side.next();
        let side = async {
            if let Some(channel) = side.channel() {
                return channel.next().await.map_or(Seen::Lost, Seen::Event);
            }
            clock.until(next).await;
            let attached = inner.attach(&self.call, self.terms.asserted()).await;
            Seen::Joined(attached.map(Box::new))
        };
        tokio::select! {
            biased;
            seen = side => seen,
            () = self.told.changed.notified() => Seen::Told,
            // Lazy, so that an event that is there already needs no timer.
            () = async { clock.until(due).await } => Seen::Due,
        }
    }

    /// True once another replica watches the call.
    pub(super) fn is_replaced(&self) -> bool {
        self.over == Some(Over::Replaced)
    }

    /// True once the provider has reported the end of the call.
    pub(super) fn is_closed(&self) -> bool {
        self.over == Some(Over::Closed)
    }

    /// Takes a side channel on which the provider has confirmed the persona.
    fn sees_by(&mut self, inner: &Inner, attached: Attached, (side, now): (&mut Side, Tick)) {
        side.opens(attached.channel, now);
        // The page may have changed the session meanwhile, so the persona is restored from the confirmed session.
        self.pins = self.pins.take().or(attached.pins);
        self.meter.takes_models(attached.models);
        self.meter.sees_again(inner, now);
        self.leash.forgets_responses();
        if side.is_good(now) {
            self.leash.sees(true, now);
        }
    }

    /// Reads the row, which another task or replica may have changed. The watch ends when the call is over, and when another
    /// replica watches it.
    async fn look(&mut self, inner: &Inner) -> ControlFlow<()> {
        let mut row = inner.parts.records.call(&self.call.id).await;
        if let Err(error) = row {
            // A connection that was lost is replaced at once.
            inner.note_records(&error);
            inner.parts.clock.sleep(LOOK_AGAIN).await;
            row = inner.parts.records.call(&self.call.id).await;
        }
        match row {
            Ok(Some(row)) if row.state == CallState::Open && row.epoch == self.told.epoch() => {
                if row.joined_at.is_some() {
                    self.is_joined = true;
                    self.leash.joined(inner.parts.clock.tick());
                }
                ControlFlow::Continue(())
            }
            Ok(Some(row)) => {
                let is_own = row.epoch == self.told.epoch();
                self.over = match row.state {
                    _ if !is_own => Some(Over::Replaced),
                    CallState::Ended => Some(Over::HungUp),
                    _ => self.over,
                };
                ControlFlow::Break(())
            }
            Ok(None) => {
                inner.end_forgotten(self.entry, &self.call).await;
                ControlFlow::Break(())
            }
            Err(error) => {
                inner.note_records(&error);
                ControlFlow::Continue(())
            }
        }
    }

    /// Makes a change that only the watch of this epoch may make. Reads the row when the change was refused.
    async fn change(&self, inner: &Inner, step: CallStep) {
        let changed = inner
            .parts
            .records
            .change_call(self.entry, step.by(self.told.epoch()));
        match changed.await {
            Ok(Some(_)) => {}
            Ok(None) => self.told.changed.notify_one(),
            Err(error) => inner.note_records(&error),
        }
    }

    /// Records the page's first sign of life.
    pub(super) async fn note_joined(&mut self, inner: &Inner) {
        if !self.is_joined && self.leash.has_joined() {
            self.is_joined = true;
            self.change(inner, CallStep::Joined).await;
        }
    }

    async fn act(&mut self, inner: &Arc<Inner>, side: &mut Side, act: Act) -> ControlFlow<()> {
        match act {
            Act::Warn(farewell) => {
                let end = self.leash.ends_soon(inner.parts.clock.tick());
                inner.warn_relay(self.entry, end);
                self.change(inner, CallStep::Warned).await;
                if farewell == Farewell::Warn {
                    self.send(side, time_is_short(self.call.id.dialect())).await;
                }
            }
            Act::SayGoodbye => {
                self.send(side, goodbye(self.call.id.dialect())).await;
            }
            Act::Cancel(response) => self.send(side, cancel(&response)).await,
            Act::End(reason) => return self.end(inner, side, reason).await,
        }
        ControlFlow::Continue(())
    }

    /// Ends the call. A page that has not joined may have given its sign of life on another replica: then the call goes on.
    async fn end(
        &mut self,
        inner: &Arc<Inner>,
        side: &mut Side,
        reason: EndReason,
    ) -> ControlFlow<()> {
        if reason == EndReason::NotJoined {
            self.look(inner).await?;
            if self.is_joined {
                self.leash.goes_on(inner.parts.clock.tick());
                return ControlFlow::Continue(());
            }
        }
        let cancelling = async {
            for response in self.leash.responses() {
                self.send(side, cancel(response)).await;
            }
        };
        // A response that cannot be cancelled ends with the call.
        let _ = inner.parts.clock.timeout(CANCELLING, cancelling).await;
        let of = (self.entry, Some(self.told.epoch()));
        let end = inner.end_until_certain(of, &self.call, reason);
        let ending = self.ending.insert(spans::ending(self.terms.trace)).clone();
        end.instrument(ending).await;
        ControlFlow::Break(())
    }

    /// Returns the span of the end; no span when another replica goes on watching.
    fn ending(&mut self) -> Span {
        let opened = self.terms.trace.filter(|_| !self.is_replaced());
        let ending = self.ending.take();
        ending.unwrap_or_else(|| spans::ending(opened))
    }

    pub(super) async fn send(&self, side: &mut Side, event: String) {
        if let Some(channel) = side.channel()
            && let Err(error) = channel.send(event).await
        {
            tracing::debug!(call = self.call.id.as_str(), %error, "an event could not be sent over the side channel");
        }
    }
}
