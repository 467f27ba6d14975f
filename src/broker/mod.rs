//! The decisions: who gets a client secret, in which order the effects happen, and what is recorded.

mod agreement;
mod alerts;
mod audited;
mod call;
mod grant;
mod health;
mod measure;
mod mint;
mod recount;
mod refresh;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use quick_cache::sync::Cache;
use serde_json::json;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

pub use agreement::Agreement;
pub use call::{
    AnswerCut, Answered, Attachment, CallRequest, Line, LineEnd, Listening, Order, Part, Passes,
    RelayEnd, RelayRequest, Relayed, Transcribed, TranscriptionRequest, Upload, UploadError, Which,
};
pub use grant::Grant;
pub use health::{Health, Readiness, Status};
pub use mint::{Choice, MintRequest};
pub use recount::Recount;

use crate::audit::{Audit, Event};
use crate::auth::Authenticator;
use crate::clock::{Clock, Tick, Timestamp};
use crate::config::{
    CallSettings, LiveSettings, RelaySettings, SessionSettings, TranscriptionSettings,
};
use crate::domain::{
    Account, Caller, ConnectMode, EndReason, EntryId, Exhausted, IdentityKey, Party, RefreshRules,
    Refusal, SessionKey, TicketRefusal, Unpriced,
};
use crate::gate::{Gate, Pass, Used};
use crate::metrics::Vitals;
use crate::records::{Exceeded, LookUpError, Records, RecordsError, Sessions};
use crate::upstream::{self, Facts, Upstream, UpstreamError};
use alerts::{Sightings, Stock};
use audited::Delivery;
use call::Watches;

/// Most identities whose used-up quota is remembered.
const SPENT_CAPACITY: usize = 10_000;

/// The rooms that a broker uses.
#[derive(Clone)]
pub struct Parts {
    /// The source of client secrets.
    pub upstream: Arc<Upstream>,
    /// The gate, where limits are decided.
    pub gate: Gate,
    /// The issuers' keys; `None` when callers are not asked for credentials.
    pub auth: Option<Arc<Authenticator>>,
    /// The record of use and of sessions.
    pub records: Arc<dyn Records>,
    /// The log of security events.
    pub audit: Arc<Audit>,
    /// The counts of requests and refreshes.
    pub vitals: Arc<Vitals>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// The operator's rules that hold for a whole run.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The bounds of sessions and client secrets.
    pub session: SessionSettings,
    /// How pages connect when neither the persona nor the request says otherwise.
    pub connect: ConnectMode,
    /// The limits of calls.
    pub call: CallSettings,
    /// What holds for calls of GPT-Live.
    pub live: LiveSettings,
    /// The transcription of recordings.
    pub transcription: TranscriptionSettings,
    /// How relays are carried.
    pub relay: RelaySettings,
    /// The time between the beginning of a drain and the end of this replica.
    pub drain_time: Duration,
}

