//! Owns the answer to "how are you?": what the doors and the counts say, put together without waiting for the network.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::Broker;
use crate::audit::Event;
use crate::clock::Tick;
use crate::records::RecordsCondition;
use crate::telemetry;
use crate::upstream::UpstreamError;
use crate::vitals::Reading;

/// How one part is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// As it should.
    #[default]
    Operational,
    /// It failed when it was last asked.
    Degraded,
    /// It is not being asked.
    Down,
}

/// How the service is doing, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Healthy,
    /// Something is wrong, but requests are worth sending.
    Degraded,
    /// Send no requests.
    Unhealthy,
}

/// How the service is doing.
#[derive(Clone, Debug)]
pub struct Health {
    /// In one word.
    pub status: Status,
    /// The upstream.
    pub upstream: Condition,
    /// How long the upstream's last good answer took.
    pub upstream_latency: Option<Duration>,
    /// Where sessions rest.
    pub sessions: Condition,
    /// Where requests are counted.
    pub limits: Condition,
    /// Where use is recorded.
    pub ledger: Condition,
    /// Who vouches for identities; `None` when nobody is asked.
    pub identity: Option<Condition>,
    /// How many sessions are live.
    pub live: usize,
    /// What the counts say.
    pub reading: Reading,
}

/// What the last dealings with the upstream showed.
#[derive(Default)]
pub(super) struct UpstreamWatch(Mutex<Seen>);

#[derive(Clone, Copy, Default)]
struct Seen {
    trouble: Option<Trouble>,
    latency: Option<Duration>,
    last_mint: Option<Tick>,
}

/// What is wrong, and who can tell that it no longer is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// It does not answer: any answer ends that.
    Silent,
    /// It is being left alone, for failing: any answer ends that.
    Resting,
    /// It answers, but does not mint: only a mint ends that.
    Refusing,
    /// It does not take our key: only a mint ends that.
    KeyRejected,
}

impl Trouble {
    /// What `error` says of the upstream; nothing when it is about us.
    fn of(error: &UpstreamError) -> Option<Self> {
        match error {
            // Our own pace.
            UpstreamError::Overloaded { .. } => None,
            UpstreamError::Resting { .. } => Some(Self::Resting),
            UpstreamError::KeyRejected { .. } => Some(Self::KeyRejected),
            UpstreamError::Unreachable(_)
            | UpstreamError::TimedOut
            | UpstreamError::Broken { .. } => Some(Self::Silent),
            UpstreamError::RateLimited { .. }
            | UpstreamError::QuotaExhausted
            | UpstreamError::Refused { .. }
            | UpstreamError::Invalid(_) => Some(Self::Refusing),
        }
    }
}

impl UpstreamWatch {
    /// What became of a mint, which took so long.
    pub(super) fn minted(&self, failure: Option<&UpstreamError>, took: Duration, now: Tick) {
        let mut seen = self.seen();
        match failure {
            None => {
                *seen = Seen {
                    trouble: None,
                    latency: Some(took),
                    last_mint: Some(now),
                }
            }
            Some(error) => seen.worsen(error),
        }
    }

    /// What became of a look.
    fn looked(&self, outcome: Result<Duration, &UpstreamError>) {
        let mut seen = self.seen();
        match outcome {
            Ok(latency) => {
                seen.latency = Some(latency);
                seen.trouble = seen
                    .trouble
                    .filter(|trouble| matches!(trouble, Trouble::Refusing | Trouble::KeyRejected));
            }
            Err(error) => seen.worsen(error),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// A rest says nothing that the failure before it did not say better.
    fn worsen(&mut self, error: &UpstreamError) {
        match Trouble::of(error) {
            Some(Trouble::Resting)
                if self
                    .trouble
                    .is_some_and(|trouble| trouble != Trouble::Silent) => {}
            Some(trouble) => self.trouble = Some(trouble),
            None => {}
        }
    }

    const fn condition(&self) -> Condition {
        match self.trouble {
            None => Condition::Operational,
            Some(Trouble::Silent | Trouble::Refusing) => Condition::Degraded,
            Some(Trouble::Resting | Trouble::KeyRejected) => Condition::Down,
        }
    }
}

impl Broker {
    /// How the service is doing, when its limits and its issuers are doing as `limits` and `identity` say. Never asks the
    /// upstream.
    pub async fn health(&self, limits: Condition, identity: Option<Condition>) -> Health {
        let parts = &self.0.parts;
        let seen = *self.0.upstream.seen();
        let live = parts.store.live().await;
        let (upstream, sessions) = (
            seen.condition(),
            match &live {
                Err(_) => Condition::Down,
                Ok(_) if parts.store.is_whole() => Condition::Operational,
                Ok(_) => Condition::Degraded,
            },
        );
        let ledger = match parts.ledger.condition() {
            RecordsCondition::Operational => Condition::Operational,
            RecordsCondition::Down => Condition::Down,
        };
        Health {
            status: self.overall(
                [upstream, limits, sessions, identity.unwrap_or_default()],
                [sessions, ledger],
            ),
            upstream,
            upstream_latency: seen.latency,
            sessions,
            limits,
            ledger,
            identity,
            live: live.unwrap_or_default(),
            reading: parts.vitals.read(),
        }
    }

    /// Trouble of `others`, the upstream's above all, is everybody's: it is no reason to leave the load balancer. Without
    /// `ours` nothing can be minted here.
    fn overall(&self, others: [Condition; 4], ours: [Condition; 2]) -> Status {
        if self.is_draining() || ours.contains(&Condition::Down) {
            Status::Unhealthy
        } else if others.iter().any(|part| *part != Condition::Operational) {
            Status::Degraded
        } else {
            Status::Healthy
        }
    }

    /// Looks whether the upstream answers, unless a mint has just shown it. Costs nothing; called once in a while.
    pub async fn look_upstream(&self, unless_within: Duration) {
        let parts = &self.0.parts;
        let fresh = |last: Tick| parts.clock.tick().since(last) < unless_within;
        let last_mint = self.0.upstream.seen().last_mint;
        if last_mint.is_some_and(fresh) {
            return;
        }
        let outcome = parts.minter.probe().await;
        self.0
            .upstream
            .looked(outcome.as_ref().map(|probe| probe.latency));
        match outcome {
            Ok(_) => {}
            Err(UpstreamError::KeyRejected { status }) => {
                parts
                    .audit
                    .note(Event::UpstreamKeyRejected, json!({ "status": status }));
            }
            Err(error) => tracing::warn!(
                cause = telemetry::chain(&error),
                "the upstream does not answer"
            ),
        }
    }

    /// Forgets what has ended: sessions, and grants that nobody came back for.
    pub async fn sweep(&self) {
        let now = self.0.parts.clock.tick();
        self.0.undelivered.sweep(now);
        self.0.spent.sweep(now);
        if let Err(error) = self.0.parts.store.sweep().await {
            tracing::warn!(
                cause = telemetry::chain(&error),
                "ended sessions could not be forgotten"
            );
        }
    }
}
