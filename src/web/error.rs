//! Turns failures into answers: the code of each cause, and the layout of the body.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::USUAL_HEADERS;
use super::code::Code;
use super::layers::Probe;
use super::layers::trace::UpstreamTook;
use crate::broker::{BrokerError, UploadError};
use crate::clock::seconds_up;
use crate::domain::{OfferError, Refusal, RequestId, TicketRefusal};
use crate::upstream::{Facts, Kind};

/// The wait of a caller who has as many live calls as may be. Nobody knows when one ends.
const CALL_WAIT: Duration = Duration::from_secs(10);

/// A failure on its way to the caller. The layer that knows the request's id writes its body.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// The code.
    pub code: Code,
    /// The field at fault.
    pub param: Option<Cow<'static, str>>,
    /// The time to wait before the next attempt.
    pub retry_after: Option<Duration>,
    /// The setting of the limit or quota that has no place left.
    pub limit: Option<&'static str>,
    /// The cause, for the log.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        Self {
            code,
            param: None,
            retry_after: code.usual_wait(),
            limit: None,
            cause: None,
        }
    }
}

impl ApiError {
    /// Returns the failure of a request that is malformed at the field `param`.
    pub fn at(param: impl Into<Cow<'static, str>>) -> Self {
        Self::from(Code::BadRequest).naming(param)
    }