/// Why there is no grant.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No persona has that name.
    #[error("there is no such persona")]
    UnknownPersona,
    /// The persona may not be used in that mode.
    #[error("the persona may not be used in that mode")]
    ModeNotAllowed,
    /// The persona is not for the caller's role.
    #[error("the persona is not for this caller")]
    PersonaNotAllowed,
    /// Programs of the caller's role may not attach to calls.
    #[error("programs of this role may not attach to calls")]
    RoleNotAllowed,
    /// No live session has that id, or it is not this caller's.
    #[error("there is no such session")]
    UnknownSession,
    /// The account's sessions were ended before the client secret could be handed over.
    #[error("the sessions were ended meanwhile")]
    Ended,
    /// The call was ended while it was dialled.
    #[error("the call was ended while it was dialled")]
    CallEnded,
    /// No call of this caller has that id.
    #[error("there is no such call")]
    UnknownCall,
    /// The ticket opens nothing.
    #[error(transparent)]
    Ticket(#[from] TicketRefusal),
    /// A page offered video, which its persona does not take.
    #[error("the persona takes no video")]
    VideoNotAllowed,
    /// A page sent settings of a session whose persona takes nothing but an offer.
    #[error("the persona takes nothing but an offer")]
    OffersOnly,
    /// A page asked for another value of a field that its persona pins.
    #[error("the persona pins session.{0}")]
    Pinned(&'static str),
    /// A client asked for a session that only transcribes, and the persona carries a conversation.
    #[error("the persona carries a conversation")]
    Converses,
    /// As many calls are live as the setting of that name allows.
    #[error("as many calls are live as {0} allows")]
    TooManyCalls(&'static str),
    /// The cost of calls is limited, and a model of the persona has no price.
    #[error("the cost of calls is limited, and a model has no price")]
    NoPrice(#[source] Unpriced),
    /// A caller named a model that the operator does not allow.
    #[error("the model is not one of those that callers may name")]
    ModelNotAllowed,
    /// The upload of a recording cannot be sent on.
    #[error(transparent)]
    Upload(UploadError),
    /// The provider refused the recording, or the fields beside it.
    #[error("the provider refused the recording")]
    RecordingRefused(#[source] UpstreamError),
    /// A call with the same `Idempotency-Key` was opened before.
    #[error("a call with the same Idempotency-Key was opened before")]
    Repeated(EntryId),
    /// The records could not be read. Nothing was changed.
    #[error("the records could not be read")]
    NotRead(#[source] RecordsError),
    /// The session may not be refreshed by this caller now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many sessions are being looked up.
    #[error("too many sessions are being looked up")]
    Crowded,
    /// The service is about to stop.
    #[error("the service is shutting down")]
    ShuttingDown,
    /// The identity has used up its quota.
    #[error("the identity has used up its quota")]
    QuotaExceeded {
        /// The quota.
        quota: Exceeded,
        /// The time until the quota begins anew.
        wait: Duration,
    },
    /// A budget of calls is used up.
    #[error("a budget of calls is used up")]
    Exhausted {
        /// The budget.
        budget: Exhausted,
        /// The time until the next period begins.
        wait: Duration,
    },
    /// The records could not be read or written, so nothing was asked of the upstream.
    #[error("the records could not be read or written, so the upstream was not asked")]
    NotRecorded(#[source] RecordsError),
    /// A client secret was minted, but that could not be recorded, so nobody gets it.
    #[error("use could not be recorded after it happened")]
    NotSettled(#[source] RecordsError),
    /// The upstream minted no client secret, or answered no offer.
    #[error("the upstream did not do what was asked")]
    Upstream {
        /// The reason.
        #[source]
        error: UpstreamError,
        /// What the reason means for a mint, or for a call.
        facts: Box<Facts>,
        /// The time that the operation took.
        took: Duration,
    },
    /// The work panicked.
    #[error("the work ended without an outcome")]
    Lost,
}

impl BrokerError {
    /// Returns the failure of a mint.
    fn mint(error: UpstreamError, took: Duration) -> Self {
        let facts = Box::new(error.facts());
        Self::Upstream { error, facts, took }
    }

    /// Returns the failure of a call.
    fn call(error: UpstreamError, took: Duration) -> Self {
        let facts = Box::new(error.facts_of_call());
        Self::Upstream { error, facts, took }
    }

    /// Returns the code that records keep of a call that was created and hung up at once.
    fn records_code(&self) -> &'static str {
        match self {
            Self::Upstream { facts, .. } => facts.code,
            Self::Ended | Self::CallEnded => "ended",
            Self::Upload(_) | Self::ModelNotAllowed => "upload",
            _ => "ledger_unavailable",
        }
    }

    /// Returns what a request that failed with this error has used up.
    pub fn used(&self) -> Used {
        match self {
            Self::UnknownPersona
            | Self::ModeNotAllowed
            | Self::PersonaNotAllowed
            | Self::RoleNotAllowed
            | Self::UnknownSession
            | Self::UnknownCall
            | Self::Ticket(_)
            | Self::Pinned(_)
            | Self::Converses
            | Self::OffersOnly
            | Self::VideoNotAllowed
            | Self::ModelNotAllowed
            | Self::Upload(_)
            | Self::RecordingRefused(_)
            | Self::Refused(_) => Used::Request,
            Self::ShuttingDown
            | Self::QuotaExceeded { .. }
            | Self::Exhausted { .. }
            | Self::Crowded
            | Self::TooManyCalls(_)
            | Self::Repeated(_)
            | Self::NoPrice(_)
            | Self::NotRead(_)
            | Self::NotRecorded(_) => Used::Nothing,
            Self::Ended | Self::CallEnded | Self::NotSettled(_) | Self::Lost => Used::Mint,
            Self::Upstream { facts, .. } => match facts {
                facts if !facts.is_definite => Used::Mint,
                // The provider will refuse the same request again, so the window must hold the caller.
                facts if facts.kind == upstream::Kind::Invalid => Used::Request,
                _ => Used::Nothing,
            },
        }
    }
}

impl From<LookUpError> for BrokerError {
    fn from(error: LookUpError) -> Self {
        match error {
            LookUpError::Unknown => Self::UnknownSession,
            LookUpError::Refused(refusal) => Self::Refused(refusal),
            LookUpError::Crowded => Self::Crowded,
            LookUpError::Unavailable(error) => Self::NotRecorded(error),
        }
    }
}

/// The broker. Cheap to clone.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    parts: Parts,
    rules: Rules,
    agreement: RwLock<Arc<Agreement>>,
    refresh_rules: RefreshRules,
    sessions: Sessions,
    /// The last grant of each session, while its client secret is worth handing over again. In memory only.
    latest: Cache<SessionKey, Latest>,
    /// Quotas that were found used up, and when, so that a repeated request costs the database nothing.
    spent: Cache<IdentityKey, (Exceeded, Tick)>,
    /// The figures of all replicas, as the records last had them.
    stock: Mutex<Stock>,
    sightings: Sightings,
    watches: Watches,
    /// The transcriptions that may begin at the moment.
    transcribing: Arc<Semaphore>,
    work: TaskTracker,
    draining: CancellationToken,
}

/// The last grant of a session.
#[derive(Clone)]
struct Latest {
    owner: Party,
    grant: Arc<Grant>,
    /// A time before the database dated the mint. The shortest interval until the next mint begins no earlier than this.
    since: Tick,
}

impl Broker {
    /// Returns a broker that uses `parts` by `rules`, and by `agreement` until another one is taken over.
    pub fn new(parts: Parts, rules: Rules, agreement: Agreement) -> Self {
        let (records, clock) = (Arc::clone(&parts.records), Arc::clone(&parts.clock));
        let capacity = rules.session.max_total as usize;
        Self(Arc::new(Inner {
            sessions: Sessions::new(records, clock, capacity),
            refresh_rules: rules.session.refresh(),
            transcribing: Arc::new(Semaphore::new(rules.transcription.max_in_flight)),
            parts,
            rules,
            agreement: RwLock::new(Arc::new(agreement)),
            latest: Cache::new(capacity),
            spent: Cache::new(SPENT_CAPACITY),
            stock: Mutex::default(),
            sightings: Sightings::default(),
            watches: Watches::new(),
            work: TaskTracker::new(),
            draining: CancellationToken::new(),
        }))
    }

    /// Makes `/readyz` and `/health` say that the service is about to stop. Work is still accepted.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    /// True once [`Broker::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }

    /// Ends all sessions of `account`, on every replica. Returns their number.
    pub async fn end_sessions(&self, account: &Account) -> Result<u64, BrokerError> {
        let parts = &self.0.parts;
        let owner = Party::Identity(account.key());
        let end = async {
            // Mints and refreshes in flight deliver no client secret any more.
            let always = Timestamp::from_millis(u64::MAX);
            parts.records.give_up(always, Some(account)).await?;
            parts.records.end_sessions(owner).await
        };
        let ended = end.await.map_err(BrokerError::NotRecorded)?;
        self.0.sessions.ended(owner, ended);
        self.0.latest.retain(|_, latest| latest.owner != owner);
        let details = json!({ "identity": &*account.subject, "ended": ended });
        parts.audit.note(Event::SessionsEnded, details);
        let theirs = Which::Of(account.clone());
        self.end_calls(&theirs, EndReason::LoggedOut).await?;
        Ok(ended)
    }

    /// Runs work that outlives its request, like a relay. [`Broker::finish`] waits for it.
    pub fn carry_on(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.work.spawn(work.in_current_span());
    }

    /// Accepts no more work, and waits for the work in progress.
    pub async fn finish(&self) {
        self.0.work.close();
        self.0.work.wait().await;
        self.let_calls_go().await;
    }

    /// Runs paid work for `caller` to its end even if the caller leaves: hyper drops the handler when the connection closes,
    /// and a mint half-way would be a live secret that nobody accounts for. The pass goes along, so that what the work did
    /// not use up is given back even then. The work is boxed by its maker: it is large, and would be moved many times.
    async fn carry_through<T: Delivery>(
        &self,
        caller: Arc<Caller>,
        work: BoxFuture<'static, Result<Arc<T>, BrokerError>>,
        pass: Pass,
    ) -> Result<Arc<T>, BrokerError> {
        if self.0.work.is_closed() {
            return pass.spend(Err(BrokerError::ShuttingDown), BrokerError::used);
        }
        let (hand_over, outcome) = oneshot::channel();
        let inner = Arc::clone(&self.0);
        pass.begin();
        let carried = async move {
            let done = pass.spend(work.await, BrokerError::used);
            inner.audit(&caller, &done);
            if let Err(Ok(done)) = hand_over.send(done) {
                done.undelivered(&inner).await;
            }
        };
        // The log lines of the spawned work name its request.
        self.0.work.spawn(carried.in_current_span());
        outcome.await.unwrap_or(Err(BrokerError::Lost))
    }
}
