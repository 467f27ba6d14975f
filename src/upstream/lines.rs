//! Log lines about failed operations. The first lines of a kind in a minute are written, the others are counted.

use std::sync::Arc;
use std::time::Duration;

use super::{Complaint, UpstreamError};
use crate::clock::Clock;
use crate::limit::Folding;

/// The kinds of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Line {
    /// An operation is retried.
    Retry,
    /// A rejection of the API key concerned one request only.
    OneRequest,
    /// A recording was refused.
    Recording,
    /// One of several API keys starts nothing for a while.
    OneKey,
    /// A failure that lasts until an operator acts. Holds the cure.
    Lasting(&'static str),
}

/// Writes the lines, or counts them.
pub(super) struct Lines {
    folding: Folding<Line>,
    clock: Arc<dyn Clock>,
}

impl Lines {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let folding = Folding::default();
        Self { folding, clock }
    }

    /// Tells that an operation is retried after `pause`.
    pub(super) fn retry(&self, error: &UpstreamError, pause: Duration) {
        if self.admits(Line::Retry) {
            tracing::warn!(
                %error,
                upstream.status = error.complaint().map(|complaint| complaint.status),
                pause_ms = pause.as_millis(),
                "upstream operation failed, retrying"
            );
        }
    }

    /// Tells the cure for a failure that lasts until an operator acts, and that a rejection of the API key was none.
    pub(super) fn failure(&self, error: &UpstreamError) {
        match error {
            UpstreamError::Refused(complaint) if complaint.is_rejection() => {
                self.one_request(complaint);
            }
            _ => {
                if let Some(complaint) = error.complaint() {
                    self.cure(complaint);
                }
            }
        }
    }

    /// Tells that the API key was rejected for one request, and is good.
    fn one_request(&self, complaint: &Complaint) {
        if self.admits(Line::OneRequest) {
            tracing::warn!(
                upstream.status = complaint.status,
                upstream.code = complaint.code,
                upstream.request_id = complaint.request.as_deref(),
                "upstream rejected the API key for one request, but accepts the key: only that request failed"
            );
        }
    }

    /// Tells that one of several API keys is of no use, and that another one serves.
    pub(super) fn of_key(&self, error: &UpstreamError) {
        if let Some(complaint) = error.complaint()
            && self.admits(Line::OneKey)
        {
            tracing::error!(
                upstream.key = complaint.key.as_deref(),
                upstream.status = complaint.status,
                upstream.code = complaint.code,
                upstream.request_id = complaint.request.as_deref(),
                cure = complaint.cure(),
                "provider refused an API key, the next key serves; the account of this key needs an operator"
            );
        }
    }

    /// Tells that the provider refused a recording. Any caller can bring that about.
    pub(super) fn recording(&self, error: &UpstreamError) {
        if let Some(told) = error.complaint()
            && self.admits(Line::Recording)
        {
            tracing::info!(
                upstream.status = told.status,
                upstream.code = told.code,
                upstream.request_id = told.request.as_deref(),
                "provider refused a recording, its caller is answered 422"
            );
        }
    }

    fn cure(&self, complaint: &Complaint) {
        if let Some(cure) = complaint.cure()
            && self.admits(Line::Lasting(cure))
        {
            tracing::error!(
                upstream.key = complaint.key.as_deref(),
                upstream.status = complaint.status,
                upstream.code = complaint.code,
                upstream.request_id = complaint.request.as_deref(),
                cure,
                "upstream refused this broker's account or settings; requests fail until an operator acts"
            );
        }
    }

    /// Writes the counts of folded lines when their minute is over, or at once when `even_early`.
    pub(super) fn sum_up(&self, even_early: bool) {
        for (line, lines) in self.folding.sum_up(self.clock.tick(), even_early) {
            let (folded, written) = (lines.folded, lines.written);
            match line {
                Line::Retry => {
                    tracing::warn!(folded, written, "upstream operations were retried");
                }
                Line::OneRequest => {
                    tracing::warn!(
                        folded,
                        written,
                        "upstream rejected the API key for single requests"
                    );
                }
                Line::Recording => {
                    tracing::info!(folded, written, "provider refused recordings");
                }
                Line::OneKey => {
                    tracing::error!(folded, written, "provider refused API keys, others serve");
                }
                Line::Lasting(cure) => {
                    tracing::error!(
                        folded,
                        written,
                        cure,
                        "upstream goes on refusing this broker's account or settings"
                    );
                }
            }
        }
    }

    fn admits(&self, line: Line) -> bool {
        self.sum_up(false);
        self.folding.admits(line, None, self.clock.tick())
    }
}
