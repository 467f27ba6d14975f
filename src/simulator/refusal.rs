//! Words refusals as the provider does, in its error envelope.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::provider;

/// A refusal in the provider's form.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
    retry_after: Option<u64>,
}

impl Refusal {
    /// Returns a refusal of the request without code or field.
    pub(super) fn invalid(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            kind: "invalid_request_error",
            code: None,
            param: None,
            message: message.into(),
            retry_after: None,
        }
    }

    fn coded(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code: Some(code),
            ..Self::invalid(status, message)
        }
    }

    pub(super) fn no_key() -> Self {
        Self::invalid(
            StatusCode::UNAUTHORIZED,
            "You didn't provide an API key. You need to provide your API key in an Authorization header using \
             Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        )
    }

    /// Refuses a wrong key. The provider quotes the ends of the key, so its message must not be passed on.
    pub(super) fn wrong_key(given: &str) -> Self {
        let shown = ends_of(given);
        Self::coded(
            StatusCode::UNAUTHORIZED,
            "invalid_api_key",
            format!(
                "Incorrect API key provided: {shown}. You can find your API key at \
                 https://platform.openai.com/account/api-keys."
            ),
        )
    }

    pub(super) fn beta_shape() -> Self {
        Self::coded(
            StatusCode::BAD_REQUEST,
            "beta_api_shape_disabled",
            "The Realtime Beta API is no longer supported. Remove the OpenAI-Beta header and use the GA shape.",
        )
    }

    pub(super) fn content_type(given: &str) -> Self {
        Self::coded(
            StatusCode::BAD_REQUEST,
            "unsupported_content_type",
            format!(
                "Unsupported content type: '{given}'. This API method only accepts 'application/json' requests."
            ),
        )
    }

    pub(super) fn not_json() -> Self {
        Self::invalid(
            StatusCode::BAD_REQUEST,
            "We could not parse the JSON body of your request. The OpenAI API expects a JSON payload, but what was \
             sent was not valid JSON.",
        )
    }

    pub(super) fn too_large() -> Self {
        Self::invalid(
            StatusCode::PAYLOAD_TOO_LARGE,
            "The request body is too large.",
        )
    }

    pub(super) fn no_model(name: &str) -> Self {
        let message = format!("The model `{name}` does not exist or you do not have access to it.");
        Self {
            param: Some("session.model".to_owned()),
            ..Self::coded(StatusCode::NOT_FOUND, "model_not_found", message)
        }
    }

    pub(super) fn no_transcription_model(name: &str) -> Self {
        let message = format!("Invalid value: '{name}'. This is not a transcription model.");
        Self {
            param: Some("session.audio.input.transcription.model".to_owned()),
            ..Self::coded(StatusCode::BAD_REQUEST, "invalid_value", message)
        }
    }

    pub(super) fn no_path(method: &Method, uri: &Uri) -> Self {
        let message = format!("Invalid URL ({method} {})", uri.path());
        Self::invalid(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn no_method(method: &Method, uri: &Uri) -> Self {
        let message = format!("Invalid method for URL ({method} {})", uri.path());
        Self::invalid(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    // --- what only a planned fault says

    pub(super) fn rate_limited(retry_after: Option<u64>) -> Self {
        Self {
            kind: "requests",
            retry_after,
            ..Self::coded(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_exceeded",
                "Rate limit reached for requests. Please try again later.",
            )
        }
    }

    pub(super) fn no_credit() -> Self {
        Self {
            kind: "insufficient_quota",
            ..Self::coded(
                StatusCode::TOO_MANY_REQUESTS,
                "insufficient_quota",
                "You exceeded your current quota, please check your plan and billing details.",
            )
        }
    }

    pub(super) fn forbidden() -> Self {
        Self {
            kind: "request_forbidden",
            ..Self::coded(
                StatusCode::FORBIDDEN,
                "unsupported_country_region_territory",
                "Country, region, or territory not supported",
            )
        }
    }

    pub(super) fn bad_request() -> Self {
        Self::coded(
            StatusCode::BAD_REQUEST,
            "invalid_value",
            "The simulated provider was told to refuse this request.",
        )
    }

    pub(super) fn broken(status: u16, retry_after: Option<u64>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let is_overload = status == StatusCode::SERVICE_UNAVAILABLE;
        Self {
            kind: "server_error",
            code: is_overload.then_some("server_is_overloaded"),
            retry_after,
            ..Self::invalid(
                status,
                "The server had an error while processing your request. Sorry about that!",
            )
        }
    }
}

impl From<provider::Fault> for Refusal {
    fn from(fault: provider::Fault) -> Self {
        Self {
            param: (!fault.param.is_empty()).then_some(fault.param),
            ..Self::coded(StatusCode::BAD_REQUEST, fault.code, fault.message)
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = json!({
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        });
        let mut response = (self.status, Json(json!({ "error": error }))).into_response();
        if let Some(seconds) = self.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Returns the first eight and the last four characters, as the provider quotes them.
fn ends_of(key: &str) -> String {
    let letters: Vec<char> = key.chars().take(200).collect();
    let hidden = letters.len().saturating_sub(12);
    if hidden == 0 {
        return "*".repeat(letters.len());
    }
    let (begin, end) = (&letters[..8], &letters[letters.len() - 4..]);
    let (begin, end): (String, String) = (begin.iter().collect(), end.iter().collect());
    format!("{begin}{}{end}", "*".repeat(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_key_is_shown_by_its_ends_only() {
        assert_eq!(ends_of("sk-proj-abcdefghijkl"), "sk-proj-********ijkl");
        assert_eq!(ends_of("sk-short"), "********");
        assert_eq!(ends_of(""), "");
    }
}
