//! Owns the decisions: who gets a client secret, in what order of effects, and what is kept of it.

mod health;
mod mint;
mod refresh;
mod undelivered;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

pub use health::{Condition, Health, Status};
pub use mint::{Choice, MintRequest};

use crate::audit::Audit;
use crate::clock::Clock;
use crate::domain::{ClientSecret, PersonaName, Personas, RefreshRules, SessionId, SessionSeal};
use crate::store::{SessionStore, StoreError};
use crate::upstream::{Minter, UpstreamError};
use crate::vitals::Vitals;
use health::UpstreamWatch;
use undelivered::Undelivered;

/// The doors a broker goes through.
#[derive(Clone)]
pub struct Parts {
    /// Where client secrets come from.
    pub minter: Arc<dyn Minter>,
    /// Where sessions rest.
    pub store: Arc<dyn SessionStore>,
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
    /// The persona is for verified roles that the caller does not have.
    #[error("the persona is for other roles")]
    PersonaNotAllowed,
    /// No live session has that id, or none of this caller's.
    #[error("there is no such session")]
    UnknownSession {
        /// True when there is one, but it belongs to somebody else.
        foreign: bool,
    },
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
    /// The upstream gave none.
    #[error("no client secret was minted")]
    Upstream {
        /// Why.
        #[source]
        error: UpstreamError,
        /// How long that took.
        took: Duration,
    },
    /// The session could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The work ended without an outcome: it panicked.
    #[error("the work ended without an outcome")]
    Lost,
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
    upstream: UpstreamWatch,
    work: TaskTracker,
    draining: AtomicBool,
    closed: AtomicBool,
}

impl Broker {
    /// A broker that goes through `parts` by `rules`.
    pub fn new(parts: Parts, rules: Rules) -> Self {
        let undelivered = Undelivered::new(rules.refresh.min_interval);
        Self(Arc::new(Inner {
            parts,
            rules,
            seal: SessionSeal::random(),
            undelivered,
            upstream: UpstreamWatch::default(),
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
        self.0.work.spawn(async move {
            if let (Err(Ok(grant)), IfLeft::Keep) = (hand_over.send(work.await), if_left) {
                inner.keep(grant);
            }
        });
        outcome.await.unwrap_or(Err(BrokerError::Lost))
    }
}
