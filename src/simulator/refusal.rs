//! Refuses requests in the provider's error envelope.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::provider;

/// A refusal in the provider's form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Refusal {
    #[serde(skip)]
    status: u16,
    /// Seconds in `Retry-After`, if it is sent.
    #[serde(skip)]
    pub(super) retry_after: Option<u64>,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
}

impl Refusal {
    /// Returns a refusal of the request that names no field.
    pub(super) fn new(
        status: u16,
        code: impl Into<Option<&'static str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            retry_after: None,
            kind: "invalid_request_error",
            code: code.into(),
            param: None,
            message: message.into(),
        }
    }

    /// Names the field at fault.
    pub(super) fn at(self, param: impl Into<String>) -> Self {
        let param = Some(param.into());
        Self { param, ..self }
    }

    /// Refuses an unknown model.
    pub(super) fn no_model(name: &str) -> Self {
        let message = format!("The model `{name}` does not exist or you do not have access to it.");
        Self::new(404, "model_not_found", message)
    }

    /// Refuses an unknown call.
    pub(super) fn no_call(status: u16) -> Self {
        Self::new(status, "call_id_not_found", "No session found for call_id.")
    }

    /// Refuses an unknown GPT-Live session, or one that has ended.
    pub(super) fn no_session() -> Self {
        let message = "No session found for session_id.";
        Self::new(404, "session_id_not_found", message).at("session_id")
    }

    /// Refuses a wrong key. The provider quotes the ends of the key, so its message must not be passed on.
    pub(super) fn wrong_key(given: &str) -> Self {
        let message = format!(
            "Incorrect API key provided: {}. You can find your API key at https://platform.openai.com/account/api-keys.",
            ends_of(given)
        );
        Self::new(401, "invalid_api_key", message)
    }

    /// Refuses a restricted key that lacks `scope`. The provider names the scope in its message alone.
    pub(super) fn missing_scope(scope: &str) -> Self {
        let message = format!(
            "You have insufficient permissions for this operation. Missing scopes: {scope}. Check that you have the correct role in \
             your organization (Reader, Writer, Owner) and project (Member, Owner), and if you're using a restricted API key, that \
             it has the necessary scopes."
        );
        Self::new(401, None, message)
    }
}

impl From<provider::Fault> for Refusal {
    fn from(fault: provider::Fault) -> Self {
        let refusal = Self::new(400, fault.code, fault.message);
        if fault.param.is_empty() {
            refusal
        } else {
            refusal.at(fault.param)
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or_default();
        let wait = self
            .retry_after
            .map(|seconds| [(header::RETRY_AFTER, seconds.to_string())]);
        (status, wait, Json(json!({ "error": self }))).into_response()
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        refusal.into_response()
    }
}

/// Returns the first eight and the last four characters, as the provider quotes them.
fn ends_of(key: &str) -> String {
    let letters: Vec<char> = key.chars().take(200).collect();
    let is_shown = |at| letters.len() > 12 && (at < 8 || at + 4 >= letters.len());
    let shown = letters.iter().enumerate();
    let shown = shown.map(|(at, letter)| if is_shown(at) { *letter } else { '*' });
    shown.collect()
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
