//! Owns the answer to "how are you?": what the doors and the counts say, put together without waiting for the network.

use std::time::Duration;

use super::Broker;
use crate::domain::Condition;
use crate::telemetry;
use crate::upstream::UpstreamError;
use crate::vitals::Reading;

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
    pub live: u64,
    /// What the counts say.
    pub reading: Reading,
}

impl Broker {
    /// How the service is doing, when its limits and its issuers are doing as `limits` and `identity` say. Never asks the
    /// upstream.
    pub fn health(&self, limits: Condition, identity: Option<Condition>) -> Health {
        let parts = &self.0.parts;
        let (upstream, sessions) = (parts.upstream.condition(), parts.records.condition());
        let ledger = sessions;
        Health {
            status: self.overall(
                [upstream, limits, sessions, identity.unwrap_or_default()],
                [sessions, ledger],
            ),
            upstream,
            upstream_latency: parts.upstream.latency(),
            sessions,
            limits,
            ledger,
            identity,
            live: self.0.sessions.live(),
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

    /// Looks whether the upstream answers, unless a mint has shown that within `unless_within`. Costs nothing; called
    /// periodically.
    pub async fn look_upstream(&self, unless_within: Duration) {
        let upstream = &self.0.parts.upstream;
        if upstream.has_served_within(unless_within) {
            return;
        }
        match upstream.look().await {
            Ok(_) => {}
            Err(UpstreamError::KeyRejected(complaint)) => self.0.note_rejected_key(&complaint),
            Err(error) => tracing::warn!(
                cause = telemetry::chain(&error),
                "probe of the upstream failed, health is degraded; mints are still tried"
            ),
        }
    }

    /// Forgets what has ended: sessions, and grants that nobody came back for.
    pub async fn sweep(&self) {
        let now = self.0.parts.clock.tick();
        self.0.undelivered.sweep(now);
        self.0.spent.sweep(now);
        let rules = &self.0.rules;
        let (age, most) = (rules.refresh.max_age, rules.sessions.total.into());
        if let Err(error) = self.0.sessions.sweep(age, most).await {
            tracing::warn!(
                cause = telemetry::chain(&error),
                "ended sessions could not be removed from the database: tried again in ten seconds"
            );
        }
    }
}
