//! Owns failures on their way to the caller: which code a cause becomes, and the layout it leaves in.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::USUAL_HEADERS;
use super::code::Code;
use crate::broker::BrokerError;
use crate::clock::seconds_up;
use crate::domain::RequestId;
use crate::limit::Offence;
use crate::upstream::{Kind, UpstreamError};

/// A failure on its way to the caller. Its body is written by the failure-shape layer, which knows the request.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// Which one.
    pub code: Code,
    /// The field at fault.
    pub param: Option<String>,
    /// How long to wait.
    pub retry_after: Option<Duration>,
    /// What the address did wrong, if anything.
    pub offence: Option<Offence>,
    /// The limit that has no place, or the quota that is used up.
    pub limit: Option<&'static str>,
    /// What the request has used up all the same.
    pub used: Used,
    /// How long the upstream took, if it was asked.
    pub upstream_took: Option<Duration>,
    /// Why, for the log.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
}

/// What a request that failed has used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// Nothing: it failed through no fault of its caller's.
    Nothing,
    /// A place of its address, for asking; nothing was minted.
    Attempt,
    /// All that a mint takes: there may have been one.
    Mint,
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        Self {
            code,
            param: None,
            retry_after: None,
            offence: None,
            limit: None,
            used: Used::Attempt,
            upstream_took: None,
            cause: None,
        }
    }
}

impl ApiError {
    /// A request that cannot be understood, at `param`.
    pub fn malformed(code: Code, param: Option<String>) -> Self {
        Self {
            param,
            offence: Some(Offence::Malformed),
            ..code.into()
        }
    }

    /// The same, to be tried again after `wait`.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    /// The same, through no fault of the caller's.
    #[must_use]
    pub fn using_nothing(self) -> Self {
        Self {
            used: Used::Nothing,
            ..self
        }
    }

    /// The same, under the limit called so.
    #[must_use]
    pub fn under(self, limit: &'static str) -> Self {
        Self {
            limit: Some(limit),
            ..self
        }
    }

    /// Whole seconds for `Retry-After`: rounded up, so that they suffice.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|wait| seconds_up(wait).max(1))
    }

    /// The body of the answer to the request called `request_id`.
    pub fn body<'a>(&'a self, request_id: &'a RequestId) -> Failure<'a> {
        let error = FailureBody {
            kind: self.code.kind(),
            code: self.code,
            message: self.code.message(),
            param: self.param.as_deref(),
            limit: self.limit,
            retry_after: self.retry_after_seconds(),
            request_id: request_id.as_str(),
        };
        Failure {
            success: false,
            error,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.code.status();
        response.headers_mut().reserve(USUAL_HEADERS);
        response.extensions_mut().insert(self);
        response
    }
}

/// How long to wait when nobody says.
const SHORT_WAIT: Duration = Duration::from_secs(1);
/// How long to wait for a ledger that cannot be written.
const LEDGER_WAIT: Duration = Duration::from_secs(2);
/// How long to wait for an upstream that failed without saying for how long.
const UPSTREAM_WAIT: Duration = Duration::from_secs(2);

impl From<BrokerError> for ApiError {
    fn from(error: BrokerError) -> Self {
        let plain = |code: Code| Self::from(code);
        let mut failure = match &error {
            BrokerError::UnknownPersona => Self {
                param: Some("persona".to_owned()),
                ..Code::UnknownPersona.into()
            },
            BrokerError::PersonaNotAllowed => Self {
                param: Some("persona".to_owned()),
                ..Code::Forbidden.into()
            },
            BrokerError::UnknownSession { foreign } => Self {
                offence: foreign.then_some(Offence::ForeignSession),
                ..Code::UnknownSession.into()
            },
            BrokerError::TooSoon { wait } => plain(Code::RefreshTooSoon).after(*wait),
            BrokerError::Exhausted => plain(Code::RefreshLimitReached).after(SHORT_WAIT),
            BrokerError::ShuttingDown => {
                plain(Code::ShuttingDown).after(SHORT_WAIT).using_nothing()
            }
            BrokerError::QuotaExceeded { wait } => plain(Code::QuotaExceeded)
                .after(*wait)
                .under("sessions_per_month")
                .using_nothing(),
            BrokerError::NotRecorded(_) | BrokerError::NotRead(_) => plain(Code::LedgerUnavailable)
                .after(LEDGER_WAIT)
                .using_nothing(),
            BrokerError::NotSettled(_) => Self {
                used: Used::Mint,
                ..plain(Code::LedgerUnavailable).after(LEDGER_WAIT)
            },
            BrokerError::Upstream { error, took } => Self {
                upstream_took: Some(*took),
                ..upstream(error)
            },
            BrokerError::NotLookedUp(_) => plain(Code::SessionsUnreachable)
                .after(SHORT_WAIT)
                .using_nothing(),
            BrokerError::Store(_) | BrokerError::Lost => Self {
                used: Used::Mint,
                ..Code::Internal.into()
            },
        };
        failure.cause = Some(Arc::new(error));
        failure
    }
}

fn upstream(error: &UpstreamError) -> ApiError {
    let facts = error.facts();
    let code = match facts.kind {
        Kind::Unavailable => Code::UpstreamUnavailable,
        Kind::TimedOut => Code::UpstreamTimeout,
        Kind::Invalid => Code::UpstreamInvalid,
        Kind::Overloaded => Code::Overloaded,
    };
    let waits = code.status() == StatusCode::SERVICE_UNAVAILABLE;
    let retry_after = waits.then(|| facts.wait.unwrap_or(UPSTREAM_WAIT));
    let used = match facts.kind {
        _ if !facts.is_definite => Used::Mint,
        // What is refused for what it is will be refused again: the window must hold who keeps asking.
        Kind::Invalid => Used::Attempt,
        Kind::Unavailable | Kind::TimedOut | Kind::Overloaded => Used::Nothing,
    };
    ApiError {
        retry_after,
        used,
        ..code.into()
    }
}

/// A failure, in the provider's error layout.
#[derive(Debug, Serialize, ToSchema)]
pub struct Failure<'a> {
    /// Always false.
    pub success: bool,
    /// What went wrong.
    pub error: FailureBody<'a>,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailureBody<'a> {
    /// The kind of failure, as the provider names kinds.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// Which failure.
    pub code: Code,
    /// What to do about it, for a person. The same for every failure of this code.
    pub message: &'a str,
    /// The field at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub param: Option<&'a str>,
    /// The limit or quota that has no place left, by the name of its setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<&'a str>,
    /// Seconds to wait; the same as in `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The name of the request, to tell the operator.
    pub request_id: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up_and_at_least_a_second() {
        let seconds = |millis| {
            ApiError::from(Code::RateLimited)
                .after(Duration::from_millis(millis))
                .retry_after_seconds()
        };
        assert_eq!(
            [seconds(0), seconds(1), seconds(1000), seconds(1001)],
            [Some(1), Some(1), Some(1), Some(2)]
        );
    }
}
