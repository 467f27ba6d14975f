//! Relays: carries the events between a client and the provider, one at a time.

mod append;
mod blank;
mod ending;
mod farewell;
mod listed;
mod notice;
mod pace;
mod policy;
mod rules;
mod tap;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use self::ending::{Ending, Goes, closed};
use self::farewell::{Farewell, refusal};
use self::notice::Notices;
use self::pace::Pace;
use self::rules::Rules;
use self::tap::Tap;
use crate::broker::{Line, Order};
use crate::clock::{Clock, Wait};
use crate::config::RelaySettings;
use crate::domain::EndReason;
use crate::websocket::{CloseCode, Connection, Error, Leg, Message, Role, Utf8Bytes, reason};

pub use policy::{Flaw, Policy, Refusal, Verdict};

/// Longest time between two checks that both sides are alive and read. Clients that were held back are read again at
/// these checks.
const LOOK: Duration = Duration::from_secs(5);
/// Longest time for which the provider may read nothing.
const SLOW_PROVIDER: Duration = Duration::from_secs(30);
/// Most events of the broker that wait for a client. With more, the client is not read.
const MOST_WAITING: usize = 8;
/// How long before its own end a replica ends its relays.
const GOODBYE: Duration = Duration::from_secs(5);
/// Longest wait, after the end, for the use of the last response.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Asks the model to stop.
const CANCEL: &str = r#"{"type":"response.cancel"}"#;

/// Both ends of a relay.
struct Relay {
    client: Leg,
    upstream: Leg,
    rules: Rules,
    tap: Tap,
    pace: Pace,
    clock: Arc<dyn Clock>,
    settings: RelaySettings,
    notices: Notices,
    is_draining: bool,
    /// True when the provider is read before the client.
    is_providers_turn: bool,
}

/// A message of one end; `None` when its connection is over.
enum From {
    Client(Option<Result<Message, Error>>),
    Provider(Option<Result<Message, Error>>),
}

/// Carries one relay from the moment at which its client is connected until both connections are closed.
pub async fn carry(line: Line, connection: Box<dyn Connection>) {
    let Line {
        upstream,
        greeting,
        passes,
        events,
        mut orders,
        drain,
        drain_time,
        settings,
        notices,
        clock,
        end,
    } = line;
    let ours = (Role::Server, settings.bounds());
    let mut relay = Relay {
        client: Leg::over(connection, ours, Arc::clone(&clock)).await,
        upstream,
        rules: passes.into(),
        tap: Tap::new(events, Arc::clone(&clock)),
        pace: Pace::new(clock.tick()),
        clock: Arc::clone(&clock),
        settings,
        notices: Notices(notices),
        is_draining: false,
        is_providers_turn: false,
    };
    if let Some(greeting) = greeting {
        relay.tell(greeting.into());
    }
    let mut drained: Wait = Box::pin(async move { drain.cancelled().await });
    let pause = LOOK.min(relay.settings.ping);
    let mut look = clock.sleep(pause);
    let ending = loop {
        let goes = tokio::select! {
            biased;
            () = &mut drained => {
                let left = drain_time.saturating_sub(GOODBYE);
                drained = clock.sleep(left);
                relay.drain_begins(left)
            }
            order = orders.recv() => relay.obey(order),
            () = &mut look => {
                look = clock.sleep(pause);
                relay.look()
            }
            from = poll_fn(|context| relay.poll(context)) => relay.pass(from),
        };
        if let Goes::Break(ending) = goes {
            break ending;
        }
    };
    end.comes(ending.reason);
    relay.finish(ending, orders, &*clock).await;
}

