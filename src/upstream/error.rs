//! Reasons why an operation at the upstream failed, and what each reason means for callers, retries, records and health.

use std::fmt;
use std::time::Duration;

/// Upper bound on a rest from the upstream's `Retry-After`, and the rest after the account ran out of credit.
const LONG_REST: Duration = Duration::from_secs(30);
/// The rest after the upstream rejected the API key. Short, because the next request looks whether the key is good again.
const KEY_REST: Duration = Duration::from_secs(5);
/// The wait after a failure for which the upstream named no time.
const USUAL_WAIT: Duration = Duration::from_secs(2);
/// The longest `Retry-After` that a second attempt waits for within one request.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(1);

/// The code that stands for an answer without a code whose message names missing scopes of the API key.
pub(super) const MISSING_SCOPE: &str = "missing_scope";

/// An error answer of the upstream: everything that a log line needs. Never its message, which may quote part of the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaint {
    /// The HTTP status.
    pub status: u16,
    /// The upstream's error code and the field it names, cleaned for a log. Empty when it gave none. For a restricted key,
    /// `missing_scope` and the scopes.
    pub code: String,
    /// The upstream's id of the request.
    pub request: Option<Box<str>>,
    /// The wait from `Retry-After`, if the upstream sent one.
    pub retry_after: Option<Duration>,
    /// The alias of the API key, when the answer is about the key.
    pub key: Option<Box<str>>,
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
    fn wait(&self) -> Duration {
        self.retry_after.unwrap_or(USUAL_WAIT)
    }

    /// True when the upstream knows the API key, which is restricted and lacks a permission.
    pub fn lacks_permission(&self) -> bool {
        self.is_rejection() && matches!(self.name(), MISSING_SCOPE | "insufficient_permissions")
    }

    /// True when the answer rejects the API key, whether for this request or for every one.
    pub(super) const fn is_rejection(&self) -> bool {
        matches!(self.status, 401 | 403)
    }

    /// True when there is nothing at the path, or nothing that takes the method.
    pub const fn is_absence(&self) -> bool {
        matches!(self.status, 404 | 405)
    }

    /// Returns the upstream's error code alone.
    fn name(&self) -> &str {
        self.code.split(' ').next().unwrap_or_default()
    }

    /// Returns the likely cause and its cure, for codes that point to the operator's settings or account.
    pub fn cure(&self) -> Option<&'static str> {
        let cure = match self.name() {
            "incorrect_hostname" => "the key's region has its own host: set upstream.base_url",
            "mismatched_project" => "the key is of another project: correct upstream.project",
            "mismatched_organization" => {
                "the key is of another organization: correct upstream.organization, or leave it empty"
            }
            "unsupported_country_region_territory" => {
                "the provider does not serve the country this machine connects from: run it elsewhere"
            }
            MISSING_SCOPE if self.code.ends_with("model.read") => {
                "the key is restricted: set its permission Models to Read"
            }
            MISSING_SCOPE | "insufficient_permissions" => {
                "the key is restricted: set its permission Model capabilities to Request, which covers the Realtime API"
            }
            // Azure's code of a wrong key, which its bearer form has, too.
            "401" | "Unauthorized" => {
                "the key is wrong, of another resource or in the wrong header: correct OPENAI_API_KEY, upstream.base_url and \
                 upstream.key_header"
            }
            "DeploymentNotFound" => {
                "the resource has no such deployment: name the deployment as the persona's model"
            }
            "invalid_api_key" => "the key is wrong or was revoked: replace OPENAI_API_KEY",
            "account_deactivated" => "the provider has deactivated the account: ask it why",
            "ip_not_authorized" => "the project's IP allowlist lacks this machine: add it",
            "insufficient_quota" => {
                "the account has no credit left: add credit or raise its budget"
            }
            "billing_hard_limit_reached" => "the account has reached its spending limit: raise it",
            "billing_not_active" => "billing is not active: complete the account's billing details",
            "model_not_found" => {
                "the project may not use the persona's model, or its name is wrong: correct the persona or the project's limits"
            }
            _ => return None,
        };
        Some(cure)
    }
}

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
    /// The connection broke before the answer was complete. Whether the operation took effect is not known.
    #[error("the connection to the upstream broke")]
    Cut(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The upstream failed on its side.
    #[error("the upstream failed ({0})")]
    Broken(Complaint),
    /// The upstream asked for a slower pace.
    #[error("the upstream asked for a slower pace ({0})")]
    RateLimited(Complaint),
    /// The account has as many GPT-Live sessions of the model as it may have at once. Everything else works.
    #[error("the account has as many sessions of the model as it may have at once ({0})")]
    SessionLimit(Complaint),
    /// The account has no credit left. Retrying does not help.
    #[error("the upstream account's quota is used up ({0})")]
    QuotaExhausted(Complaint),
    /// The upstream rejects the API key, for every request.
    #[error("the upstream rejected the API key ({0})")]
    KeyRejected(Complaint),
    /// The upstream refused this request.
    #[error("the upstream refused the request ({0})")]
    Refused(Complaint),
    /// The upstream does not know the call by the key that created it: the call is over, or not yet known everywhere.
    #[error("the upstream does not know the call ({0})")]
    UnknownCall(Complaint),
    /// The key that created the call is not loaded, and the upstream refused the current one. Nothing is known of the call.
    #[error("the key that created the call is not loaded ({0})")]
    OtherKey(Complaint),
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
    #[error("the circuit breaker is open after failures of the upstream")]
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
    /// The kind of failure that the caller is told.
    pub kind: Kind,
    /// True when the operation certainly took no effect, so that whatever was reserved for it can be given back.
    pub is_definite: bool,
    /// The least wait before a second attempt, when one may succeed. The operation must be safe to repeat.
    pub retry: Option<Duration>,
    /// What the failure means for the circuit breaker.
    pub verdict: Verdict,
    /// What the failure says of the upstream's health.
    pub trouble: Trouble,
    /// How long callers should wait.
    pub wait: Duration,
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

/// What an outcome means for the circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The upstream works, even if it refused this request.
    Works,
    /// The upstream failed.
    Failed,
    /// The upstream gets no request for [`Facts::rest`].
    Rests,
}

