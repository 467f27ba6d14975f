//! Owns the decisions: who gets a client secret, in what order of effects, and what is kept of it.

mod account;
mod health;
mod mint;
mod refresh;
mod spent;
mod undelivered;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

pub use health::{Health, Status};
pub use mint::{Choice, MintRequest};

use crate::audit::{Audit, Event};
use crate::clock::{Clock, Timestamp};
use crate::domain::{
    Account, ClientSecret, EntryId, Party, PersonaName, Personas, Quotas, RefreshRules, SessionId,
    SessionSeal,
};
use crate::gate::Used;
use crate::records::{Records, RecordsError, UsageQuery, UsageRow};
use crate::store::{SessionStore, StoreError};
use crate::upstream::{Kind, Upstream, UpstreamError};
use crate::vitals::Vitals;
use spent::Spent;
use undelivered::Undelivered;

/// The doors a broker goes through.
#[derive(Clone)]
pub struct Parts {
    /// Where client secrets come from.
    pub upstream: Arc<Upstream>,
    /// Where sessions rest.
    pub store: Arc<dyn SessionStore>,
    /// Where use is recorded and counted.
    pub ledger: Arc<dyn Records>,
    /// Where what happened is written down.
    pub audit: Arc<Audit>,
    /// What was done is counted here.
    pub vitals: Arc<Vitals>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// What the operator decided.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The presets callers may choose from.
    pub personas: Arc<Personas>,
    /// What identities may use in a month.
    pub quotas: Quotas,
    /// How long a client secret may open upstream sessions.
    pub lifetime: Duration,
    /// What bounds the refreshes of a session.
    pub refresh: RefreshRules,
}

/// What the broker gives back: a session, and a client secret minted under it.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The handle to refresh with.
    pub session_id: SessionId,
    /// What the ledger calls this use.
    pub entry: EntryId,
    /// The client secret.
    pub secret: ClientSecret,
    /// The persona it was minted for.
    pub persona: PersonaName,
    /// How long the upstream took.
    pub upstream_took: Duration,
}