    /// Returns the failure with the field at fault.
    #[must_use]
    pub fn naming(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Returns the failure with a time to wait.
    #[must_use]
    pub const fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Returns the failure with the setting of the limit that caused it.
    #[must_use]
    pub const fn under(mut self, limit: &'static str) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Returns whole seconds for `Retry-After`: rounded up, so that they suffice, and one at least.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|wait| seconds_up(wait).max(1))
    }

    /// Returns the body of the answer.
    pub(super) fn body(&self, request_id: &RequestId) -> Vec<u8> {
        let error = FailureBody {
            kind: self.code.kind(),
            code: self.code,
            message: self.code.to_string(),
            param: self.param.as_deref(),
            limit: self.limit,
            retry_after: self.retry_after_seconds(),
            request_id: request_id.as_str(),
        };
        let success = false;
        serde_json::to_vec(&Failure { success, error }).unwrap_or_default()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.code.status();
        response.headers_mut().reserve(USUAL_HEADERS);
        let cause = self.cause.as_ref().and_then(|cause| cause.downcast_ref());
        if let Some(BrokerError::Upstream { took, .. }) = cause {
            response.extensions_mut().insert(UpstreamTook(*took));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The content type of pages for people.
pub(super) const PAGE: &str = "text/html; charset=utf-8";

/// Gives failures the layout of [`Failure`], those of libraries included. Answers to probes and pages for people keep their
/// body.
pub(super) fn shape(response: &mut Response, id: &RequestId) {
    let status = response.status();
    let is_failure = status.is_client_error() || status.is_server_error();
    let kind = response.headers().get(CONTENT_TYPE);
    let is_page = kind.is_some_and(|kind| kind == PAGE);
    if !is_failure || is_page || response.extensions().get::<Probe>().is_some() {
        return;
    }
    let known = response.extensions().get::<ApiError>().cloned();
    let error = known.unwrap_or_else(|| Code::of_status(status).into());
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if error.code.status() == StatusCode::NOT_FOUND {
        // A path that is hidden does not tell its methods.
        headers.remove(ALLOW);
    }
    if error.code.status() == StatusCode::PAYLOAD_TOO_LARGE {
        // The rest of a body that is too large is not read.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    *response.status_mut() = error.code.status();
    *response.body_mut() = error.body(id).into();
    response.extensions_mut().insert(error);
}

impl From<BrokerError> for ApiError {
    fn from(error: BrokerError) -> Self {
        let mut failure = match &error {
            BrokerError::UnknownPersona => Self::from(Code::UnknownPersona).naming("persona"),
            BrokerError::ModeNotAllowed => Self::from(Code::ModeNotAllowed).naming("connect"),
            BrokerError::PersonaNotAllowed => Self::from(Code::Forbidden).naming("persona"),
            BrokerError::RoleNotAllowed => Self::from(Code::Forbidden).naming("role"),
            BrokerError::Refused(Refusal::TooSoon { wait }) => Self::from(Code::RefreshTooSoon)
                .after(*wait)
                .under("min_refresh_interval"),
            // The wait lasts until the session ends. A new session can be opened at once.
            BrokerError::Refused(Refusal::Exhausted { wait }) => {
                Self::from(Code::RefreshLimitReached)
                    .after(*wait)
                    .under("max_refreshes")
            }
            // All alike, so that a stranger learns nothing of a session.
            BrokerError::UnknownSession
            | BrokerError::Ended
            | BrokerError::Refused(Refusal::Ended | Refusal::Foreign | Refusal::Network) => {
                Code::UnknownSession.into()
            }
            BrokerError::UnknownCall => Code::UnknownCall.into(),
            BrokerError::CallEnded => Code::CallEnded.into(),
            BrokerError::Ticket(refusal) => (*refusal).into(),
            BrokerError::VideoNotAllowed => Code::VideoNotAllowed.into(),
            BrokerError::OffersOnly => Self::at("session"),
            BrokerError::Pinned(field) => Self::at(format!("session.{field}")),
            BrokerError::Converses => Self::at("intent"),
            BrokerError::TooManyCalls(limit) => {
                Self::from(Code::CallLimit).after(CALL_WAIT).under(limit)
            }
            BrokerError::NoPrice(_) => Code::NoPrice.into(),
            BrokerError::ModelNotAllowed => Self::from(Code::ModelNotAllowed).naming("model"),
            BrokerError::Upload(error) => error.clone().into(),
            BrokerError::RecordingRefused(_) => Code::RecordingRefused.into(),
            BrokerError::Repeated(_) => Code::CallRepeated.into(),
            BrokerError::Crowded => Code::Overloaded.into(),
            BrokerError::ShuttingDown => Code::ShuttingDown.into(),
            BrokerError::QuotaExceeded { wait, .. } => Self::from(Code::QuotaExceeded)
                .after(*wait)
                .under("sessions_per_month"),
            BrokerError::Exhausted { budget, wait } => Self::from(if budget.is_money {
                Code::MoneyExhausted
            } else {
                Code::QuotaExceeded
            })
            .after(*wait)
            .under(budget.name()),
            BrokerError::NotRead(_) | BrokerError::NotRecorded(_) | BrokerError::NotSettled(_) => {
                Code::LedgerUnavailable.into()
            }
            BrokerError::Upstream { facts, .. } => upstream(facts),
            BrokerError::Lost => Code::Internal.into(),
        };
        failure.cause = Some(Arc::new(error));
        failure
    }
}

impl From<TicketRefusal> for ApiError {
    fn from(refusal: TicketRefusal) -> Self {
        Self::from(match refusal {
            TicketRefusal::Spent(limit) => {
                return Self::from(Code::CallLimit).after(CALL_WAIT).under(limit);
            }
            // All alike, so that a stranger learns nothing of a ticket.
            TicketRefusal::Unknown | TicketRefusal::Expired | TicketRefusal::Mode => {
                Code::TicketExpired
            }
            TicketRefusal::Used => Code::TicketUsed,
            TicketRefusal::Foreign => Code::OriginNotAllowed,
        })
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::TooLarge => Code::RecordingTooLarge.into(),
            UploadError::At(field) => Self::at(field),
            UploadError::Format => Self::from(Code::UnsupportedRecording).naming("file"),
            UploadError::Slow => Code::UploadTimeout.into(),
            UploadError::Cut => Code::BadRequest.into(),
        }
    }
}

impl From<OfferError> for ApiError {
    fn from(error: OfferError) -> Self {
        let mut failure = Self::from(match error {
            OfferError::TooLarge => Code::PayloadTooLarge,
            OfferError::NotSdp
            | OfferError::Line(_)
            | OfferError::TooMany
            | OfferError::Section(_)
            | OfferError::Audio
            | OfferError::Channels
            | OfferError::Mid
            | OfferError::Missing(_) => Code::InvalidOffer,
        });
        failure.cause = Some(Arc::new(error));
        failure
    }
}

fn upstream(facts: &Facts) -> ApiError {
    let failure = ApiError::from(match facts.kind {
        Kind::Unavailable => Code::UpstreamUnavailable,
        Kind::TimedOut => Code::UpstreamTimeout,
        Kind::Invalid => Code::UpstreamInvalid,
        Kind::Overloaded => Code::Overloaded,
    });
    if failure.retry_after.is_none() {
        return failure;
    }
    failure.after(facts.wait)
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
    /// What is wrong and what to do, in a sentence. The same for every failure of this code.
    pub message: String,
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
