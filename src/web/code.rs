//! Lists the codes of failures: the message, the status and the usual wait of each.

use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// The code of a failure. It displays as the message to the caller, which is the same for every failure of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is malformed; `param` names the field.
    #[error("The request is malformed. Correct the field that param names, or send an empty body.")]
    BadRequest,
    /// The credential is missing or not valid; see `WWW-Authenticate`.
    #[error(
        "Sign in, and send the credential as Authorization: Bearer. If you did, it has expired or is not for this service."
    )]
    Unauthorized,
    /// The ticket has expired, was never minted, or opens something else.
    #[error("The ticket is not valid or has expired. Get a new one with POST /token.")]
    TicketExpired,
    /// The ticket was used before.
    #[error("The ticket was used before. Get a new one with POST /token for a new call.")]
    TicketUsed,
    /// Pages of this origin may not call.
    #[error("Pages of this origin may not call. The operator can add it to ALLOWED_ORIGINS.")]
    OriginNotAllowed,
    /// The persona or the path is for other roles (`param` says which), or pages may not send this method, or this many headers.
    #[error(
        "If param is persona, the persona is for other roles. If it is role, the operator can add your role to live.attach_roles. Otherwise, pages may send only GET and POST, and at most 32 header names of 2 KiB in total."
    )]
    Forbidden,
    /// Nothing is at this path.
    #[error("This path does not exist. See openapi.json for the paths of this service.")]
    NotFound,
    /// No live session of this caller has that id.
    #[error("No live session has this id. Open a new session with POST /token.")]
    UnknownSession,
    /// No call of this caller has that id.
    #[error(
        "No call of yours has this id. Send the credential, the ticket or the X-Call-Token of the call."
    )]
    UnknownCall,
    /// The offer is not one that can be answered.
    #[error(
        "The offer is malformed. Send the text of RTCPeerConnection.createOffer as application/sdp."
    )]
    InvalidOffer,
    /// The offer has video, and the persona has none.
    #[error("The offer has video, which the persona does not allow. Offer audio only.")]
    VideoNotAllowed,
    /// The path does not support this method; see `Allow`.
    #[error("This path does not support this method. Use a method of the Allow header.")]
    MethodNotAllowed,
    /// The body is too large.
    #[error("The body is too large. Send at most 16 KiB, or an offer of at most 64 KiB.")]
    PayloadTooLarge,
    /// The recording is too large.
    #[error(
        "The recording is too large. Send at most 25 MiB: cut the recording, or encode it with fewer bits, like Opus at 32 kbit/s."
    )]
    RecordingTooLarge,
    /// The recording did not arrive in time.
    #[error(
        "The recording did not arrive in time. Send a smaller one, or use a faster connection."
    )]
    UploadTimeout,
    /// The format of the recording is not known.
    #[error(
        "Send a recording as flac, m4a, mp3, mp4, mpeg, mpga, oga, ogg, wav or webm: with a file name that ends so, or with its media type, as multipart/form-data or, at /transcribe, as the body."
    )]
    UnsupportedRecording,
    /// The provider refuses the recording, or a field beside it.
    #[error(
        "The provider cannot transcribe this recording with these fields. Send at most 1400 s of audio in a format that its name or type says, and fields that the model supports."
    )]
    RecordingRefused,
    /// The model is not one of those that callers may name.
    #[error("Callers may not use this model here. Omit model to use the default one.")]
    ModelNotAllowed,
    /// The header fields are too many, or too large together.
    #[error(
        "The headers are too large. Send at most 64 fields of 16 KiB in total. Large cookies are the usual cause: send none, or call the service under a host of its own."
    )]
    HeadersTooLarge,
    /// The body is not `application/json`.
    #[error("Send the body as application/json without a content encoding, or send no body.")]
    UnsupportedMediaType,
    /// This server does not serve that host.
    #[error("This server does not serve this host. The operator can add it to server.hosts.")]
    Misdirected,
    /// No persona has that name.
    #[error("No persona has this name. Omit the field to use the default persona.")]
    UnknownPersona,
    /// The persona may not be used in the mode that `connect` asks for, or not for calls.
    #[error(
        "The persona may not be used in this mode. Omit connect to use the mode of the persona. Personas of GPT-Live open calls only: POST /calls."
    )]
    ModeNotAllowed,
    /// Too many requests; `limit` names the limit. See `Retry-After`.
    #[error("Too many requests. Retry after the time in Retry-After; limit names the limit.")]
    RateLimited,
    /// A quota or a budget of all callers is used up; `limit` names it. See `Retry-After`.
    #[error("The allowance that limit names is used up. Retry after the time in Retry-After.")]
    QuotaExceeded,
    /// The money for calls is used up, or held for calls that run; `limit` names it. See `Retry-After`.
    #[error(
        "The money that limit names is used up, or held for calls that run. Retry after the time in Retry-After."
    )]
    MoneyExhausted,
    /// This address or identity is blocked for a while; see `Retry-After`.
    #[error("This address or account is blocked. Retry after the time in Retry-After.")]
    Blocked,
    /// The session was refreshed too recently; see `Retry-After`.
    #[error("The session was refreshed a moment ago. Retry after the time in Retry-After.")]
    RefreshTooSoon,
    /// The session has used up its refreshes.
    #[error("The session has used up its refreshes. Open a new session with POST /token.")]
    RefreshLimitReached,
    /// An error of this service.
    #[error("An internal error occurred. Retry; if it persists, send the operator the request_id.")]
    Internal,
    /// A call with the same `Idempotency-Key` was opened before.
    #[error("A call with this Idempotency-Key was opened before. Use a new key for a new call.")]
    CallRepeated,
    /// The call was ended while it was dialled.
    #[error(
        "The call was ended while it was dialled: its owner was signed out, or an operator ended it. Sign in again for a new call."
    )]
    CallEnded,
    /// As many calls are live as may be; `limit` names the limit. See `Retry-After`.
    #[error(
        "As many calls are live as the limit allows. End one, or retry after the time in Retry-After."
    )]
    CallLimit,
    /// The upstream refused the request, or its answer is not usable.
    #[error(
        "The provider refused the request, or its answer is not usable. Send the operator the request_id."
    )]
    UpstreamInvalid,
    /// The upstream is temporarily unavailable; see `Retry-After`.
    #[error("The provider is temporarily unavailable. Retry after the time in Retry-After.")]
    UpstreamUnavailable,
    /// The service has no capacity at the moment; see `Retry-After`.
    #[error("The service is overloaded. Retry after the time in Retry-After.")]
    Overloaded,
    /// The cost of calls is limited, and a model of the persona has no price.
    #[error(
        "A model of the persona has no price, so its cost cannot be limited. Send the operator the request_id."
    )]
    NoPrice,
    /// Use cannot be recorded, so nothing is minted; see `Retry-After`.
    #[error("Nothing was minted: use cannot be recorded. Retry after the time in Retry-After.")]
    LedgerUnavailable,
    /// Credentials cannot be verified at the moment; see `Retry-After`.
    #[error("Credentials cannot be verified. Retry after the time in Retry-After.")]
    AuthUnavailable,
    /// This replica is about to stop; see `Retry-After`.
    #[error("This replica is about to stop. Retry: another replica answers.")]
    ShuttingDown,
    /// The upstream did not answer in time.
    #[error("The provider did not answer in time. Retry.")]
    UpstreamTimeout,
}

