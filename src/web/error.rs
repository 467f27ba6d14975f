//! Owns failures as callers see them: the one table of statuses and codes.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::broker::BrokerError;
use crate::domain::RequestId;
use crate::limit::Offence;
use crate::upstream::UpstreamError;

/// Every failure there is, by the name callers know it under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request cannot be understood; `param` names the field.
    BadRequest,
    /// Pages of this origin may not call.
    OriginNotAllowed,
    /// There is nothing here.
    NotFound,
    /// No live session of this caller has that id.
    UnknownSession,
    /// The path exists, but not for this method; see `Allow`.
    MethodNotAllowed,
    /// The body is too large.
    PayloadTooLarge,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// This server does not answer for that host.
    Misdirected,
    /// No persona has that name.
    UnknownPersona,
    /// Too many requests from this address; see `Retry-After`.
    RateLimited,
    /// This address is blocked for a while; see `Retry-After`.
    Blocked,
    /// The session was refreshed too recently; see `Retry-After`.
    RefreshTooSoon,
    /// The session has used up its refreshes.
    RefreshLimitReached,
    /// Our fault.
    Internal,
    /// The upstream refused, or answered nonsense.
    UpstreamInvalid,
    /// The upstream cannot be used right now; see `Retry-After`.
    UpstreamUnavailable,
    /// There is more to do than can be done right now; see `Retry-After`.
    Overloaded,
    /// The service is about to stop; see `Retry-After`.
    ShuttingDown,
    /// The upstream took too long.
    UpstreamTimeout,
}

