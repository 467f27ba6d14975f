//! Calls of the simulated provider: what is open, what was said, what was used.

mod answer;
mod client_event;
mod conversation;
mod gpt_live;
mod hang_up;
mod heard;
mod join;
mod live;
mod open;
#[cfg(feature = "peer")]
mod peer;
#[cfg(not(feature = "peer"))]
#[path = "no_peer.rs"]
mod peer;
mod play;
mod seen;
mod session;
mod turn;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::live::Live;
use crate::clock::Clock;
use crate::provider::Dialect;

pub(super) use self::gpt_live::create;
pub use self::gpt_live::{AnnounceTo, Announcement, Drain, LiveSwitches, Reports};
pub(super) use self::hang_up::{hang_up, hang_up_live};
pub(super) use self::join::{attach, join};
pub(super) use self::open::open;
pub(super) use self::play::play;
pub use self::seen::{CallRequest, Calls, SeenCall};
pub use self::turn::{Turn, TurnError};

/// Most calls that are remembered. The oldest that is over is forgotten first.
const MAX_CALLS: usize = 20_000;
/// Most requests that are remembered.
const MAX_REQUESTS: usize = 4096;

/// Behaviours of the provider that are not known, or that fail now and then. The default is what was recorded.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, named at every use"
)]
pub struct Switches {
    /// Offers are answered by real peers, in builds with the feature `peer`. Otherwise nothing listens behind an answer.
    pub real_peers: bool,
    /// What happens to a second side channel of a call.
    pub second: Second,
    /// `session.updated` reaches only the peer whose update it answers.
    pub updated_to_sender_only: bool,
    /// Events hold no nulls that the published schema does not allow.
    pub schema_only: bool,
    /// An interrupted response is `incomplete` instead of `cancelled`.
    pub interrupted_is_incomplete: bool,
    /// Responses to `response.create` go on for 30 s, as those of [`Turn::Long`] do.
    pub long_responses: bool,
    /// The side channel of a call that has ended stays open, and close frames are not answered.
    pub never_closes: bool,
    /// What is sent is not read any more, neither on side channels nor in sessions.
    pub deaf: bool,
    /// New side channels are never read nor written, as when the network in between is gone.
    pub stalls: bool,
    /// The session of a call has another name than the call.
    pub wrong_session: bool,
    /// The answer has no section for a data channel.
    pub no_data_channel: bool,
    /// `response.done` is sent twice.
    pub twice_done: bool,
    /// Transcriptions come after the response that answers what they transcribe.
    pub late_transcription: bool,
    /// What is wrong with the usage in `response.done`.
    pub usage: OddUsage,
    /// The lifetime of a session in seconds, instead of an hour, or of two hours for GPT-Live.
    pub session_seconds: Option<u64>,
    /// What only GPT-Live sessions do.
    pub live: LiveSwitches,
}

/// What happens to a second side channel of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Second {
    /// The second side channel joins beside the first.
    #[default]
    Joins,
    /// The second side channel is refused.
    IsRefused,
    /// The second side channel replaces the first.
    Replaces,
}

/// What is wrong with the usage in `response.done`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OddUsage {
    /// Nothing.
    #[default]
    Right,
    /// The usage is null.
    Null,
    /// The sums of the usage do not add up.
    WrongSum,
    /// The usage has unknown details.
    ExtraKeys,
    /// The usage is beside the response instead of in it.
    TopLevel,
}

/// All calls, as the routes see them.
pub(super) struct Registry {
    desk: Arc<Mutex<Desk>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// What changes while calls are open.
#[derive(Default)]
pub(super) struct Desk {
    calls: HashMap<String, Live>,
    /// The ids of `calls`, in the order of their creation.
    order: Vec<String>,
    requests: Vec<CallRequest>,
    switches: Switches,
}

impl Registry {
    pub(super) fn new(clock: Arc<dyn Clock>, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            desk: Arc::default(),
            clock,
            tasks,
            stop,
        }
    }

    /// Remembers a request about calls.
    pub(super) fn remember(&self, request: CallRequest) {
        self.desk().remember(request);
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock()
    }

    /// Returns the calls for a task that outlives its caller.
    fn shared_desk(&self) -> Arc<Mutex<Desk>> {
        Arc::clone(&self.desk)
    }
}

impl Desk {
    fn remember(&mut self, request: CallRequest) {
        if self.requests.len() >= MAX_REQUESTS {
            self.requests.remove(0);
        }
        self.requests.push(request);
    }

    fn add(&mut self, live: Live) {
        if self.order.len() >= MAX_CALLS {
            let is_over = |id: &String| self.calls.get(id).is_none_or(|call| call.is_over);
            let at = self.order.iter().position(is_over).unwrap_or_default();
            let id = self.order.remove(at);
            self.calls.remove(&id);
        }
        self.order.push(live.id.clone());
        self.calls.insert(live.id.clone(), live);
    }

    /// Returns a call that is not over, and the behaviours.
    fn open_call(&mut self, id: &str) -> Option<(&mut Live, &Switches)> {
        let live = self.calls.get_mut(id).filter(|call| !call.is_over)?;
        Some((live, &self.switches))
    }

    /// Returns a call of this dialect that is not over, and the behaviours.
    fn open_of(&mut self, id: &str, dialect: Dialect) -> Option<(&mut Live, &Switches)> {
        let (live, switches) = self.open_call(id)?;
        (live.dialect() == dialect).then_some((live, switches))
    }
}
