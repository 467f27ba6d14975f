//! What a test sees of the calls of the simulated provider, and what it may do to them.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use serde_json::Value;

use super::live::{Live, Out, Peer};
use super::{Announcement, Registry, Switches, Turn, client_event, gpt_live, hang_up, turn};
use crate::clock::Timestamp;

/// How often a call is looked at that has lost its side channel, and for how long.
const LOOK: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(5);

/// A received request about calls.
#[derive(Clone, Debug)]
pub struct CallRequest {
    /// The path, with the query.
    pub path: String,
    /// The headers. The value of `Authorization` is masked.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// When it came.
    pub at: Timestamp,
}

/// One call, as it is now.
#[derive(Clone, Debug)]
pub struct SeenCall {
    /// The id of the call.
    pub id: String,
    /// The offer that opened it.
    pub offer: String,
    /// The effective session.
    pub session: Value,
    /// True until the call is over.
    pub is_open: bool,
    /// When it was created.
    pub opened_at: Timestamp,
    /// When it ended, if it did.
    pub ended_at: Option<Timestamp>,
    /// When its first side channel joined.
    pub joined_at: Option<Timestamp>,
    /// When the first `session.update` of a side channel was answered.
    pub asserted_at: Option<Timestamp>,
    /// The side channels that are open.
    pub side_channels: usize,
    /// The side channels that were opened.
    pub joins: u64,
    /// The codes by which the other side closed connections; `None` for a close frame without one.
    pub left: Vec<Option<u16>>,
    /// The events that side channels sent, in order.
    pub received: Vec<Value>,
    /// The events that the browser got, in order.
    pub browser: Vec<Value>,
    /// The usage of every response, as it was truly: also where `response.done` says something else.
    pub used: Vec<Value>,
    /// The usage of every transcription.
    pub transcribed: Vec<Value>,
    /// The seconds of voice that a GPT-Live session is billed for.
    pub live_seconds: f64,
}

impl SeenCall {
    fn of(live: &Live, now: Timestamp) -> Self {
        let own = live.gpt.as_ref();
        let until = live.ended_at.unwrap_or(now);
        Self {
            id: live.id.clone(),
            offer: live.offer.clone(),
            session: live.session.clone(),
            is_open: !live.is_over,
            opened_at: live.opened_at,
            ended_at: live.ended_at,
            joined_at: live.joined_at,
            asserted_at: live.asserted_at,
            side_channels: live.side_channels.len(),
            joins: live.joins,
            left: live.left.clone(),
            received: live.received.clone(),
            browser: live.browser.clone(),
            used: live.used.clone(),
            transcribed: live.transcribed.clone(),
            live_seconds: own.map_or(0.0, |own| own.meter.billed(until)),
        }
    }
}

/// The calls of a running simulated provider. Methods that name no open call do nothing.
#[derive(Clone)]
pub struct Calls(pub(in crate::simulator) Arc<Registry>);

impl Calls {
    /// Returns all calls, oldest first.
    pub fn all(&self) -> Vec<SeenCall> {
        let (now, desk) = (self.0.clock.now(), self.0.desk());
        let calls = desk.order.iter().filter_map(|id| desk.calls.get(id));
        calls.map(|live| SeenCall::of(live, now)).collect()
    }

    /// Returns one call.
    pub fn get(&self, id: &str) -> Option<SeenCall> {
        let (now, desk) = (self.0.clock.now(), self.0.desk());
        desk.calls.get(id).map(|live| SeenCall::of(live, now))
    }

    /// Returns the number of calls that are not over.
    pub fn open(&self) -> usize {
        let desk = self.0.desk();
        desk.calls.values().filter(|call| !call.is_over).count()
    }

    /// Returns the last 4,096 requests about calls, oldest first, failed ones included.
    pub fn requests(&self) -> Vec<CallRequest> {
        self.0.desk().requests.clone()
    }

    /// Returns the requests whose path ends with `/hangup`.
    pub fn hang_ups(&self) -> Vec<CallRequest> {
        let mut requests = self.requests();
        requests.retain(|request| request.path.ends_with("/hangup"));
        requests
    }

    /// Changes the provider's behaviour.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.0.desk().switches);
    }

    /// Plays a turn: somebody speaks, and the model does what `turn` says.
    pub fn play(&self, id: &str, turn: &Turn) {
        turn::play(&self.0, id, turn);
    }

    /// Ends the conversation's response that goes on, as if it had been spoken to its end.
    pub fn finish(&self, id: &str) {
        if let Some((live, switches)) = self.0.desk().open_call(id) {
            turn::complete(live, None, switches);
        }
    }

    /// Sends an event as the browser does, over its data channel.
    pub fn browser_sends(&self, id: &str, event: &Value) {
        client_event::obey(&self.0, id, Peer::Browser, &event.to_string());
    }

    /// Sends a text to all side channels, whatever it is.
    pub fn tell_side_channels(&self, id: &str, text: &str) {
        if let Some((live, _)) = self.0.desk().open_call(id) {
            live.tell_side_channels(&Out::Text(text.to_owned()));
        }
    }

    /// Closes all side channels with this code, or without a word. The call goes on.
    pub fn close_side_channels(&self, id: &str, code: Option<u16>) {
        if let Some((live, _)) = self.0.desk().open_call(id) {
            live.tell_side_channels(&code.map_or(Out::Drop, Out::Close));
        }
    }

    /// Closes all side channels without a word. Returns the time until the call had another one; `None` when it got none
    /// within 5 s, or is over.
    pub async fn cut(&self, id: &str) -> Option<Duration> {
        let clock = &self.0.clock;
        let joins = || self.0.desk().open_call(id).map(|(live, _)| live.joins);
        let (began, before) = (clock.tick(), joins()?);
        self.close_side_channels(id, None);
        let again = async {
            while joins()? == before {
                clock.sleep(LOOK).await;
            }
            Some(clock.tick().since(began))
        };
        clock.timeout(LONGEST, again).await.ok()?
    }

    /// Closes all connections with this code and reason, or with neither.
    pub fn close_for(&self, id: &str, why: Option<(u16, &str)>) {
        if let Some((live, _)) = self.0.desk().open_call(id) {
            let why = why.map(|(code, reason)| (code, reason.to_owned()));
            live.tell_side_channels(&Out::CloseFor(why));
        }
    }

    /// Lets so much time of a GPT-Live session pass at once: what is used, when it pauses, and when it expires.
    pub fn pass(&self, id: &str, time: Duration) {
        gpt_live::pass(&self.0, id, time);
    }

    /// Returns the webhook by which the provider announces a GPT-Live session, signed with `secret` (`whsec_…`).
    pub fn announce(&self, id: &str, secret: &str) -> Announcement {
        Announcement::of(id, secret, self.0.clock.now())
    }

    /// Ends the call, as when the browser leaves.
    pub fn end(&self, id: &str) {
        hang_up::end(&self.0, id, "remote_hangup");
    }
}
