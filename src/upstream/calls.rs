//! Calls at the provider: exchanging SDP, joining the side channel, hanging up.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{Fuse, FusedFuture, FutureExt};

use super::lane::Lane;
use super::policy::{Policy, Turn};
use super::{Transcription, TranscriptionOrder, UpstreamError};
use crate::clock::{Clock, Tick};
use crate::domain::{KeyFingerprint, Party, SessionText, UpstreamCall};
use crate::websocket::{Bounds, Leg};

/// The longest wait for the provider's answer to an offer, from its sending. A call that is created after the deadline of
/// the exchange, but within this time, is hung up.
const LATEST_ANSWER: Duration = Duration::from_mins(1);
/// The longest time to join a side channel once.
const JOIN_DEADLINE: Duration = Duration::from_secs(5);
/// Side channels that are joined at the same time. After a restart, many calls are joined again at once.
const JOINS_AT_ONCE: usize = 256;
/// The longest time of one hang-up.
const HANG_UP_DEADLINE: Duration = Duration::from_secs(5);
/// Hang-ups at the same time.
const HANG_UPS_AT_ONCE: usize = 64;

/// A result of the provider that is still to come. It borrows nothing, so it may outlive its caller.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T, UpstreamError>> + Send>>;

/// A call that is to be created.
#[derive(Clone)]
pub struct CallOrder {
    /// The SDP offer, byte for byte as the provider gets it. It holds addresses of the caller's network.
    pub offer: Bytes,
    /// The persona's session, whole: the model may speak as soon as the browser is connected.
    pub session: SessionText,
    /// On whose behalf: the provider learns only a keyed hash of it.
    pub behalf: Party,
}

impl fmt::Debug for CallOrder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CallOrder({} bytes of offer)", self.offer.len())
    }
}

/// A relay's upstream session that is to be opened.
#[derive(Clone, Debug)]
pub struct RelayOrder {
    /// The persona's model; `None` for the provider's choice.
    pub model: Option<Box<str>>,
    /// True for a session that only transcribes.
    pub is_transcription: bool,
    /// On whose behalf: the provider learns only a keyed hash of it.
    pub behalf: Party,
    /// The bounds of the connection.
    pub bounds: Bounds,
}

/// A relay's connection to the provider.
#[derive(Debug)]
pub struct RelayLeg {
    /// The connection.
    pub leg: Leg,
    /// The key that opened it.
    pub key: KeyFingerprint,
}

/// What a hang-up did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HungUp {
    /// The provider ended the call.
    Ended,
    /// The call was over already.
    WasOver,
}

/// The side channel of one call: events of the provider in, events of ours out.
///
/// Dropping it closes the connection without a close frame; the call goes on.
#[async_trait]
pub trait SideChannel: Send {
    /// Returns the next event, as the provider wrote it. `None` when the side channel is over, for any reason; the call may
    /// still run. Cancel-safe.
    async fn next(&mut self) -> Option<String>;

    /// Sends one event. Not cancel-safe: a cut frame ends the side channel.
    async fn send(&mut self, event: String) -> Result<(), UpstreamError>;

    /// Sends a close frame and waits, at most 5 s, until the provider has closed the connection.
    async fn close(self: Box<Self>);
}

/// Requests to the provider about calls, one attempt each. An operation that starts something uses the API key of the given
/// fingerprint; an operation on a call uses the key that created the call. The policy and the lanes bound these requests.
#[async_trait]
pub trait Calls: Send + Sync {
    /// Sends the offer, in the dialect of the session. Resolves when the call's id is known, before the answer is read.
    /// Dropping it before that may leave an unknown call at the provider.
    fn exchange(&self, order: CallOrder, key: &KeyFingerprint) -> Pending<Begun>;

    /// Returns the name by which the provider knows a party.
    fn safety_identifier(&self, party: &Party) -> String;

    /// Opens a session over a WebSocket, and relays it. Dropping the connection ends the session.
    fn relay(&self, order: RelayOrder, key: &KeyFingerprint) -> Pending<RelayLeg>;

    /// Sends a recording as its pieces come. Resolves when the answer begins.
    fn transcribe(&self, order: TranscriptionOrder, key: &KeyFingerprint)
    -> Pending<Transcription>;

    /// Joins the side channel of a call. [`UpstreamError::UnknownCall`] when the provider knows no such call, or not yet.
    async fn join(&self, call: &UpstreamCall) -> Result<Box<dyn SideChannel>, UpstreamError>;

    /// Joins the side channel of a GPT-Live session for a program. Fails as [`Calls::join`] does.
    async fn attach(&self, call: &UpstreamCall, bounds: Bounds) -> Result<Leg, UpstreamError>;

    /// Ends a call. [`UpstreamError::OtherKey`] when the provider does not know the call by the keys that are loaded.
    async fn hang_up(&self, call: &UpstreamCall) -> Result<HungUp, UpstreamError>;
}

/// A call that the provider has created, and whose SDP answer is on its way.
pub struct Begun {
    /// The call. Whoever holds this owes a hang-up.
    pub call: UpstreamCall,
    /// The provider's name for the request.
    pub request: Option<Box<str>>,
    answer: Pending<String>,
}

