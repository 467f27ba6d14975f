//! The provider: one policy before every operation that starts something, one lane for all that must not be refused.

mod breaker;
mod calls;
mod connections;
mod error;
mod key;
mod keyring;
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

use crate::clock::{Clock, Tick, Timestamp};
use crate::config;
use crate::config::ApiKey;
use crate::domain::{
    Caller, ClientSecret, Condition, KeyFingerprint, Party, PersonaName, SessionText, UpstreamCall,
};
use crate::metrics::Vitals;
use crate::spans::spanned;
use crate::websocket::{Bounds, Leg};
use calls::CallDesk;
pub use calls::{
    Begun, CallOrder, Calls, HungUp, Late, NotBegun, Pending, RelayLeg, RelayOrder, SideChannel,
};
pub use error::{Complaint, Facts, Kind, Trouble, UpstreamError, Verdict};
pub use key::{KeyHealth, KeyState};
use keyring::Keyring;
use openai::SetupError;
use policy::Policy;
pub use policy::Turn;
pub use transcription::{Answer, Piece, Transcription, TranscriptionOrder};
pub use wire::summary;

use watch::Seen;

/// Attempts at a mint. A second one is safe: a lost secret opens nothing for anybody.
const MINT_ATTEMPTS: u32 = 2;

/// Whom an operation is for. The API key may depend on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Payer<'a> {
    /// The persona.
    pub persona: Option<&'a PersonaName>,
    /// The verified role.
    pub role: Option<&'a str>,
}

impl<'a> Payer<'a> {
    /// Returns `caller` with the persona of this name.
    pub fn of(caller: &'a Caller, persona: &'a PersonaName) -> Self {
        Self {
            persona: Some(persona),
            role: caller.role(),
        }
    }
}

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

/// Asks the provider, one attempt at a time, with the API key of a fingerprint. Knows no bounds: those are the policy's.
///
/// Cancelling a mint breaks nothing here, but may leave a secret at the provider that nobody holds.
#[async_trait]
pub trait Minter: Send + Sync {
    /// Obtains one client secret.
    async fn mint(
        &self,
        order: &MintOrder,
        key: &KeyFingerprint,
    ) -> Result<ClientSecret, UpstreamError>;

    /// Asks for something free, to see whether the upstream answers and accepts the API key.
    async fn probe(&self, key: &KeyFingerprint) -> Result<Probe, UpstreamError>;

    /// Takes other API keys over. Those before them stay for the calls that they created.
    fn load(&self, keys: &[ApiKey]) -> Result<(), SetupError>;
}

/// The upstream, as the broker uses it.
pub struct Upstream {
    minter: Arc<dyn Minter>,
    desk: CallDesk,
    policy: Policy,
    seen: Mutex<Seen>,
    vitals: Arc<Vitals>,
    clock: Arc<dyn Clock>,
}

impl Upstream {
    /// Returns the upstream that `minter` and `calls` ask, within the bounds of `settings`. Counts in `vitals`.
    pub fn new(
        minter: Arc<dyn Minter>,
        calls: Arc<dyn Calls>,
        settings: &config::Upstream,
        vitals: Arc<Vitals>,
    ) -> Self {
        let clock = vitals.clock();
        let keys = Keyring::new(&settings.keys(), Arc::clone(&minter), Arc::clone(&clock));
        Self {
            minter,
            desk: CallDesk::new(calls, settings.timeout, Arc::clone(&clock)),
            policy: Policy::new(settings, keys, Arc::clone(&clock)),
            seen: Mutex::default(),
            vitals,
            clock,
        }
    }

    /// Takes the API keys of changed settings over, for everything that begins from now on. Calls under way keep the key that
    /// created them.
    pub fn load(&self, settings: &config::Upstream) -> Result<(), SetupError> {
        let keys = settings.keys();
        self.minter.load(&keys)?;
        self.policy.keys.load(&keys);
        let series = &self.vitals.series;
        series.key_rejected.clear();
        series.key_success.clear();
        self.measure();
        Ok(())
    }