impl Relay {
    /// Sends what waits, and returns the next message of either end. An end is read only when the other end can take its
    /// message, so that at most one message of each end is held.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<From> {
        self.client.drive(context);
        self.upstream.drive(context);
        for _ in 0..2 {
            self.is_providers_turn = !self.is_providers_turn;
            if self.is_providers_turn {
                if self.client.is_free()
                    && self.tap.has_room(context)
                    && let Poll::Ready(message) = self.upstream.poll_next(context)
                {
                    return Poll::Ready(From::Provider(message));
                }
            } else if self.hears_client()
                && self.pace.is_free(self.clock.tick())
                && let Poll::Ready(message) = self.client.poll_next(context)
            {
                return Poll::Ready(From::Client(message));
            }
        }
        Poll::Pending
    }

    fn hears_client(&self) -> bool {
        self.upstream.is_free() && self.client.waiting() < MOST_WAITING
    }

    /// Passes a message on, as far as the policy allows.
    fn pass(&mut self, from: From) -> Goes {
        match from {
            From::Client(Some(Ok(message))) => return self.pass_up(message),
            From::Client(Some(Err(error))) => {
                tracing::debug!(reason = reason(&error), "the client's connection broke");
                return match Farewell::of_failure(&error) {
                    Some(farewell) => Ending::new(EndReason::HungUp, farewell),
                    None => Ending::left(Some(closed(CloseCode::Away))),
                };
            }
            From::Client(None) => return Ending::left(Some(closed(CloseCode::Away))),
            From::Provider(Some(Ok(Message::Text(text)))) => return self.pass_down(text),
            From::Provider(Some(Ok(Message::Close(frame)))) => {
                return Ending::without_provider(Farewell::of_provider(frame));
            }
            From::Provider(Some(Ok(message @ Message::Binary(_))))
                if matches!(self.rules, Rules::Persona(_)) =>
            {
                self.client.put(message);
            }
            From::Provider(Some(Ok(_))) => {}
            From::Provider(Some(Err(error))) => {
                tracing::debug!(reason = reason(&error), "the provider's connection broke");
                return Ending::without_provider(Farewell::lost());
            }
            From::Provider(None) => return Ending::without_provider(Farewell::lost()),
        }
        Goes::Continue(())
    }

    /// Passes a text of the provider on, as far as the client may see it. For an attached program nothing goes to the watch,
    /// which has a side channel of its own.
    fn pass_down(&mut self, text: Utf8Bytes) -> Goes {
        match &self.rules {
            Rules::Listed(lists) if lists.shows(&text) => self.client.put(Message::Text(text)),
            Rules::Listed(_) => {}
            Rules::Persona(_) => {
                self.tap.take(&text);
                self.tell(text);
                if self.is_draining && !self.tap.is_answering() {
                    return self.drains();
                }
            }
        }
        Goes::Continue(())
    }

    /// Passes the provider's text to the client, without the instructions where they are hidden.
    fn tell(&mut self, text: Utf8Bytes) {
        let text = if self.settings.hide_instructions {
            blank::instructions(text)
        } else {
            Some(text)
        };
        if let Some(text) = text {
            self.client.put(Message::Text(text));
        }
    }

    fn pass_up(&mut self, message: Message) -> Goes {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Ending::new(EndReason::HungUp, Farewell::of_binary()),
            Message::Close(frame) => return Ending::left(frame),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                self.pace.counts(0);
                return Goes::Continue(());
            }
        };
        self.pace.counts(text.len());
        match self.rules.judge(&text) {
            Verdict::Passes => self.upstream.put(Message::Text(text)),
            Verdict::Becomes(other) => self.upstream.put(Message::Text(other.into())),
            Verdict::Refused(refused) => {
                self.client.put(Message::Text(refusal(&refused).into()));
            }
            Verdict::Broken(flaw) => {
                return Ending::new(EndReason::HungUp, Farewell::of_flaw(flaw));
            }
        }
        Goes::Continue(())
    }

    /// Carries out an order.
    fn obey(&mut self, order: Option<Order>) -> Goes {
        match order {
            Some(Order::Say(event)) => {
                self.upstream.put(Message::Text(event.into()));
                Goes::Continue(())
            }
            Some(Order::Warn(reason, left)) => {
                self.warn(reason, left);
                Goes::Continue(())
            }
            Some(Order::End(reason)) => Ending::new(reason, Farewell::of(reason)),
            // The watch is gone.
            Some(Order::Release) | None => {
                Ending::new(EndReason::Shutdown, Farewell::of(EndReason::Shutdown))
            }
        }
    }

    /// Tells the client that the relay ends soon, if it wants to know.
    fn warn(&mut self, reason: EndReason, left: Duration) {
        if let Some(event) = self.notices.ending(reason, left) {
            self.client.put(event);
        }
    }

    /// Ends, unless the model is at work. Then it ends after `left` at the latest.
    fn drain_begins(&mut self, left: Duration) -> Goes {
        let goes = self.drains();
        if goes.is_continue() {
            self.warn(EndReason::Shutdown, left);
        }
        goes
    }

    /// Ends between two responses, or when it has waited long enough for that.
    fn drains(&mut self) -> Goes {
        if self.is_draining || !self.tap.is_answering() {
            return Ending::new(EndReason::Shutdown, Farewell::of(EndReason::Shutdown));
        }
        self.is_draining = true;
        Goes::Continue(())
    }

    /// Checks that both ends are alive and read. An end that is not read at present cannot show that it is alive.
    fn look(&mut self) -> Goes {
        let now = self.clock.tick();
        if self.client.stuck_for() >= self.settings.slow {
            tracing::debug!("the client does not read, so its relay ends");
            return Ending::new(EndReason::HungUp, Farewell::of_slowness());
        }
        if self.upstream.stuck_for() >= SLOW_PROVIDER {
            return Ending::without_provider(Farewell::lost());
        }
        let is_free = self.pace.is_free(now);
        if self.pace.is_over(now) {
            return Ending::new(EndReason::HungUp, Farewell::of_haste());
        }
        if !self.hears_client() || !is_free {
            self.client.is_heard();
        }
        if !self.client.is_free() || self.tap.is_full() {
            self.upstream.is_heard();
        }
        if !self.client.is_alive() {
            return Ending::left(Some(closed(CloseCode::Away)));
        }
        if !self.upstream.is_alive() {
            return Ending::without_provider(Farewell::lost());
        }
        Goes::Continue(())
    }

    /// Says goodbye to both ends, and waits for what the last response has used.
    async fn finish(self, ending: Ending, orders: UnboundedReceiver<Order>, clock: &dyn Clock) {
        let Self {
            mut client,
            mut upstream,
            mut tap,
            ..
        } = self;
        let farewell = ending.client.map(Farewell::messages);
        farewell
            .into_iter()
            .flatten()
            .for_each(|message| client.put(message));
        let goodbye = async {
            // The close frame of a client is answered.
            client.finish().await;
            drop(client);
        };
        let last_words = async {
            if ending.cancels && tap.is_answering() {
                upstream.put(Message::Text(CANCEL.into()));
                let words = last_words(&mut upstream, &mut tap, orders);
                let _ = clock.timeout(LAST_WORDS, words).await;
            }
            drop(tap);
            upstream.put(Message::Close(ending.upstream));
            upstream.finish().await;
        };
        tokio::join!(goodbye, last_words);
    }
}

/// Waits until the model has stopped, or the watch has released the relay.
async fn last_words(upstream: &mut Leg, tap: &mut Tap, mut orders: UnboundedReceiver<Order>) {
    while tap.is_answering() {
        let next = async {
            poll_fn(|context| {
                if tap.has_room(context) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            upstream.next().await
        };
        let message = tokio::select! {
            message = next => message,
            order = orders.recv() => match order {
                Some(Order::Say(event)) => {
                    upstream.put(Message::Text(event.into()));
                    continue;
                }
                Some(Order::Warn(..) | Order::End(_)) => continue,
                Some(Order::Release) | None => return,
            },
        };
        match message {
            Some(Ok(Message::Text(text))) => tap.take(&text),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}
