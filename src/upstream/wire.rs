//! The provider's JSON: writes requests, and checks every answer before it is used.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use super::error::MISSING_SCOPE;
use super::{MintOrder, UpstreamError};
use crate::clock::{Tick, Timestamp};
use crate::domain::{ClientSecret, UpstreamSession};

/// The longest client secret that is accepted.
const MAX_SECRET_LENGTH: usize = 1024;
/// The longest life of a client secret (`expires_after.seconds` in the published schema), and a minute of skew.
const MAX_LIFETIME: Duration = Duration::from_mins(121);
/// The most missing scopes that are logged.
const MAX_SCOPES: usize = 4;

#[derive(Deserialize)]
struct MintAnswer {
    value: String,
    expires_at: u64,
    session: Option<SessionEcho>,
}

#[derive(Deserialize)]
struct SessionEcho {
    id: Option<String>,
    model: Option<String>,
    audio: Option<AudioEcho>,
}

#[derive(Deserialize)]
struct AudioEcho {
    output: Option<OutputEcho>,
}

#[derive(Deserialize)]
struct OutputEcho {
    /// The name of a built-in voice, or an object with the id of a custom one.
    voice: Option<Value>,
}

/// Writes the body of `POST /realtime/client_secrets`.
pub(super) fn mint_body(order: &MintOrder) -> String {
    format!(
        r#"{{"expires_after":{{"anchor":"created_at","seconds":{}}},"session":{}}}"#,
        order.lifetime.as_secs(),
        order.session.as_json()
    )
}

/// Reads the answer to a request of `sent` that was answered at `answered`, on the upstream's clock. Everything but a live
/// client secret is an error.
pub(super) fn read_secret(
    body: &[u8],
    order: &MintOrder,
    sent: Tick,
    answered: Timestamp,
) -> Result<ClientSecret, UpstreamError> {
    let answer: MintAnswer =
        serde_json::from_slice(body).map_err(|_| UpstreamError::Invalid("it cannot be read"))?;
    let printable = answer.value.bytes().all(|byte| byte.is_ascii_graphic());
    if !answer.value.starts_with("ek_") || !printable || answer.value.len() > MAX_SECRET_LENGTH {
        return Err(UpstreamError::Invalid(
            "its value does not look like a client secret",
        ));
    }
    let expires_at = Timestamp::from_seconds(answer.expires_at);
    // Both times are the upstream's, so that our clock may be wrong.
    let lifetime = expires_at.since(answered);
    if lifetime.is_zero() || lifetime > MAX_LIFETIME {
        return Err(UpstreamError::Invalid(
            "it has already expired, or lives too long",
        ));
    }
    Ok(ClientSecret::new(
        SecretString::from(answer.value),
        expires_at,
        sent.plus(lifetime.min(order.lifetime)),
        answer.session.map(summarise).unwrap_or_default(),
    ))
}

fn summarise(session: SessionEcho) -> UpstreamSession {
    let voice = session.audio.and_then(|audio| audio.output?.voice);
    let name = |voice: Value| Some(voice.as_str().or(voice["id"].as_str())?.to_owned());
    UpstreamSession {
        id: session.id,
        model: session.model,
        voice: voice.and_then(name),
    }
}

/// Reads the provider's error envelope: its code and the field it names, cleaned for a log line, and whether the account has
/// no credit left. Of the message, which may quote part of the key, only the scopes that the key lacks are kept.
pub(super) fn read_complaint(body: &[u8]) -> (String, bool) {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &answer["error"];
    let says = |field| error[field].as_str().unwrap_or_default();
    let is_out_of_credit = ["code", "type"].into_iter().any(|field| {
        let word = says(field);
        word.contains("insufficient_quota") || word.contains("billing")
    });
    // Some answers hold the message in the place of the object.
    let message = error.as_str().unwrap_or_else(|| says("message"));
    let code = match missing_scopes(message) {
        Some(scopes) => format!("{MISSING_SCOPE} {scopes}"),
        None => format!("{} {}", clean(says("code")), clean(says("param"))),
    };
    (code.trim().to_owned(), is_out_of_credit)
}

/// Returns the scopes that the API key lacks, cleaned for a log line. The provider names them in its message alone, with
/// `"code": null`: "… Missing scopes: api.model.read, model.request. Check that …".
fn missing_scopes(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("Missing scopes:")?;
    let sentence = rest.split(". ").next().unwrap_or_default();
    let scopes = sentence
        .split(',')
        .map(|scope| clean(scope.trim_end_matches(['.', ' '])));
    let scopes: Vec<_> = scopes.take(MAX_SCOPES).collect();
    Some(scopes.join(","))
}

fn clean(text: &str) -> String {
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || "_.[]-".contains(*letter);
    text.chars().filter(plain).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f22_of_a_message_only_the_missing_scopes_are_kept() {
        let sentence = "You have insufficient permissions for this operation. Missing scopes:";
        for (message, code) in [
            (
                " model.request. Check your key.",
                "missing_scope model.request",
            ),
            (" api.model.read", "missing_scope api.model.read"),
            (" a.read, b.write.", "missing_scope a.read,b.write"),
            (" a,b,c,d,e", "missing_scope a,b,c,d"),
            (" <b>\u{7}. sk-1", "missing_scope b"),
        ] {
            let message = format!("{sentence}{message}");
            let object = serde_json::json!({ "error": { "message": message, "code": null } });
            let text = serde_json::json!({ "error": message });
            for body in [object, text] {
                let (read, _) = read_complaint(body.to_string().as_bytes());
                assert_eq!(read, code, "{body}");
            }
        }
        let other = r#"{"error":{"message":"Incorrect API key provided: sk-1","code":"invalid_api_key","param":"x"}}"#;
        assert_eq!(read_complaint(other.as_bytes()).0, "invalid_api_key x");
        assert_eq!(read_complaint(br#"{"error":"sk-1"}"#).0, "");
    }
}
