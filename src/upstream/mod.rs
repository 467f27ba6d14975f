//! The provider: one policy before every operation that starts something, one lane for all that must not be refused.

mod breaker;
mod calls;
mod connections;
mod error;
mod key;
mod lane;
mod lines;
pub mod openai;
mod policy;
mod queue;
mod transcription;
mod watch;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::domain::{ClientSecret, Condition, Party, SessionText, UpstreamCall};
use calls::CallDesk;
pub use calls::{
    Begun, CallOrder, Calls, HungUp, Late, NotBegun, Pending, RelayLeg, RelayOrder, SideChannel,
};
pub use error::{Complaint, Facts, Kind, Trouble, UpstreamError, Verdict};
use key::Looks;
use policy::Policy;
pub use policy::Turn;
pub use transcription::{Answer, Piece, Transcription, TranscriptionOrder};
pub use wire::summary;

use watch::Seen;

/// Attempts at a mint. A second one is safe: a lost secret opens nothing for anybody.
const MINT_ATTEMPTS: u32 = 2;

/// What is to be minted.
#[derive(Clone, Debug)]
pub struct MintOrder {
    /// The session object to send: the persona's, as it speaks to this listener.
    pub session: SessionText,
    /// How long the secret may open upstream sessions.
    pub lifetime: Duration,
    /// On whose behalf: the provider learns only a keyed hash of it.
    pub behalf: Party,
}

/// What a free look at the upstream showed.
#[derive(Clone, Debug)]
pub struct Probe {
    /// How long the answer took.
    pub latency: Duration,
    /// The upstream's time.
    pub upstream_time: Option<Timestamp>,
    /// The refusal, when the key may not list models (403, or a missing scope), or there is no list (404, 405). Minting does not
    /// need that.
    pub refusal: Option<Complaint>,
}

/// Asks the provider, one attempt at a time. Knows no bounds: those are the policy's.
///
/// Cancelling a mint breaks nothing here, but may leave a secret at the provider that nobody holds.
#[async_trait]
pub trait Minter: Send + Sync {
    /// Obtains one client secret.
    async fn mint(&self, order: &MintOrder) -> Result<ClientSecret, UpstreamError>;

    /// Asks for something free, to see whether the upstream answers and accepts the API key.
    async fn probe(&self) -> Result<Probe, UpstreamError>;
}

/// The upstream, as the broker uses it.
pub struct Upstream {
    minter: Arc<dyn Minter>,
    desk: CallDesk,
    policy: Policy,
    seen: Mutex<Seen>,
    clock: Arc<dyn Clock>,
}

impl Upstream {
    /// Returns the upstream that `minter` and `calls` ask, within the bounds of `settings`.
    pub fn new(
        minter: Arc<dyn Minter>,
        calls: Arc<dyn Calls>,
        settings: &config::Upstream,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let looks = Looks::new(Arc::clone(&minter), Arc::clone(&clock));
        Self {
            minter,
            desk: CallDesk::new(calls, settings.timeout, Arc::clone(&clock)),
            policy: Policy::new(settings, looks, Arc::clone(&clock)),
            seen: Mutex::default(),
            clock,
        }
    }

    /// Waits briefly for a turn to start an operation. Those who wait for their turn share the places by `party`, a
    /// neighbourhood or an identity. An error has left nothing behind.
    pub async fn turn(&self, party: Party) -> Result<Turn, UpstreamError> {
        let turn = self.policy.turn(party).await;
        turn.inspect_err(|error| self.seen.lock().failed(error))
    }

    /// Obtains one client secret.
    pub async fn mint(&self, order: &MintOrder, turn: Turn) -> Result<ClientSecret, UpstreamError> {
        let started = self.clock.tick();
        let operation = || self.minter.mint(order);
        let minted = self.policy.run(turn, MINT_ATTEMPTS, operation).await;
        let now = self.clock.tick();
        match &minted {
            Ok(_) => self.seen.lock().succeeded(now.since(started), now),
            Err(error) => self.seen.lock().failed(error),
        }
        minted
    }

    /// Sends the offer of a call. Never repeated: a lost answer may have left a call at the provider.
    ///
    /// The call's id is known when this returns; write it down, then wait for [`Begun::answer`].
    pub async fn exchange(&self, order: CallOrder, turn: Turn) -> Result<Begun, NotBegun> {
        let started = self.clock.tick();
        let begun = self.desk.exchange(order, turn, &self.policy).await;
        let now = self.clock.tick();
        match &begun {
            Ok(_) => self.seen.lock().succeeded(now.since(started), now),
            Err(failed) => self.seen.lock().failed(&failed.error),
        }
        begun
    }

    /// Opens the upstream session of a relay. Never repeated.
    pub async fn relay(&self, order: RelayOrder, turn: Turn) -> Result<RelayLeg, UpstreamError> {
        let started = self.clock.tick();
        let opened = self.desk.relay(order, turn, &self.policy).await;
        let now = self.clock.tick();
        match &opened {
            Ok(_) => self.seen.lock().succeeded(now.since(started), now),
            Err(error) => self.seen.lock().failed(error),
        }
        opened
    }

    /// Joins the side channel of a call. Never refused by the bounds of what starts something.
    pub async fn join(&self, call: &UpstreamCall) -> Result<Box<dyn SideChannel>, UpstreamError> {
        self.desk.join(call).await
    }

    /// Ends a call. Never refused by the bounds of what starts something. An error leaves the hang-up owed.
    pub async fn hang_up(&self, call: &UpstreamCall) -> Result<HungUp, UpstreamError> {
        self.desk.hang_up(call).await
    }

    /// Notes that a call has shown that the account has no credit left. Nothing new is started for a while.
    pub fn has_no_credit(&self) {
        let error = UpstreamError::QuotaExhausted(Complaint {
            code: "insufficient_quota".to_owned(),
            ..429.into()
        });
        self.policy.learn(&error);
        self.seen.lock().failed(&error);
    }

    /// Looks whether the upstream answers and accepts the API key. Costs nothing and is never refused.
    pub async fn look(&self) -> Result<Probe, UpstreamError> {
        let looked = self.policy.looks.look().await;
        match &looked {
            Ok(probe) => self.seen.lock().looked(probe),
            Err(error) => self.seen.lock().failed(error),
        }
        looked
    }

    /// True when an operation succeeded within the last `period`, which makes a look superfluous.
    pub fn has_served_within(&self, period: Duration) -> bool {
        let last = self.seen.lock().last_success;
        last.is_some_and(|last| self.clock.tick().since(last) < period)
    }

    /// Writes the counts of folded log lines when their minute is over, or at once when `even_early`.
    pub fn sum_up(&self, even_early: bool) {
        self.policy.lines.sum_up(even_early);
    }

    /// Returns the upstream's condition, from what was last seen of it.
    pub fn condition(&self) -> Condition {
        self.seen.lock().condition()
    }

    /// Returns how long the upstream's last good answer took.
    pub fn latency(&self) -> Option<Duration> {
        self.seen.lock().latency
    }
}
