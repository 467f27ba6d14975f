//! The side channel of a watched call, and when it is joined again.

use std::time::Duration;

use serde_json::json;

use crate::clock::Tick;
use crate::provider::{Dialect, instruct};
use crate::upstream::SideChannel;

/// The waits before a lost side channel is joined again.
const REJOIN_WAITS: [u64; 5] = [0, 1, 2, 4, 8];
/// A side channel that lasted this long resets the back-off for the next loss.
const GOOD: Duration = Duration::from_secs(10);

/// The side channel of a call.
pub(super) struct Side {
    /// The connection; `None` while it is lost.
    channel: Option<Box<dyn SideChannel>>,
    /// The attempts to join since the last good connection.
    tries: usize,
    /// When the connection was made, or when it is made again.
    moment: Tick,
}

impl Side {
    /// Returns a side channel that is to be joined at `now`.
    pub(super) const fn lost(now: Tick) -> Self {
        Self {
            channel: None,
            tries: 0,
            moment: now,
        }
    }

    /// Returns the connection, if there is one.
    pub(super) fn channel(&mut self) -> Option<&mut Box<dyn SideChannel>> {
        self.channel.as_mut()
    }

    /// Returns when the connection is made again.
    pub(super) const fn next(&self) -> Tick {
        self.moment
    }

    /// Takes a new connection.
    pub(super) fn opens(&mut self, channel: Box<dyn SideChannel>, now: Tick) {
        self.channel = Some(channel);
        self.moment = now;
    }

    /// Notes that the connection is lost, or could not be made. The next attempt waits longer, unless the last connection
    /// was a good one.
    pub(super) fn is_lost(&mut self, now: Tick) {
        self.tries = if self.is_good(now) { 0 } else { self.tries + 1 };
        self.channel = None;
        let wait = REJOIN_WAITS.get(self.tries).or(REJOIN_WAITS.last());
        self.moment = now.plus(Duration::from_secs(wait.copied().unwrap_or_default()));
    }

    /// True once the connection has lived long enough to be trusted, and always for the first one.
    pub(super) fn is_good(&self, now: Tick) -> bool {
        self.channel.is_some() && (self.tries == 0 || now.since(self.moment) >= GOOD)
    }

    /// Takes the connection away.
    pub(super) fn take(&mut self) -> Option<Box<dyn SideChannel>> {
        self.channel.take()
    }
}

/// Asks the model to stop a response.
pub(super) fn cancel(response: &str) -> String {
    json!({ "type": "response.cancel", "response_id": response }).to_string()
}

/// Tells the model that little time is left.
pub(super) fn time_is_short(dialect: Dialect) -> String {
    let text = "Little time is left in this conversation. Bring it to a close politely.";
    if dialect == Dialect::Live {
        return instruct(text);
    }
    let content = json!([{ "type": "input_text", "text": text }]);
    let item = json!({ "type": "message", "role": "system", "content": content });
    json!({ "type": "conversation.item.create", "item": item }).to_string()
}

/// Asks the model to say goodbye.
pub(super) fn goodbye(dialect: Dialect) -> String {
    let text = "The time of this conversation is over. Say goodbye in one short sentence.";
    if dialect == Dialect::Live {
        return instruct(text);
    }
    let response = json!({ "instructions": text, "tool_choice": "none" });
    json!({ "type": "response.create", "response": response }).to_string()
}
