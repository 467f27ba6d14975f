//! Owns the answer to "how are you?": what the doors and the counts say, put together without waiting for the network.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::Broker;
use crate::audit::Event;
use crate::clock::Tick;
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

/// How the service is doing.
#[derive(Clone, Debug)]
pub struct Health {
    /// True when the service is about to stop.
    pub draining: bool,
    /// The upstream.
    pub upstream: Condition,
    /// How long the upstream's last good answer took.
    pub upstream_latency: Option<Duration>,
    /// Where sessions rest.
    pub sessions: Condition,
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
    condition: Condition,
    latency: Option<Duration>,
    last_success: Option<Tick>,
}

impl UpstreamWatch {
    pub(super) fn note(&self, outcome: Result<Duration, &UpstreamError>, now: Tick) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(latency) => {
                *seen = Seen {
                    condition: Condition::Operational,
                    latency: Some(latency),
                    last_success: Some(now),
                }
            }
            // Our own pace says nothing of the upstream.
            Err(UpstreamError::Overloaded { .. }) => {}
            Err(UpstreamError::Resting { .. } | UpstreamError::KeyRejected { .. }) => {
                seen.condition = Condition::Down;
            }
            Err(_) => seen.condition = Condition::Degraded,
        }
    }

    fn read(&self) -> Seen {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Broker {
    /// How the service is doing. Never asks the upstream.
    pub async fn health(&self) -> Health {
        let parts = &self.0.parts;
        let seen = self.0.upstream.read();
        let live = parts.store.live().await;
        Health {
            draining: self.is_draining(),
            upstream: seen.condition,
            upstream_latency: seen.latency,
            sessions: if live.is_ok() {
                Condition::Operational
            } else {
                Condition::Down
            },
            live: live.unwrap_or_default(),
            reading: parts.vitals.read(),
        }
    }

    /// Looks whether the upstream answers, unless a mint has just shown it. Costs nothing; called once in a while.
    pub async fn look_upstream(&self, unless_within: Duration) {
        let parts = &self.0.parts;
        let fresh = |last: Tick| parts.clock.tick().since(last) < unless_within;
        if self.0.upstream.read().last_success.is_some_and(fresh) {
            return;
        }
        let outcome = parts.minter.probe().await;
        let latency = outcome.as_ref().map(|probe| probe.latency);
        self.0.upstream.note(latency, parts.clock.tick());
        match outcome {
            Ok(_) => {}
            Err(UpstreamError::KeyRejected { status }) => {
                parts
                    .audit
                    .note(Event::UpstreamKeyRejected, &json!({ "status": status }));
            }
            Err(error) => {
                tracing::warn!(
                    cause = telemetry::chain(&error),
                    "the upstream does not answer"
                );
            }
        }
    }

    /// Forgets sessions that have ended.
    pub async fn sweep(&self) {
        if let Err(error) = self.0.parts.store.sweep().await {
            tracing::warn!(%error, "ended sessions could not be forgotten");
        }
    }
}
