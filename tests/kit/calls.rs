//! A provider of calls that does as a test tells it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use serde_json::{Value, json};
use token_broker::domain::{KeyFingerprint, Party, UpstreamCall, UpstreamCallId};
use token_broker::provider::Dialect;
use token_broker::upstream::{
    Begun, CallOrder, Calls, HungUp, Pending, RelayLeg, RelayOrder, SideChannel, Transcription,
    TranscriptionOrder, UpstreamError,
};
use token_broker::websocket::{Bounds, Leg};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::recordings::Recordings;

/// The SDP that every offer is answered with.
pub const ANSWER: &str = "v=0\r\ns=scripted\r\n";

/// A provider of calls that does as it is told.
#[derive(Clone, Default)]
pub struct ScriptedCalls {
    state: Arc<Mutex<State>>,
    pub recordings: Recordings,
}

#[derive(Default)]
struct State {
    orders: Vec<CallOrder>,
    exchanges: VecDeque<UpstreamError>,
    /// The next exchange waits until the other end is dropped.
    held: Option<oneshot::Receiver<()>>,
    answers: VecDeque<UpstreamError>,
    joins: VecDeque<UpstreamError>,
    hang_ups: VecDeque<UpstreamError>,
    channels: Vec<Channel>,
    hung_up: Vec<UpstreamCall>,
    /// What sessions show beside what the broker asked for.
    shown: Value,
}

/// One joined side channel, from the provider's end.
#[derive(Clone)]
pub struct Channel {
    pub call: UpstreamCall,
    events: UnboundedSender<String>,
    sent: Arc<Mutex<Vec<Value>>>,
}

impl Channel {
    /// Sends an event to the broker.
    pub fn say(&self, event: &Value) {
        let _ = self.events.send(event.to_string());
    }

    /// Returns what the broker sent so far.
    pub fn sent(&self) -> Vec<Value> {
        self.sent.lock().unwrap().clone()
    }
}

impl ScriptedCalls {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next exchange fails so.
    pub fn fail_exchange(&self, error: UpstreamError) {
        self.state().exchanges.push_back(error);
    }

    /// The next call is created only when what this returns is dropped.
    pub fn hold_exchange(&self) -> oneshot::Sender<()> {
        let (holds, held) = oneshot::channel();
        self.state().held = Some(held);
        holds
    }

    /// The next call is created, and its answer fails so.
    pub fn fail_answer(&self, error: UpstreamError) {
        self.state().answers.push_back(error);
    }

    /// The next join fails so.
    pub fn fail_join(&self, error: UpstreamError) {
        self.state().joins.push_back(error);
    }

    /// New sessions show these fields, too.
    pub fn show(&self, fields: Value) {
        self.state().shown = fields;
    }

    /// Nothing fails any more.
    pub fn forget_failures(&self) {
        let mut state = self.state();
        state.exchanges.clear();
        state.joins.clear();
        state.hang_ups.clear();
    }

    /// The next hang-up fails so.
    pub fn fail_hang_up(&self, error: UpstreamError) {
        self.state().hang_ups.push_back(error);
    }

    /// Knows an order that was given before.
    pub fn remember(&self, order: CallOrder) {
        self.state().orders.push(order);
    }

    /// Returns the offers so far.
    pub fn orders(&self) -> Vec<CallOrder> {
        self.state().orders.clone()
    }

    /// Returns the side channels so far, closed ones included.
    pub fn channels(&self) -> Vec<Channel> {
        self.state().channels.clone()
    }

    /// Closes all side channels. The calls live on.
    pub fn drop_channels(&self) {
        self.state().channels.clear();
    }

    /// Returns the calls that were hung up.
    pub fn hung_up(&self) -> Vec<UpstreamCall> {
        self.state().hung_up.clone()
    }
}