    /// Waits briefly for a turn to start an operation for `payer`. Those who wait for their turn share the places by `party`,
    /// a neighbourhood or an identity. An error has left nothing behind.
    pub async fn turn(&self, party: Party, payer: Payer<'_>) -> Result<Turn, UpstreamError> {
        let turn = self.policy.turn(party, payer).await;
        turn.inspect_err(|error| {
            self.saw(error);
            self.count_failure("turn", error);
        })
    }

    /// Obtains one client secret.
    pub async fn mint(&self, order: &MintOrder, turn: Turn) -> Result<ClientSecret, UpstreamError> {
        let started = self.clock.tick();
        let operation = |key| async move { self.minter.mint(order, &key).await };
        let minting = self.policy.run(turn, MINT_ATTEMPTS, operation);
        let minted = spanned("mint", minting, code).await;
        self.note("mint", started, minted.as_ref().err());
        minted
    }

    /// Sends the offer of a call. Never repeated: a lost answer may have left a call at the provider.
    ///
    /// The call's id is known when this returns; write it down, then wait for [`Begun::answer`].
    pub async fn exchange(&self, order: CallOrder, turn: Turn) -> Result<Begun, NotBegun> {
        let started = self.clock.tick();
        let beginning = self.desk.exchange(order, turn, &self.policy);
        let of = |failed: &NotBegun| code(&failed.error);
        let begun = spanned("exchange", beginning, of).await;
        let error = begun.as_ref().err().map(|failed| &failed.error);
        self.note("exchange", started, error);
        begun
    }

    /// Opens the upstream session of a relay. Never repeated.
    pub async fn relay(&self, order: RelayOrder, turn: Turn) -> Result<RelayLeg, UpstreamError> {
        let started = self.clock.tick();
        let opening = self.desk.relay(order, turn, &self.policy);
        let opened = spanned("relay", opening, code).await;
        self.note("relay", started, opened.as_ref().err());
        opened
    }

    /// Joins the side channel of a call. Never refused by the bounds of what starts something.
    pub async fn join(&self, call: &UpstreamCall) -> Result<Box<dyn SideChannel>, UpstreamError> {
        let started = self.clock.tick();
        let joined = spanned("join", self.desk.join(call), code).await;
        self.count("join", started, joined.as_ref().err());
        joined
    }

    /// Joins the side channel of a GPT-Live session for a program. Never refused by the bounds of what starts something.
    pub async fn attach(&self, call: &UpstreamCall, bounds: Bounds) -> Result<Leg, UpstreamError> {
        let started = self.clock.tick();
        let joined = spanned("join", self.desk.attach(call, bounds), code).await;
        self.count("join", started, joined.as_ref().err());
        joined
    }

    /// Ends a call. Never refused by the bounds of what starts something. An error leaves the hang-up owed.
    pub async fn hang_up(&self, call: &UpstreamCall) -> Result<HungUp, UpstreamError> {
        let started = self.clock.tick();
        let hung_up = spanned("hang_up", self.desk.hang_up(call), code).await;
        self.count("hang_up", started, hung_up.as_ref().err());
        hung_up
    }

    /// Notes that a call has shown that the account of its API key has no credit left. The key starts nothing new for a while.
    pub fn has_no_credit(&self, key: &KeyFingerprint) {
        let error = UpstreamError::QuotaExhausted(Complaint {
            code: "insufficient_quota".to_owned(),
            ..429.into()
        });
        self.policy.learn(&error, key);
        self.saw(&error);
    }

    /// Looks whether the upstream answers and accepts the API keys that no operation succeeded with in the last `period`.
    /// Costs nothing and is never refused. Returns what each look has shown.
    pub async fn look(&self, period: Duration) -> Vec<Result<Probe, UpstreamError>> {
        let mut shown = Vec::new();
        for key in &*self.policy.keys.all() {
            let started = self.clock.tick();
            let served = key.last_success();
            if served.is_some_and(|last| started.since(last) < period) {
                continue;
            }
            let looked = self.policy.keys.look(key).await;
            self.count("probe", started, looked.as_ref().err());
            match &looked {
                Ok(probe) => self.seen.lock().looked(probe),
                Err(error) => self.saw(error),
            }
            shown.push(looked);
        }
        shown
    }