impl Code {
    /// Returns the status of an answer with this code.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::InvalidOffer | Self::VideoNotAllowed => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthorized | Self::TicketExpired => StatusCode::UNAUTHORIZED,
            Self::OriginNotAllowed | Self::Forbidden | Self::ModelNotAllowed => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound | Self::UnknownSession | Self::UnknownCall => StatusCode::NOT_FOUND,
            Self::MoneyExhausted => StatusCode::PAYMENT_REQUIRED,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::CallRepeated | Self::CallEnded | Self::TicketUsed => StatusCode::CONFLICT,
            Self::PayloadTooLarge | Self::RecordingTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UploadTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnsupportedMediaType | Self::UnsupportedRecording => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::UnknownPersona | Self::ModeNotAllowed | Self::RecordingRefused => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::RateLimited
            | Self::QuotaExceeded
            | Self::Blocked
            | Self::CallLimit
            | Self::RefreshTooSoon
            | Self::RefreshLimitReached => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UpstreamInvalid => StatusCode::BAD_GATEWAY,
            Self::UpstreamUnavailable
            | Self::Overloaded
            | Self::LedgerUnavailable
            | Self::NoPrice
            | Self::AuthUnavailable
            | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Returns the wait of a failure that names none: a minute for a missing price, which an operator has to add; two seconds
    /// for the upstream and the records; one second for other failures of 429 and 503. `None` for failures that waiting does
    /// not mend.
    pub fn usual_wait(self) -> Option<Duration> {
        let seconds = match self {
            Self::NoPrice => 60,
            Self::UpstreamUnavailable | Self::LedgerUnavailable => 2,
            _ => 1,
        };
        let status = self.status();
        let waits = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
        ];
        waits
            .contains(&status)
            .then_some(Duration::from_secs(seconds))
    }

    /// Returns the name of the code, as answers and log lines have it.
    pub fn name(self) -> impl fmt::Display {
        fmt::from_fn(move |formatter| self.serialize(formatter))
    }

    /// Returns the kind of failure, in the provider's words.
    pub(super) fn kind(self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYMENT_REQUIRED => "rate_limit_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "server_error",
        }
    }

    /// Returns the code for a bare status that a library answered with.
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
        let code = Code::RefreshLimitReached;
        assert_eq!(serde_json::to_value(code).unwrap(), "refresh_limit_reached");
        assert_eq!(code.name().to_string(), "refresh_limit_reached");
    }
}