impl Begun {
    /// Returns a call whose answer is still to come.
    pub fn new((call, request): (UpstreamCall, Option<Box<str>>), answer: Pending<String>) -> Self {
        Self {
            call,
            request,
            answer,
        }
    }

    /// Waits for the SDP answer, within the deadline of the exchange. An error leaves the call at the provider.
    pub async fn answer(self) -> Result<String, UpstreamError> {
        self.answer.await
    }
}

impl fmt::Debug for Begun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Begun").field(&self.call).finish()
    }
}

/// An exchange that failed, as far as the caller is concerned.
#[derive(Debug)]
pub struct NotBegun {
    /// The reason.
    pub error: UpstreamError,
    /// The rest of the exchange, when the deadline has passed without an answer.
    pub late: Option<Late>,
}

impl From<UpstreamError> for NotBegun {
    fn from(error: UpstreamError) -> Self {
        Self { error, late: None }
    }
}

/// An exchange whose deadline has passed, and whose answer may still come.
pub struct Late(Pin<Box<dyn Future<Output = Option<Begun>> + Send>>);

impl Late {
    /// Waits until a minute after the offer was sent. Returns the call if it was created after all: it must be hung up.
    pub async fn begun(self) -> Option<Begun> {
        self.0.await
    }
}

impl fmt::Debug for Late {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Late")
    }
}

/// The provider's calls behind their bounds: the policy for what starts a call, lanes for what must never be refused.
pub(super) struct CallDesk {
    calls: Arc<dyn Calls>,
    joins: Lane,
    hang_ups: Lane,
    deadline: Duration,
    clock: Arc<dyn Clock>,
}

impl CallDesk {
    pub(super) fn new(calls: Arc<dyn Calls>, deadline: Duration, clock: Arc<dyn Clock>) -> Self {
        Self {
            calls,
            joins: Lane::new(JOINS_AT_ONCE, JOIN_DEADLINE, Arc::clone(&clock)),
            hang_ups: Lane::new(HANG_UPS_AT_ONCE, HANG_UP_DEADLINE, Arc::clone(&clock)),
            deadline,
            clock,
        }
    }

    /// Sends one offer, once for each key that the provider does not take, within the bounds of `policy`.
    pub(super) async fn exchange(
        &self,
        order: CallOrder,
        mut turn: Turn,
        policy: &Policy,
    ) -> Result<Begun, NotBegun> {
        let sent = self.clock.tick();
        let deadline = sent.plus(self.deadline);
        loop {
            let asked = self.calls.exchange(order.clone(), turn.key());
            let mut asked = asked.fuse();
            return match policy.once(&turn, deadline, &mut asked).await {
                Ok(begun) => Ok(self.bounded(begun, deadline)),
                Err(error @ UpstreamError::TimedOut) if !asked.is_terminated() => Err(NotBegun {
                    error,
                    late: Some(self.late(asked, sent.plus(LATEST_ANSWER))),
                }),
                Err(error) if turn.moves_on(&error) => continue,
                Err(error) => Err(error.into()),
            };
        }
    }

    /// Opens a relay's session, once for each key that the provider does not take, within the bounds of `policy`.
    pub(super) async fn relay(
        &self,
        order: RelayOrder,
        mut turn: Turn,
        policy: &Policy,
    ) -> Result<RelayLeg, UpstreamError> {
        let deadline = self.clock.tick().plus(self.deadline);
        loop {
            let asked = self.calls.relay(order.clone(), turn.key());
            match policy.once(&turn, deadline, asked).await {
                Err(error) if turn.moves_on(&error) => {}
                outcome => return outcome,
            }
        }
    }

    /// Sends a recording, once. Its bounds are the caller's.
    pub(super) fn transcribe(
        &self,
        order: TranscriptionOrder,
        turn: &Turn,
    ) -> Pending<Transcription> {
        self.calls.transcribe(order, turn.key())
    }

    /// Bounds the wait for the answer by `deadline`.
    fn bounded(&self, begun: Begun, deadline: Tick) -> Begun {
        let clock = Arc::clone(&self.clock);
        let answer = begun.answer;
        let answer = Box::pin(async move {
            let left = deadline.since(clock.tick());
            let answered = clock.timeout(left, answer).await;
            answered.unwrap_or(Err(UpstreamError::TimedOut))
        });
        Begun { answer, ..begun }
    }

    fn late(&self, asked: Fuse<Pending<Begun>>, deadline: Tick) -> Late {
        let clock = Arc::clone(&self.clock);
        Late(Box::pin(async move {
            let left = deadline.since(clock.tick());
            clock.timeout(left, asked).await.ok()?.ok()
        }))
    }

    pub(super) fn safety_identifier(&self, party: &Party) -> String {
        self.calls.safety_identifier(party)
    }

    pub(super) async fn join(
        &self,
        call: &UpstreamCall,
    ) -> Result<Box<dyn SideChannel>, UpstreamError> {
        self.joins.run(self.calls.join(call)).await
    }

    pub(super) async fn attach(
        &self,
        call: &UpstreamCall,
        bounds: Bounds,
    ) -> Result<Leg, UpstreamError> {
        self.joins.run(self.calls.attach(call, bounds)).await
    }

    pub(super) async fn hang_up(&self, call: &UpstreamCall) -> Result<HungUp, UpstreamError> {
        self.hang_ups.run(self.calls.hang_up(call)).await
    }
}
