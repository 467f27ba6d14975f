//! Turns failures into answers: which code a cause becomes, and the layout it leaves in.

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
use crate::domain::{Refusal, RequestId};
use crate::upstream::{Kind, UpstreamError};

/// A failure on its way to the caller. The failure-shape layer, which knows the request, writes its body.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// The code.
    pub code: Code,
    /// The field at fault.
    pub param: Option<String>,
    /// How long to wait.
    pub retry_after: Option<Duration>,
    /// The setting of the limit or quota that has no place left.
    pub limit: Option<&'static str>,
    /// How long the upstream took, if it was asked.
    pub upstream_took: Option<Duration>,
    /// The cause, for the log.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        Self {
            code,
            param: None,
            retry_after: None,
            limit: None,
            upstream_took: None,
            cause: None,
        }
    }
}

impl ApiError {
    /// Returns the failure of a request that is not valid at `param`.
    pub fn malformed(code: Code, param: Option<String>) -> Self {
        Self {
            param,
            ..code.into()
        }
    }

    /// Returns the failure with a time to wait.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    /// Returns the failure with the setting of the limit that caused it.
    #[must_use]
    pub fn under(self, limit: &'static str) -> Self {
        Self {
            limit: Some(limit),
            ..self
        }
    }

    /// Returns whole seconds for `Retry-After`: rounded up, so that they suffice, and one at least.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|wait| seconds_up(wait).max(1))
    }

    /// Returns the body of the answer to the request called `request_id`.
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

/// The wait for a failure that passes soon.
const SHORT_WAIT: Duration = Duration::from_secs(1);
/// The wait for a ledger that cannot be written.
const LEDGER_WAIT: Duration = Duration::from_secs(2);

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
            BrokerError::UnknownSession | BrokerError::Ended => plain(Code::UnknownSession),
            BrokerError::Refused(refusal) => refused(*refusal),
            BrokerError::Crowded => plain(Code::Overloaded).after(SHORT_WAIT),
            BrokerError::ShuttingDown => plain(Code::ShuttingDown).after(SHORT_WAIT),
            BrokerError::QuotaExceeded { wait, .. } => plain(Code::QuotaExceeded)
                .after(*wait)
                .under("sessions_per_month"),
            BrokerError::NotRecorded(_) | BrokerError::NotSettled(_) => {
                plain(Code::LedgerUnavailable).after(LEDGER_WAIT)
            }
            BrokerError::Upstream { error, took } => Self {
                upstream_took: Some(*took),
                ..upstream(error)
            },
            BrokerError::Lost => Code::Internal.into(),
        };
        failure.cause = Some(Arc::new(error));
        failure
    }
}

/// A session that has ended, and one that is somebody else's, answer alike: a stranger learns nothing.
fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::TooSoon { wait } => ApiError::from(Code::RefreshTooSoon)
            .after(wait)
            .under("min_refresh_interval"),
        // Until the session ends. A new session can be opened at once.
        Refusal::Exhausted { wait } => ApiError::from(Code::RefreshLimitReached)
            .after(wait)
            .under("max_refreshes"),
        Refusal::Ended | Refusal::Foreign | Refusal::Network => Code::UnknownSession.into(),
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
    ApiError {
        retry_after: waits.then_some(facts.wait),
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
    /// The kind of failure, in the provider's words.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The code of the failure.
    pub code: Code,
    /// What to do about the failure, for a person. The same for every failure of this code.
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
    /// The id of the request, for the operator.
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
