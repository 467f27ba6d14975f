//! Owns the one table of failures: every code with its status and its words.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// Every failure there is, by the name callers know it under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request cannot be understood; `param` names the field.
    BadRequest,
    /// There is no credential, or it is not good; see `WWW-Authenticate`.
    Unauthorized,
    /// Pages of this origin may not call.
    OriginNotAllowed,
    /// The persona is for other roles (`param` says so), or pages may not send this method or header.
    Forbidden,
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
    /// Too many requests; `limit` says which limit, `Retry-After` how long to wait.
    RateLimited,
    /// A quota or the budget of everybody is used up; `limit` says which, `Retry-After` when there is a new one.
    QuotaExceeded,
    /// This address or account is blocked for a while; see `Retry-After`.
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
    /// Use cannot be recorded right now, so nothing is minted; see `Retry-After`.
    LedgerUnavailable,
    /// Credentials cannot be verified right now; see `Retry-After`.
    AuthUnavailable,
    /// The service is about to stop; see `Retry-After`.
    ShuttingDown,
    /// The upstream took too long.
    UpstreamTimeout,
}

/// What is to be known of one failure.
struct Facts {
    name: &'static str,
    status: StatusCode,
    /// Constant, helpful, and silent about our insides.
    message: &'static str,
}

const fn row(name: &'static str, status: StatusCode, message: &'static str) -> Facts {
    Facts {
        name,
        status,
        message,
    }
}

impl Code {
    /// The table.
    #[expect(clippy::too_many_lines, reason = "a table, a row for each code")]
    const fn facts(self) -> Facts {
        match self {
            Self::BadRequest => row(
                "bad_request",
                StatusCode::BAD_REQUEST,
                "The request could not be understood. Check the field named in param, or send an empty body.",
            ),
            Self::Unauthorized => row(
                "unauthorized",
                StatusCode::UNAUTHORIZED,
                "Sign in, and send the credential as Authorization: Bearer. If you did, it has expired or is not for this service.",
            ),
            Self::OriginNotAllowed => row(
                "origin_not_allowed",
                StatusCode::FORBIDDEN,
                "Pages of this origin may not call. The operator can add it to ALLOWED_ORIGINS.",
            ),
            Self::Forbidden => row(
                "forbidden",
                StatusCode::FORBIDDEN,
                "The persona is for other roles than this caller's, if param names it. Otherwise: pages may send GET and POST with Authorization, Content-Type, X-Request-Id and X-OpenAI-Agents-SDK only.",
            ),
            Self::NotFound => row(
                "not_found",
                StatusCode::NOT_FOUND,
                "There is nothing at this path. See openapi.json for what there is.",
            ),
            Self::UnknownSession => row(
                "unknown_session",
                StatusCode::NOT_FOUND,
                "There is no such session. Open a new one with POST /token.",
            ),
            Self::MethodNotAllowed => row(
                "method_not_allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "This path does not take this method. See the Allow header.",
            ),
            Self::PayloadTooLarge => row(
                "payload_too_large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body is too large. At most 16 KiB are read.",
            ),
            Self::UnsupportedMediaType => row(
                "unsupported_media_type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Send the body as application/json without a content encoding, or send none.",
            ),
            Self::Misdirected => row(
                "misdirected",
                StatusCode::MISDIRECTED_REQUEST,
                "This server does not answer for that host. The operator can add it to server.hosts.",
            ),
            Self::UnknownPersona => row(
                "unknown_persona",
                StatusCode::UNPROCESSABLE_ENTITY,
                "There is no persona of that name. Leave it away for the default.",
            ),
            Self::RateLimited => row(
                "rate_limited",
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests. limit names the limit. Wait for as long as Retry-After says.",
            ),
            Self::QuotaExceeded => row(
                "quota_exceeded",
                StatusCode::TOO_MANY_REQUESTS,
                "The allowance that limit names is used up. There is a new one after as long as Retry-After says.",
            ),
            Self::Blocked => row(
                "blocked",
                StatusCode::TOO_MANY_REQUESTS,
                "This address or account is blocked for a while. Wait for as long as Retry-After says.",
            ),
            Self::RefreshTooSoon => row(
                "refresh_too_soon",
                StatusCode::TOO_MANY_REQUESTS,
                "This session was refreshed too recently. Wait for as long as Retry-After says.",
            ),
            Self::RefreshLimitReached => row(
                "refresh_limit_reached",
                StatusCode::TOO_MANY_REQUESTS,
                "This session has used up its refreshes. Open a new one with POST /token.",
            ),
            Self::Internal => row(
                "internal",
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong here. Try again; if it stays so, tell the operator the request_id.",
            ),
            Self::UpstreamInvalid => row(
                "upstream_invalid",
                StatusCode::BAD_GATEWAY,
                "The upstream refused the request or answered nonsense. Tell the operator the request_id.",
            ),
            Self::UpstreamUnavailable => row(
                "upstream_unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "The upstream cannot be used right now. Wait for as long as Retry-After says.",
            ),
            Self::Overloaded => row(
                "overloaded",
                StatusCode::SERVICE_UNAVAILABLE,
                "There is too much to do right now. Wait for as long as Retry-After says.",
            ),
            Self::LedgerUnavailable => row(
                "ledger_unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "Use cannot be recorded right now, so nothing was minted. Wait for as long as Retry-After says.",
            ),
            Self::AuthUnavailable => row(
                "auth_unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "Credentials cannot be verified right now. Wait for as long as Retry-After says.",
            ),
            Self::ShuttingDown => row(
                "shutting_down",
                StatusCode::SERVICE_UNAVAILABLE,
                "This instance is about to stop. Try again, and another one will answer.",
            ),
            Self::UpstreamTimeout => row(
                "upstream_timeout",
                StatusCode::GATEWAY_TIMEOUT,
                "The upstream took too long. Try again.",
            ),
        }
    }

    /// Its status.
    pub const fn status(self) -> StatusCode {
        self.facts().status
    }

    /// As it stands in an answer and in a log line.
    pub const fn as_str(self) -> &'static str {
        self.facts().name
    }

    /// What to do about it, for a person.
    pub(super) const fn message(self) -> &'static str {
        self.facts().message
    }

    /// The kind of failure, in the provider's words.
    pub(super) fn kind(self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "server_error",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_alike_in_answers_and_in_logs() {
        for code in [
            Code::BadRequest,
            Code::Unauthorized,
            Code::QuotaExceeded,
            Code::LedgerUnavailable,
            Code::AuthUnavailable,
            Code::OriginNotAllowed,
            Code::Forbidden,
            Code::NotFound,
            Code::UnknownSession,
            Code::MethodNotAllowed,
            Code::PayloadTooLarge,
            Code::UnsupportedMediaType,
            Code::Misdirected,
            Code::UnknownPersona,
            Code::RateLimited,
            Code::Blocked,
            Code::RefreshTooSoon,
            Code::RefreshLimitReached,
            Code::Internal,
            Code::UpstreamInvalid,
            Code::UpstreamUnavailable,
            Code::Overloaded,
            Code::ShuttingDown,
            Code::UpstreamTimeout,
        ] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
