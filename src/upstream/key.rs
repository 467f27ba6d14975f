//! Finds out whether a rejection of the API key concerns one request or every request.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::lane::Lane;
use super::{Complaint, Minter, UpstreamError};
use crate::clock::{Clock, Tick};

/// Looks with the free probe when a request is answered with 401 or 403. Such an answer may be about one request, or a
/// slip of the provider: it must not keep everybody out.
pub(super) struct KeyCheck {
    minter: Arc<dyn Minter>,
    lane: Arc<Lane>,
    /// The start and the result of the last look: true when the key was bad.
    last: Mutex<Option<(Tick, bool)>>,
    clock: Arc<dyn Clock>,
}

impl KeyCheck {
    pub(super) fn new(minter: Arc<dyn Minter>, lane: Arc<Lane>, clock: Arc<dyn Clock>) -> Self {
        Self {
            minter,
            lane,
            last: Mutex::new(None),
            clock,
        }
    }

    /// Judges a rejection of a request that was sent at `sent`. Requests that are rejected at the same time share one
    /// look.
    pub(super) async fn judge(&self, complaint: Complaint, sent: Tick) -> UpstreamError {
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
        tracing::warn!(
            upstream.status = complaint.status,
            upstream.code = complaint.code,
            upstream.request_id = complaint.request.as_deref(),
            "upstream rejected the API key for one request, but accepts the key: only that request failed"
        );
        UpstreamError::Refused(complaint)
    }

    /// True when the free probe is rejected as well. A restricted key may mint and not list models: its 403 counts only when
    /// it gives the same reason. A probe that fails in another way says nothing of the key.
    async fn is_bad(&self, complaint: &Complaint) -> bool {
        match self.lane.run(self.minter.probe()).await {
            Ok(probe) => probe
                .refusal
                .is_some_and(|refusal| !refusal.code.is_empty() && refusal.code == complaint.code),
            Err(error) => matches!(error, UpstreamError::KeyRejected(_)),
        }
    }
}
