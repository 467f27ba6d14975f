//! Owns the contract of minters: how a client secret is obtained from whoever gives them.

mod breaker;
pub mod guarded;
pub mod openai;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OwnedSemaphorePermit;

use crate::clock::Timestamp;
use crate::domain::{ClientSecret, Party, Persona, SessionText};

/// What is to be minted.
#[derive(Clone, Debug)]
pub struct MintOrder {
    /// The persona it is for.
    pub persona: Arc<Persona>,
    /// The session object that goes along: the persona's, as it speaks to this listener.
    pub session: SessionText,
    /// How long the secret may open upstream sessions.
    pub lifetime: Duration,
    /// On whose behalf: the provider learns only a keyed hash of it.
    pub behalf: Party,
}

/// What a free look at the upstream showed.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// How long it took to answer.
    pub latency: Duration,
    /// What time the upstream says it is.
    pub upstream_time: Option<Timestamp>,
    /// True when our key may list models. Minting does not need that.
    pub lists_models: bool,
}

/// Why there is no client secret.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection, or it broke before the answer was complete: if a secret was minted, nobody holds it.
    #[error("the upstream could not be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time. Whether a secret was minted is not known.
    #[error("the upstream did not answer in time")]
    TimedOut,
    /// It failed on its side.
    #[error("the upstream failed with status {status}")]
    Broken {
        /// Its status.
        status: u16,
        /// How long it asked us to wait.
        retry_after: Option<Duration>,
    },
    /// It asked us to slow down.
    #[error("the upstream asked us to slow down")]
    RateLimited {
        /// How long it asked us to wait.
        retry_after: Option<Duration>,
    },
    /// The account has no money left. Retrying does not help.
    #[error("the upstream account's quota is used up")]
    QuotaExhausted,
    /// It does not take our API key, or not for this.
    #[error("the upstream rejected the API key with status {status}")]
    KeyRejected {
        /// Its status.
        status: u16,
    },
    /// It refused what we asked for.
    #[error("the upstream refused the request with status {status} ({code})")]
    Refused {
        /// Its status.
        status: u16,
        /// Its code and the field it names, cleaned for a log.
        code: String,
    },
    /// It answered something that is not a client secret.
    #[error("the upstream's answer is not a client secret: {0}")]
    Invalid(&'static str),
    /// We already ask as much of it as we may.
    #[error("too many mints are under way")]
    Overloaded {
        /// When there is room again.
        retry_after: Duration,
    },
    /// It failed so often of late that we leave it alone for a while.
    #[error("the upstream is being left alone after repeated failures")]
    Resting {
        /// When it is asked again.
        retry_after: Duration,
    },
}

impl UpstreamError {
    /// True when certainly nobody holds a secret, so that what was taken for it can be given back.
    pub const fn is_definite(&self) -> bool {
        !matches!(self, Self::TimedOut | Self::Invalid(_))
    }

    /// As records call it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Broken { .. } => "broken",
            Self::RateLimited { .. } => "rate_limited",
            Self::QuotaExhausted => "quota_exhausted",
            Self::KeyRejected { .. } => "key_rejected",
            Self::Refused { .. } => "refused",
            Self::Invalid(_) => "invalid",
            Self::Overloaded { .. } => "overloaded",
            Self::Resting { .. } => "resting",
        }
    }

    /// How long to wait before it is worth trying again.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Broken { retry_after, .. } | Self::RateLimited { retry_after } => *retry_after,
            Self::Overloaded { retry_after } | Self::Resting { retry_after } => Some(*retry_after),
            Self::QuotaExhausted | Self::KeyRejected { .. } => Some(guarded::LONG_REST),
            Self::Unreachable(_) | Self::TimedOut | Self::Refused { .. } | Self::Invalid(_) => None,
        }
    }
}

/// The right to ask the upstream for one client secret, in our own pace. Dropped, its room is free again.
#[derive(Debug, Default)]
pub struct Turn {
    room: Option<OwnedSemaphorePermit>,
}

/// Obtains client secrets.
///
/// Safe to cancel in the sense that nothing of ours breaks; but a secret may then have been minted that nobody
/// holds, so the broker does not cancel.
#[async_trait]
pub trait Minter: Send + Sync {
    /// Waits, briefly, for a turn. What fails here has asked nobody and left nothing behind, so it comes before anything
    /// is written down.
    async fn turn(&self) -> Result<Turn, UpstreamError> {
        Ok(Turn::default())
    }

    /// Obtains one client secret, in that turn.
    async fn mint(&self, order: &MintOrder, turn: Turn) -> Result<ClientSecret, UpstreamError>;

    /// Asks something that costs nothing, to see whether the upstream answers and takes our key.
    async fn probe(&self) -> Result<Probe, UpstreamError>;
}
