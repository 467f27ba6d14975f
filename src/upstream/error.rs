//! Says why an operation at the upstream failed, and what that means for everybody who asks.

use std::fmt;
use std::time::Duration;

/// The longest rest that a `Retry-After` of the upstream is granted, and the rest after the account ran out of credit.
const LONG_REST: Duration = Duration::from_secs(30);
/// The rest after the upstream rejected the API key. Short, because the next request looks whether the key is good again.
const KEY_REST: Duration = Duration::from_secs(5);
/// The rest after the upstream asked for a slower pace without saying how long.
const PACE_REST: Duration = Duration::from_secs(2);
/// The longest `Retry-After` that a second attempt waits for within one request.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(1);

/// An error that the upstream answered with: everything that a log line needs. Never its message, which may quote part of
/// the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaint {
    /// The HTTP status.
    pub status: u16,
    /// The upstream's error code and the field it names, cleaned for a log. Empty when it gave none.
    pub code: String,
    /// The upstream's id of the request.
    pub request: Option<Box<str>>,
    /// How long the upstream asked to be left alone.
    pub retry_after: Option<Duration>,
}

impl From<u16> for Complaint {
    fn from(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }
}

impl Complaint {
    /// Returns this complaint with a wait that the upstream asked for.
    #[must_use]
    pub fn after(self, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..self
        }
    }

    /// Returns the likely cause and its cure, for codes that point to the operator's settings or account.
    pub fn cure(&self) -> Option<&'static str> {
        let word = self.code.split(' ').next().unwrap_or_default();
        CURES
            .iter()
            .find_map(|(code, cure)| (*code == word).then_some(*cure))
    }
}

/// The codes whose cause is known, and what to do.
const CURES: [(&str, &str); 12] = [
    (
        "incorrect_hostname",
        "the API key belongs to a region with a host of its own: set upstream.base_url to that host",
    ),
    (
        "mismatched_project",
        "the API key belongs to another project: correct upstream.project, or leave it empty",
    ),
    (
        "mismatched_organization",
        "the API key belongs to another organization: correct upstream.organization, or leave it empty",
    ),
    (
        "unsupported_country_region_territory",
        "the provider does not serve the country this machine connects from: run it elsewhere",
    ),
    (
        "missing_scope",
        "the API key is restricted: grant it write access to the Realtime API",
    ),
    (
        "invalid_api_key",
        "the API key is wrong or was revoked: replace OPENAI_API_KEY (upstream.api_key)",
    ),
    (
        "account_deactivated",
        "the provider has deactivated the account: contact the provider",
    ),
    (
        "ip_not_authorized",
        "the project allows other addresses only: add this machine's to its IP allowlist",
    ),
    (
        "insufficient_quota",
        "the account has no credit left: add credit or raise the project's budget",
    ),
    (
        "billing_hard_limit_reached",
        "the account has reached its spending limit: raise it",
    ),
    (
        "billing_not_active",
        "billing is not active: complete the account's billing details",
    ),
    (
        "model_not_found",
        "the project may not use the persona's model, or its name is wrong: correct the persona or the project's limits",
    ),
];

impl fmt::Display for Complaint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "status {}", self.status)?;
        if !self.code.is_empty() {
            write!(formatter, ", code {}", self.code)?;
        }
        if let Some(request) = &self.request {
            write!(formatter, ", upstream request {request}")?;
        }
        Ok(())
    }
}

/// Why an operation at the upstream failed.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No connection, or it broke before the answer was complete: if a secret was minted, nobody holds it.
    #[error("the upstream could not be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time. Whether the operation took effect is not known.
    #[error("the upstream did not answer in time")]
    TimedOut,
    /// The upstream failed on its side.
    #[error("the upstream failed ({0})")]
    Broken(Complaint),
    /// The upstream asked for a slower pace.
    #[error("the upstream asked for a slower pace ({0})")]
    RateLimited(Complaint),
    /// The account has no credit left. Retrying does not help.
    #[error("the upstream account's quota is used up ({0})")]
    QuotaExhausted(Complaint),
    /// The upstream rejects the API key, for every request.
    #[error("the upstream rejected the API key ({0})")]
    KeyRejected(Complaint),
    /// The upstream refused this request.
    #[error("the upstream refused the request ({0})")]
    Refused(Complaint),
    /// The upstream's answer is not what was asked for.
    #[error("the upstream's answer cannot be used: {0}")]
    Invalid(&'static str),
    /// As much is under way as the settings allow.
    #[error("too many operations are under way")]
    Overloaded {
        /// When there is room again.
        retry_after: Duration,
    },
    /// The circuit breaker is open after failures.
    #[error("the upstream is left alone after failures")]
    Resting {
        /// When the upstream is asked again.
        retry_after: Duration,
    },
}

/// What a failed operation means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The code that records keep.
    pub code: &'static str,
    /// What kind of failure the caller is told.
    pub kind: Kind,
    /// True when the operation certainly took no effect, so that whatever was reserved for it can be given back.
    pub is_definite: bool,
    /// The least wait before a second attempt, when one may succeed. The operation must be safe to repeat.
    pub retry: Option<Duration>,
    /// What the failure tells the circuit breaker.
    pub verdict: Verdict,
    /// What the failure says of the upstream's health; `None` when it says nothing.
    pub trouble: Option<Trouble>,
    /// How long callers should wait, when that is known.
    pub wait: Option<Duration>,
}

/// What kind of failure the caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The upstream cannot serve anybody right now.
    Unavailable,
    /// The upstream did not answer in time.
    TimedOut,
    /// The upstream refused this request, or answered something unusable.
    Invalid,
    /// This broker is at its own bounds.
    Overloaded,
}