/// What is wrong with the upstream, and which event ends that state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trouble {
    /// No known trouble.
    #[default]
    Nothing,
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
    /// Returns how long the upstream must get no request, if it must rest.
    pub fn rest(&self) -> Option<Duration> {
        (self.verdict == Verdict::Rests).then(|| self.wait.min(LONG_REST))
    }
}

impl UpstreamError {
    /// Returns what this failure means: the only place that judges it.
    pub fn facts(&self) -> Facts {
        use Kind::{Invalid, Overloaded, TimedOut, Unavailable};
        use Trouble::{KeyRejected, Nothing, Refusing, Resting, Silent};
        use Verdict::{Failed, Rests, Works};
        let (code, kind, verdict, trouble, wait) = match self {
            Self::Unreachable(_) => ("unreachable", Unavailable, Failed, Silent, USUAL_WAIT),
            Self::TimedOut => ("timed_out", TimedOut, Failed, Silent, USUAL_WAIT),
            Self::Cut(_) => ("cut", Unavailable, Failed, Silent, USUAL_WAIT),
            // A short wait is waited for within the request; a longer one is a rest.
            Self::Broken(told) if told.retry_after.is_some_and(|wait| wait > MAX_RETRY_WAIT) => {
                ("broken", Unavailable, Rests, Silent, told.wait())
            }
            Self::Broken(told) => ("broken", Unavailable, Failed, Silent, told.wait()),
            Self::RateLimited(told) => ("rate_limited", Unavailable, Rests, Refusing, told.wait()),
            Self::SessionLimit(told) => ("rate_limited", Unavailable, Works, Nothing, told.wait()),
            Self::QuotaExhausted(_) => ("quota_exhausted", Unavailable, Rests, Refusing, LONG_REST),
            // Only a mint shows that it was granted: the key passes looks.
            Self::KeyRejected(told) if told.lacks_permission() => {
                ("key_rejected", Unavailable, Rests, Refusing, KEY_REST)
            }
            // The persona's model: nothing that the caller could send differently.
            Self::Refused(told)
                if matches!(told.name(), "model_not_found" | "DeploymentNotFound") =>
            {
                ("refused", Unavailable, Works, Refusing, USUAL_WAIT)
            }
            Self::KeyRejected(_) => ("key_rejected", Unavailable, Rests, KeyRejected, KEY_REST),
            Self::Refused(_) => ("refused", Invalid, Works, Refusing, USUAL_WAIT),
            Self::UnknownCall(_) => ("unknown_call", Invalid, Works, Nothing, USUAL_WAIT),
            Self::OtherKey(_) => ("other_key", Unavailable, Works, Nothing, USUAL_WAIT),
            Self::Invalid(_) => ("invalid", Invalid, Failed, Refusing, USUAL_WAIT),
            Self::Overloaded { retry_after } => {
                ("overloaded", Overloaded, Works, Nothing, *retry_after)
            }
            Self::Resting { retry_after } => ("resting", Unavailable, Works, Resting, *retry_after),
        };
        // The upstream has said, or cannot have said, that it is worth another attempt.
        let may_pass = verdict == Failed && matches!(self, Self::Unreachable(_) | Self::Broken(_));
        let asked = self.complaint().and_then(|told| told.retry_after);
        Facts {
            code,
            kind,
            is_definite: !matches!(self, Self::TimedOut | Self::Cut(_) | Self::Invalid(_)),
            retry: may_pass.then(|| asked.unwrap_or_default()),
            verdict,
            trouble,
            wait,
        }
    }