#[async_trait]
impl Calls for ScriptedCalls {
    fn exchange(&self, order: CallOrder, key: &KeyFingerprint) -> Pending<Begun> {
        let mut state = self.state();
        state.orders.push(order);
        if let Some(error) = state.exchanges.pop_front() {
            return Box::pin(async { Err(error) });
        }
        let dialect = state.orders.last().map(|order| order.session.dialect());
        let kind = match dialect {
            Some(Dialect::Live) => "live_u1",
            _ => "rtc_u0",
        };
        let id = format!("{kind}_test{}", state.orders.len());
        let call = UpstreamCall {
            id: UpstreamCallId::parse(&id).unwrap(),
            key: key.clone(),
        };
        let failed = state.answers.pop_front();
        let answer = Box::pin(async { failed.map_or_else(|| Ok(ANSWER.to_owned()), Err) });
        let request = Some(format!("req_{}", call.id.as_str()).into());
        let held = state.held.take();
        Box::pin(async {
            if let Some(held) = held {
                // It is dropped, never sent.
                let _ = held.await;
            }
            Ok(Begun::new((call, request), answer))
        })
    }

    fn safety_identifier(&self, party: &Party) -> String {
        format!("{party:?}")
    }

    fn relay(&self, _order: RelayOrder, _: &KeyFingerprint) -> Pending<RelayLeg> {
        Box::pin(async { Err(UpstreamError::Invalid("relays need real sockets")) })
    }

    fn transcribe(&self, order: TranscriptionOrder, _: &KeyFingerprint) -> Pending<Transcription> {
        self.recordings.transcribe(order)
    }

    async fn join(&self, call: &UpstreamCall) -> Result<Box<dyn SideChannel>, UpstreamError> {
        let mut state = self.state();
        if let Some(error) = state.joins.pop_front() {
            return Err(error);
        }
        let (events, received) = unbounded_channel();
        let channel = Channel {
            call: call.clone(),
            events,
            sent: Arc::default(),
        };
        state.channels.push(channel.clone());
        let mut session = json!({ "id": call.id.as_str().replace("rtc_", "sess_") });
        if call.id.is_live() {
            let number = call.id.as_str().trim_start_matches("live_u1_test");
            let number: usize = number.parse().unwrap();
            let asked = state.orders[number - 1].session.as_json().get();
            session = serde_json::from_str(asked).unwrap();
            session["id"] = call.id.as_str().into();
        }
        for (name, value) in state.shown.as_object().into_iter().flatten() {
            session[name] = value.clone();
        }
        if call.id.is_live() {
            channel
                .say(&json!({ "type": "session.started", "event_id": "e0", "session": session }));
        }
        Ok(Box::new(Scripted {
            session,
            // Weak, so that the test closes the side channel by dropping its end.
            answers: channel.events.downgrade(),
            sent: channel.sent,
            received,
        }))
    }

    async fn attach(&self, _: &UpstreamCall, _: Bounds) -> Result<Leg, UpstreamError> {
        Err(UpstreamError::Invalid("programs need real sockets"))
    }

    async fn hang_up(&self, call: &UpstreamCall) -> Result<HungUp, UpstreamError> {
        let mut state = self.state();
        if let Some(error) = state.hang_ups.pop_front() {
            return Err(error);
        }
        state.hung_up.push(call.clone());
        state.channels.retain(|channel| channel.call != *call);
        Ok(HungUp::Ended)
    }
}

struct Scripted {
    /// The session in force.
    session: Value,
    answers: tokio::sync::mpsc::WeakUnboundedSender<String>,
    sent: Arc<Mutex<Vec<Value>>>,
    received: UnboundedReceiver<String>,
}

#[async_trait]
impl SideChannel for Scripted {
    async fn next(&mut self) -> Option<String> {
        self.received.recv().await
    }

    /// Remembers the event. Answers a `session.update` as the provider does.
    async fn send(&mut self, event: String) -> Result<(), UpstreamError> {
        let event: Value = serde_json::from_str(&event).unwrap();
        if event["type"] == "session.update" {
            for (name, value) in event["session"].as_object().unwrap() {
                self.session[name] = value.clone();
            }
            let session = &self.session;
            let updated =
                json!({"type": "session.updated", "event_id": "event_1", "session": session});
            if let Some(answers) = self.answers.upgrade() {
                let _ = answers.send(updated.to_string());
            }
        }
        self.sent.lock().unwrap().push(event);
        Ok(())
    }

    async fn close(self: Box<Self>) {}
}