/// What an outcome tells the circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The upstream works, whatever it thought of this request.
    Works,
    /// The upstream failed.
    Failed,
    /// The upstream is to be left alone for this long.
    Rest(Duration),
}

/// What is wrong with the upstream, and what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The upstream does not answer: any answer ends that.
    Silent,
    /// The circuit breaker is open: any answer ends that.
    Resting,
    /// The upstream answers, but refuses the operation: only a success ends that.
    Refusing,
    /// The upstream rejects the API key: a success ends that, or a look that the key passes.
    KeyRejected,
}

impl Facts {
    /// The facts of a definite failure of the upstream itself.
    const fn unavailable(code: &'static str, verdict: Verdict, trouble: Trouble) -> Self {
        Self {
            code,
            kind: Kind::Unavailable,
            is_definite: true,
            retry: None,
            verdict,
            trouble: Some(trouble),
            wait: None,
        }
    }
}

impl UpstreamError {
    /// Returns what this failure means: the only place that judges it.
    pub fn facts(&self) -> Facts {
        let down = Facts::unavailable;
        match self {
            Self::Unreachable(_) => Facts {
                retry: Some(Duration::ZERO),
                ..down("unreachable", Verdict::Failed, Trouble::Silent)
            },
            Self::TimedOut => Facts {
                kind: Kind::TimedOut,
                is_definite: false,
                ..down("timed_out", Verdict::Failed, Trouble::Silent)
            },
            Self::Broken(complaint) => broken(complaint.retry_after),
            Self::RateLimited(Complaint { retry_after, .. }) => Facts {
                wait: *retry_after,
                ..down(
                    "rate_limited",
                    rest(retry_after.unwrap_or(PACE_REST)),
                    Trouble::Refusing,
                )
            },
            Self::QuotaExhausted(_) => Facts {
                wait: Some(LONG_REST),
                ..down("quota_exhausted", rest(LONG_REST), Trouble::Refusing)
            },
            Self::KeyRejected(_) => Facts {
                wait: Some(KEY_REST),
                ..down("key_rejected", rest(KEY_REST), Trouble::KeyRejected)
            },
            // The persona's model: nothing that the caller could send differently.
            Self::Refused(complaint) if complaint.code.starts_with("model_not_found") => {
                down("refused", Verdict::Works, Trouble::Refusing)
            }
            Self::Refused(_) => Facts {
                kind: Kind::Invalid,
                ..down("refused", Verdict::Works, Trouble::Refusing)
            },
            Self::Invalid(_) => Facts {
                kind: Kind::Invalid,
                is_definite: false,
                ..down("invalid", Verdict::Failed, Trouble::Refusing)
            },
            Self::Overloaded { retry_after } => Facts {
                kind: Kind::Overloaded,
                trouble: None,
                wait: Some(*retry_after),
                ..down("overloaded", Verdict::Works, Trouble::Silent)
            },
            Self::Resting { retry_after } => Facts {
                wait: Some(*retry_after),
                ..down("resting", Verdict::Works, Trouble::Resting)
            },
        }
    }

    /// Returns the error that the upstream answered with, if it answered.
    pub const fn complaint(&self) -> Option<&Complaint> {
        match self {
            Self::Broken(complaint)
            | Self::RateLimited(complaint)
            | Self::QuotaExhausted(complaint)
            | Self::KeyRejected(complaint)
            | Self::Refused(complaint) => Some(complaint),
            Self::Unreachable(_)
            | Self::TimedOut
            | Self::Invalid(_)
            | Self::Overloaded { .. }
            | Self::Resting { .. } => None,
        }
    }
}

/// A short wait is waited for within the request; a longer one is a rest.
fn broken(retry_after: Option<Duration>) -> Facts {
    let facts = Facts {
        wait: retry_after,
        ..Facts::unavailable("broken", Verdict::Failed, Trouble::Silent)
    };
    match retry_after {
        Some(wait) if wait > MAX_RETRY_WAIT => Facts {
            verdict: rest(wait),
            ..facts
        },
        short => Facts {
            retry: Some(short.unwrap_or_default()),
            ..facts
        },
    }
}

fn rest(wait: Duration) -> Verdict {
    Verdict::Rest(wait.min(LONG_REST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_wait_of_a_broken_upstream_is_retried_and_a_long_one_is_a_rest() {
        let broken = |seconds| {
            UpstreamError::Broken(Complaint::from(503).after(Duration::from_secs(seconds))).facts()
        };
        assert_eq!(
            (broken(1).retry, broken(1).verdict),
            (Some(Duration::from_secs(1)), Verdict::Failed)
        );
        assert_eq!(
            (broken(7).retry, broken(7).verdict),
            (None, Verdict::Rest(Duration::from_secs(7)))
        );
        assert_eq!(broken(600).verdict, Verdict::Rest(LONG_REST));
    }

    #[test]
    fn a_complaint_shows_status_code_and_request_and_known_codes_have_a_cure() {
        let complaint = Complaint {
            code: "incorrect_hostname".into(),
            request: Some("req_1".into()),
            ..401.into()
        };
        let shown = UpstreamError::KeyRejected(complaint.clone()).to_string();
        assert_eq!(
            shown,
            "the upstream rejected the API key (status 401, code incorrect_hostname, upstream request req_1)"
        );
        assert!(complaint.cure().unwrap().contains("upstream.base_url"));
        assert_eq!(Complaint::from(401).cure(), None);
    }
}
