//! Free looks at the upstream, and whether a rejection of the API key concerns one request or every request.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::lane::Lane;
use super::{Complaint, Minter, Probe, UpstreamError};
use crate::clock::{Clock, Tick};

/// The longest time that a look may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Looks at the same time.
const AT_ONCE: usize = 32;

/// Looks at the upstream with the free probe, in a lane of its own.
pub(super) struct Looks {
    minter: Arc<dyn Minter>,
    lane: Lane,
    /// The start and the result of the last look at the key: true when the key was bad.
    last: Mutex<Option<(Tick, bool)>>,
    clock: Arc<dyn Clock>,
}

impl Looks {
    pub(super) fn new(minter: Arc<dyn Minter>, clock: Arc<dyn Clock>) -> Self {
        Self {
            minter,
            lane: Lane::new(AT_ONCE, DEADLINE, Arc::clone(&clock)),
            last: Mutex::new(None),
            clock,
        }
    }

    /// Looks whether the upstream answers and accepts the API key.
    pub(super) async fn look(&self) -> Result<Probe, UpstreamError> {
        self.lane.run(self.minter.probe()).await
    }

    /// Judges a 401 or 403 that answered a request of `sent`. It may be about that request only, or a slip of the provider:
    /// it must not keep everybody out. Requests that are rejected at the same time share one look. A key without the permission
    /// to mint needs none.
    pub(super) async fn judge(&self, complaint: Complaint, sent: Tick) -> UpstreamError {
        if complaint.lacks_permission() {
            return UpstreamError::KeyRejected(complaint);
        }
        let mut last = self.last.lock().await;
        let is_bad = match *last {
            Some((began, is_bad)) if began > sent => is_bad,
            Some(_) | None => {
                let began = self.clock.tick();
                let is_bad = self.is_bad(&complaint).await;
                *last = Some((began, is_bad));
                is_bad
            }
        };
        if is_bad {
            return UpstreamError::KeyRejected(complaint);
        }
        UpstreamError::Refused(complaint)
    }

    /// True when the free probe is rejected as well. A restricted key may mint and not list models: its 403 counts only when
    /// it gives the same reason. A probe that fails in another way says nothing of the key.
    async fn is_bad(&self, complaint: &Complaint) -> bool {
        match self.look().await {
            Ok(probe) => probe
                .refusal
                .is_some_and(|refusal| !refusal.code.is_empty() && refusal.code == complaint.code),
            Err(error) => matches!(error, UpstreamError::KeyRejected(_)),
        }
    }
}
