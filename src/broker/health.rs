//! Health of the service, from what its parts already know. Sends no request and waits for nothing.

use std::time::Duration;

use serde::Serialize;

use super::Broker;
use crate::domain::Condition;
use crate::metrics::Reading;
use crate::telemetry;
use crate::upstream::{KeyHealth, UpstreamError};

/// The condition of the service in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Everything works.
    Healthy,
    /// Something is wrong, but requests are worth sending.
    Degraded,
    /// Requests would fail.
    Unhealthy,
}

/// Whether a load balancer should send requests to this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Requests are served.
    Ready,
    /// The service is about to stop.
    Draining,
    /// No issuer's keys are there yet, so no credential can be verified.
    WaitingForIssuers,
    /// Nothing can be recorded, so nothing is minted.
    WaitingForLedger,
}

/// The conditions of the service and of its parts.
#[derive(Clone, Debug)]
pub struct Health {
    /// The service as a whole.
    pub status: Status,
    /// The upstream.
    pub upstream: Condition,
    /// The duration of the upstream's last good answer.
    pub upstream_latency: Option<Duration>,
    /// The API keys that may start operations, in the order of the settings.
    pub keys: Vec<KeyHealth>,
    /// The limits: degraded while they are not exact, or a budget of everybody is used up.
    pub limits: Condition,
    /// The record of use and of sessions.
    pub ledger: Condition,
    /// The issuers of credentials; `None` when callers are not asked for credentials.
    pub identity: Option<Condition>,
    /// The number of live sessions.
    pub live: u64,
    /// The counts of requests.
    pub reading: Reading,
}

impl Broker {
    /// Returns the condition of the service and of its parts.
    pub fn health(&self) -> Health {
        let parts = &self.0.parts;
        let limits = if parts.gate.is_whole() {
            Condition::Operational
        } else {
            Condition::Degraded
        };
        let identity = parts.auth.as_ref().map(|auth| auth.condition());
        let (upstream, ledger) = (parts.upstream.condition(), parts.records.condition());
        let all = [upstream, limits, ledger, identity.unwrap_or_default()];
        // Trouble of the upstream affects every replica, so no replica leaves the load balancer because of it. Without its records
        // this replica can mint nothing.
        let status = if self.is_draining() || ledger == Condition::Down {
            Status::Unhealthy
        } else if all.into_iter().max() > Some(Condition::Operational) {
            Status::Degraded
        } else {
            Status::Healthy
        };
        Health {
            status,
            upstream,
            upstream_latency: parts.upstream.latency(),
            keys: parts.upstream.keys(),
            limits,
            ledger,
            identity,
            live: self.0.sessions.live(),
            reading: parts.vitals.read(),
        }
    }

    /// Returns whether a load balancer should send requests here. Trouble of the upstream is no reason not to: every
    /// other replica has it, too.
    pub fn readiness(&self) -> Readiness {
        let auth = self.0.parts.auth.as_ref();
        if self.is_draining() {
            Readiness::Draining
        } else if auth.is_some_and(|auth| !auth.is_ready()) {
            Readiness::WaitingForIssuers
        } else if self.0.parts.records.condition() == Condition::Down {
            Readiness::WaitingForLedger
        } else {
            Readiness::Ready
        }
    }

    /// Probes whether the upstream answers and accepts the API keys. Skips keys that a mint has proved good within
    /// `unless_within`. Costs nothing; called periodically.
    pub async fn look_upstream(&self, unless_within: Duration) {
        let looks = self.0.parts.upstream.look(unless_within).await;
        for error in looks.into_iter().filter_map(Result::err) {
            if let UpstreamError::KeyRejected(complaint) = error {
                self.0.note_rejected_key(&complaint);
            } else {
                tracing::warn!(
                    cause = telemetry::chain(&error),
                    "probe of the upstream failed, health is degraded; mints are still tried"
                );
            }
        }
    }

    /// Writes the counts of folded log lines of the upstream when their minute is over, or at once when `even_early`.
    pub fn sum_up(&self, even_early: bool) {
        self.0.parts.upstream.sum_up(even_early);
    }

    /// Removes ended sessions, and client secrets that are too old to be handed over again.
    pub async fn sweep(&self) {
        self.0.latest.retain(|_, latest| self.0.is_worth_it(latest));
        let bounds = &self.0.rules.session;
        let swept = self
            .0
            .sessions
            .sweep(bounds.max_age, bounds.max_total.into());
        if let Err(error) = swept.await {
            tracing::warn!(
                cause = telemetry::chain(&error),
                "ended sessions could not be removed from the database; retrying in ten seconds"
            );
        }
    }
}