impl Code {
    /// Status, type in the provider's error layout, and message: constant, helpful, and silent about our insides.
    const fn facts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        const INVALID: &str = "invalid_request_error";
        const RATE: &str = "rate_limit_error";
        const SERVER: &str = "server_error";
        match self {
            Self::BadRequest => (
                S::BAD_REQUEST,
                INVALID,
                "The request could not be understood. Check the field named in param, or send an empty body.",
            ),
            Self::OriginNotAllowed => (
                S::FORBIDDEN,
                "permission_error",
                "Pages of this origin may not call. The operator can add it to ALLOWED_ORIGINS.",
            ),
            Self::NotFound => (
                S::NOT_FOUND,
                INVALID,
                "There is nothing at this path. See openapi.json for what there is.",
            ),
            Self::UnknownSession => (
                S::NOT_FOUND,
                INVALID,
                "There is no such session. Open a new one with POST /token.",
            ),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                INVALID,
                "This path does not take this method. See the Allow header.",
            ),
            Self::PayloadTooLarge => (
                S::PAYLOAD_TOO_LARGE,
                INVALID,
                "The body is too large. At most 16 KiB are read.",
            ),
            Self::UnsupportedMediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                INVALID,
                "Send the body as application/json without a content encoding, or send none.",
            ),
            Self::Misdirected => (
                S::MISDIRECTED_REQUEST,
                INVALID,
                "This server does not answer for that host. The operator can add it to server.hosts.",
            ),
            Self::UnknownPersona => (
                S::UNPROCESSABLE_ENTITY,
                INVALID,
                "There is no persona of that name. Leave it away for the default.",
            ),
            Self::RateLimited => (
                S::TOO_MANY_REQUESTS,
                RATE,
                "Too many requests from this address. Wait for as long as Retry-After says.",
            ),
            Self::Blocked => (
                S::TOO_MANY_REQUESTS,
                RATE,
                "This address is blocked for a while. Wait for as long as Retry-After says.",
            ),
            Self::RefreshTooSoon => (
                S::TOO_MANY_REQUESTS,
                RATE,
                "This session was refreshed too recently. Wait for as long as Retry-After says.",
            ),
            Self::RefreshLimitReached => (
                S::TOO_MANY_REQUESTS,
                RATE,
                "This session has used up its refreshes. Open a new one with POST /token.",
            ),
            Self::Internal => (
                S::INTERNAL_SERVER_ERROR,
                SERVER,
                "Something went wrong here. Try again; if it stays so, tell the operator the request_id.",
            ),
            Self::UpstreamInvalid => (
                S::BAD_GATEWAY,
                SERVER,
                "The upstream refused the request or answered nonsense. Tell the operator the request_id.",
            ),
            Self::UpstreamUnavailable => (
                S::SERVICE_UNAVAILABLE,
                SERVER,
                "The upstream cannot be used right now. Wait for as long as Retry-After says.",
            ),
            Self::Overloaded => (
                S::SERVICE_UNAVAILABLE,
                SERVER,
                "There is too much to do right now. Wait for as long as Retry-After says.",
            ),
            Self::ShuttingDown => (
                S::SERVICE_UNAVAILABLE,
                SERVER,
                "This instance is about to stop. Try again, and another one will answer.",
            ),
            Self::UpstreamTimeout => (
                S::GATEWAY_TIMEOUT,
                SERVER,
                "The upstream took too long. Try again.",
            ),
        }
    }

    /// Its status.
    pub const fn status(self) -> StatusCode {
        self.facts().0
    }

    /// As it stands in an answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::NotFound => "not_found",
            Self::UnknownSession => "unknown_session",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Misdirected => "misdirected",
            Self::UnknownPersona => "unknown_persona",
            Self::RateLimited => "rate_limited",
            Self::Blocked => "blocked",
            Self::RefreshTooSoon => "refresh_too_soon",
            Self::RefreshLimitReached => "refresh_limit_reached",
            Self::Internal => "internal",
            Self::UpstreamInvalid => "upstream_invalid",
            Self::UpstreamUnavailable => "upstream_unavailable",
            Self::Overloaded => "overloaded",
            Self::ShuttingDown => "shutting_down",
            Self::UpstreamTimeout => "upstream_timeout",
        }
    }

    /// The code for a bare status that a library answered with.
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::PayloadTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::GATEWAY_TIMEOUT => Self::UpstreamTimeout,
            StatusCode::SERVICE_UNAVAILABLE => Self::Overloaded,
            status if status.is_client_error() => Self::BadRequest,
            _ => Self::Internal,
        }
    }
}

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
    /// True when nothing was used up, so that the address gets its place back.
    pub gives_back: bool,
    /// Why, for the log.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        Self {
            code,
            param: None,
            retry_after: None,
            offence: None,
            gives_back: false,
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

    /// Whole seconds for `Retry-After`: rounded up, so that they suffice.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after
            .map(|wait| (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
    }

    /// The body of the answer to the request called `request_id`.
    pub fn body<'a>(&'a self, request_id: Option<&'a RequestId>) -> Failure<'a> {
        let (_, kind, message) = self.code.facts();
        let error = FailureBody {
            kind,
            code: self.code,
            message,
            param: self.param.as_deref(),
            retry_after: self.retry_after_seconds(),
            request_id: request_id.map(RequestId::as_str),
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
        response.extensions_mut().insert(self);
        response
    }
}

/// How long to wait when nobody says.
const SHORT_WAIT: Duration = Duration::from_secs(1);
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
            BrokerError::UnknownSession { foreign } => Self {
                offence: foreign.then_some(Offence::ForeignSession),
                ..Code::UnknownSession.into()
            },
            BrokerError::TooSoon { wait } => plain(Code::RefreshTooSoon).after(*wait),
            BrokerError::Exhausted => plain(Code::RefreshLimitReached).after(SHORT_WAIT),
            BrokerError::ShuttingDown => plain(Code::ShuttingDown).after(SHORT_WAIT),
            BrokerError::Upstream(error) => upstream(error),
            BrokerError::Store(_) | BrokerError::Lost => plain(Code::Internal),
        };
        failure.cause = Some(Arc::new(error));
        failure
    }
}

fn upstream(error: &UpstreamError) -> ApiError {
    let code = match error {
        UpstreamError::Unreachable(_)
        | UpstreamError::Broken { .. }
        | UpstreamError::RateLimited { .. }
        | UpstreamError::QuotaExhausted
        | UpstreamError::KeyRejected { .. }
        | UpstreamError::Resting { .. } => Code::UpstreamUnavailable,
        UpstreamError::TimedOut => Code::UpstreamTimeout,
        UpstreamError::Refused { .. } | UpstreamError::Invalid(_) => Code::UpstreamInvalid,
        UpstreamError::Overloaded { .. } => Code::Overloaded,
    };
    let waits = code.status() == StatusCode::SERVICE_UNAVAILABLE;
    let retry_after = waits.then(|| error.retry_after().unwrap_or(UPSTREAM_WAIT));
    ApiError {
        retry_after,
        gives_back: error.is_definite(),
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
    /// Seconds to wait; the same as in `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The name of the request, to tell the operator.
    pub request_id: Option<&'a str>,
}