    /// Notes the outcome of an operation that started something.
    fn note(&self, operation: &str, started: Tick, failed: Option<&UpstreamError>) {
        let now = self.clock.tick();
        match failed {
            None => self.seen.lock().succeeded(now.since(started)),
            Some(error) => self.saw(error),
        }
        self.count(operation, started, failed);
    }

    /// Notes a failure, unless it is that of one API key, and another key serves the same callers.
    fn saw(&self, error: &UpstreamError) {
        let is_resting = matches!(error, UpstreamError::Resting { .. });
        let is_of_key =
            error.is_of_key() || (is_resting && !self.policy.is_resting(self.clock.tick()));
        if !(is_of_key && self.policy.keys.serve_everybody()) {
            self.seen.lock().failed(error);
        }
    }

    fn count(&self, operation: &str, started: Tick, failed: Option<&UpstreamError>) {
        let took = self.clock.tick().since(started);
        let outcome = if failed.is_none() { "ok" } else { "failed" };
        let durations = &self.vitals.series.upstream_duration;
        durations.observe([operation, outcome], took);
        if let Some(error) = failed {
            self.count_failure(operation, error);
        }
    }

    fn count_failure(&self, operation: &str, error: &UpstreamError) {
        let errors = &self.vitals.series.upstream_errors;
        errors.add([operation, code(error)], 1);
    }

    /// Writes what is known of the upstream at this moment into the series.
    pub fn measure(&self) {
        let (now, series) = (self.clock.tick(), &self.vitals.series);
        let is_resting = self.policy.is_resting(now);
        series.breaker_open.set([], f64::from(u8::from(is_resting)));
        for key in self.keys() {
            let is_rejected = key.state == KeyState::Rejected;
            let is_rejected = f64::from(u8::from(is_rejected));
            series.key_rejected.set([&key.alias], is_rejected);
            let last = key.last_success;
            let last = last.map_or(0.0, Timestamp::as_seconds_f64);
            series.key_success.set([&key.alias], last);
        }
    }

    /// Returns how each API key is that may start operations, in the order of the settings.
    pub fn keys(&self) -> Vec<KeyHealth> {
        self.policy.keys.health()
    }

    /// Returns the fingerprints of the API keys that may start operations, in the order of the settings.
    pub fn fingerprints(&self) -> Vec<KeyFingerprint> {
        let keys = self.policy.keys.all();
        keys.iter().map(|key| key.fingerprint.clone()).collect()
    }

    /// Returns the name by which the provider knows a party.
    pub fn safety_identifier(&self, party: &Party) -> String {
        self.desk.safety_identifier(party)
    }

    /// Returns the alias of the API key of this fingerprint, which may have been replaced since.
    pub fn alias_of(&self, key: &KeyFingerprint) -> Box<str> {
        self.policy.keys.alias_of(key)
    }

    /// Writes the counts of folded log lines when their minute is over, or at once when `even_early`.
    pub fn sum_up(&self, even_early: bool) {
        self.policy.lines.sum_up(even_early);
    }

    /// Returns the upstream's condition, from what was last seen of it. A key that is rejected degrades it, though others
    /// serve.
    pub fn condition(&self) -> Condition {
        let seen = self.seen.lock().condition();
        let is_rejected = |key: &KeyHealth| key.state == KeyState::Rejected;
        if self.keys().iter().any(is_rejected) {
            seen.max(Condition::Degraded)
        } else {
            seen
        }
    }

    /// Returns how long the upstream's last good answer took.
    pub fn latency(&self) -> Option<Duration> {
        self.seen.lock().latency
    }
}

/// Returns the failure in a word.
fn code(error: &UpstreamError) -> &'static str {
    error.facts().code
}