/// Why there is no grant.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No persona has that name.
    #[error("there is no such persona")]
    UnknownPersona,
    /// The persona is not for the caller's role.
    #[error("the persona is not for this caller")]
    PersonaNotAllowed,
    /// No live session of this caller has that id.
    #[error("there is no such session")]
    UnknownSession,
    /// The session minted too short a time ago.
    #[error("the session was refreshed too recently")]
    TooSoon {
        /// How long until it may be refreshed.
        wait: Duration,
    },
    /// The session has used up its refreshes.
    #[error("the session has used up its refreshes")]
    Exhausted,
    /// The service is about to stop.
    #[error("the service is shutting down")]
    ShuttingDown,
    /// The identity has used up its quota.
    #[error("the identity has used up its quota")]
    QuotaExceeded {
        /// How long until there is a new one.
        wait: Duration,
    },
    /// It could not be written down, so nothing was minted.
    #[error("use could not be recorded before it happened")]
    NotRecorded(#[source] RecordsError),
    /// A client secret was minted, but that could not be written down, so nobody gets it.
    #[error("use could not be recorded after it happened")]
    NotSettled(#[source] RecordsError),
    /// The record of use could not be read.
    #[error("the record of use could not be read")]
    NotRead(#[source] RecordsError),
    /// The upstream gave none.
    #[error("no client secret was minted")]
    Upstream {
        /// Why.
        #[source]
        error: UpstreamError,
        /// How long that took.
        took: Duration,
    },
    /// The session could not be looked up, so nothing was minted.
    #[error("the session could not be looked up")]
    NotLookedUp(#[source] StoreError),
    /// The session could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The work ended without an outcome: it panicked.
    #[error("the work ended without an outcome")]
    Lost,
}

impl BrokerError {
    /// Returns what a request that failed so has used up.
    pub fn used(&self) -> Used {
        match self {
            Self::UnknownPersona
            | Self::PersonaNotAllowed
            | Self::UnknownSession
            | Self::TooSoon { .. }
            | Self::Exhausted => Used::Request,
            Self::ShuttingDown
            | Self::QuotaExceeded { .. }
            | Self::NotRecorded(_)
            | Self::NotRead(_)
            | Self::NotLookedUp(_) => Used::Nothing,
            Self::NotSettled(_) | Self::Store(_) | Self::Lost => Used::Mint,
            Self::Upstream { error, .. } => {
                let facts = error.facts();
                match facts.kind {
                    _ if !facts.is_definite => Used::Mint,
                    // The provider will refuse the same request again, so the window must hold the caller.
                    Kind::Invalid => Used::Request,
                    Kind::Unavailable | Kind::TimedOut | Kind::Overloaded => Used::Nothing,
                }
            }
        }
    }
}

/// What becomes of a grant whose caller has left.
#[derive(Clone, Copy)]
enum IfLeft {
    /// Nobody else can ask for it.
    Forget,
    /// Its caller may come back for it.
    Keep,
}

/// Decides. Cheap to clone.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    parts: Parts,
    rules: Rules,
    seal: SessionSeal,
    undelivered: Undelivered,
    spent: Spent,
    work: TaskTracker,
    draining: AtomicBool,
    closed: AtomicBool,
}

impl Broker {
    /// A broker that goes through `parts` by `rules`, and stores sessions under `seal`.
    pub fn new(parts: Parts, rules: Rules, seal: SessionSeal) -> Self {
        let undelivered = Undelivered::new(rules.refresh.min_interval);
        Self(Arc::new(Inner {
            parts,
            rules,
            seal,
            undelivered,
            spent: Spent::default(),
            work: TaskTracker::new(),
            draining: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }))
    }

    /// Says on `/readyz` and `/health` that the service is about to stop. Work is still taken in.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
    }

    /// True once [`Broker::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }

    /// Ends all sessions of `account`: none of them can be refreshed any more. How many there were. When it fails, those that are
    /// out of reach live on for a while.
    pub async fn end_sessions(&self, account: &Account) -> Result<usize, BrokerError> {
        let parts = &self.0.parts;
        let ended = parts.store.end(Party::Identity(account.key())).await;
        let identity = &*account.subject;
        let details = match &ended {
            Ok(ended) => json!({ "identity": identity, "ended": ended }),
            Err(_) => json!({ "identity": identity, "everywhere": false }),
        };
        parts.audit.note(Event::SessionsEnded, details);
        Ok(ended?)
    }

    /// Sums up use.
    pub async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, BrokerError> {
        let rows = self.0.parts.ledger.usage(query).await;
        rows.map_err(BrokerError::NotRead)
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.0.parts.clock.now()
    }

    /// Takes no more work in, and waits for what is under way.
    pub async fn finish(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.work.close();
        self.0.work.wait().await;
    }

    /// Runs paid work to its end even if the caller leaves: hyper drops the handler when the connection closes, and a
    /// mint half-way would be a live secret that nobody accounts for.
    async fn carry_through<F>(&self, work: F, if_left: IfLeft) -> Result<Grant, BrokerError>
    where
        F: Future<Output = Result<Grant, BrokerError>> + Send + 'static,
    {
        if self.0.closed.load(Ordering::SeqCst) {
            return Err(BrokerError::ShuttingDown);
        }
        let (hand_over, outcome) = oneshot::channel();
        let inner = Arc::clone(&self.0);
        let carried = async move {
            if let Err(Ok(grant)) = hand_over.send(work.await) {
                inner
                    .note_undelivered(grant.entry, grant.upstream_took)
                    .await;
                if let IfLeft::Keep = if_left {
                    inner.keep(grant);
                }
            }
        };
        // Its log lines name the request that it belongs to.
        self.0.work.spawn(carried.in_current_span());
        outcome.await.unwrap_or(Err(BrokerError::Lost))
    }
}