    /// Returns what this failure means for a call that was to be created.
    pub fn facts_of_call(&self) -> Facts {
        let facts = self.facts();
        match self {
            // About the key, whatever it may do elsewhere: nothing that the caller could send differently.
            Self::Refused(told) if matches!(told.status, 401 | 403) => Facts {
                kind: Kind::Unavailable,
                ..facts
            },
            // A provider that breaks may break at this offer; one that is overloaded says so.
            Self::Broken(told) if told.status == 500 => Facts {
                kind: Kind::Invalid,
                ..facts
            },
            // A gateway or a deadline in between: the call may exist.
            Self::Broken(told) if matches!(told.status, 408 | 502 | 504) => Facts {
                is_definite: false,
                ..facts
            },
            _ => facts,
        }
    }

    /// Returns what this failure means for a GPT-Live session that was to be created. It is billed from its creation, and a
    /// server that failed may have created it.
    pub fn facts_of_live_call(&self) -> Facts {
        let mut facts = self.facts_of_call();
        facts.is_definite &= !matches!(self, Self::Broken(_));
        facts
    }

    /// True for failures of one API key, after which another key may succeed.
    pub(super) const fn is_of_key(&self) -> bool {
        matches!(self, Self::KeyRejected(_) | Self::QuotaExhausted(_))
    }

    /// Adds the `alias` of the API key to failures of one key.
    pub(super) fn of_key(mut self, alias: &str) -> Self {
        if let Self::KeyRejected(complaint) | Self::QuotaExhausted(complaint) = &mut self {
            complaint.key = Some(alias.into());
        }
        self
    }

    /// Returns the error that the upstream answered with, if it answered.
    pub const fn complaint(&self) -> Option<&Complaint> {
        match self {
            Self::Broken(complaint)
            | Self::RateLimited(complaint)
            | Self::SessionLimit(complaint)
            | Self::QuotaExhausted(complaint)
            | Self::KeyRejected(complaint)
            | Self::Refused(complaint)
            | Self::UnknownCall(complaint)
            | Self::OtherKey(complaint) => Some(complaint),
            Self::Unreachable(_)
            | Self::Cut(_)
            | Self::TimedOut
            | Self::Invalid(_)
            | Self::Overloaded { .. }
            | Self::Resting { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_wait_of_a_broken_upstream_is_retried_and_a_long_one_is_a_rest() {
        let broken = |seconds| {
            UpstreamError::Broken(Complaint {
                retry_after: Some(Duration::from_secs(seconds)),
                ..503.into()
            })
            .facts()
        };
        assert_eq!(
            (broken(1).retry, broken(1).verdict),
            (Some(Duration::from_secs(1)), Verdict::Failed)
        );
        assert_eq!(
            (broken(7).retry, broken(7).rest()),
            (None, Some(Duration::from_secs(7)))
        );
        assert_eq!(broken(600).rest(), Some(LONG_REST));
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
