//! The provider's JSON: writes requests, and checks every answer before it is used.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use super::error::MISSING_SCOPE;
use super::{CallOrder, MintOrder, UpstreamError};
use crate::clock::{Tick, Timestamp};
use crate::config;
use crate::domain::{ClientSecret, SessionText, UpstreamCallId, UpstreamSession};

/// The longest client secret that is accepted. Gateways encrypt the provider's, which lengthens it.
const MAX_SECRET_LENGTH: usize = 4096;
/// The longest life of a client secret (`expires_after.seconds` in the published schema), and a minute of skew.
const MAX_LIFETIME: Duration = Duration::from_mins(121);
/// The bytes of an answer in which the id of its GPT-Live session is looked for before the rest has come.
const LONGEST_BEGIN: usize = 256;
/// The most missing scopes that are logged.
const MAX_SCOPES: usize = 4;

/// What a client secret looks like, which never is the API key.
pub(super) struct SecretForm {
    prefix: &'static str,
}

impl SecretForm {
    /// Returns the form of client secrets of the API of `settings`. Gateways hand out secrets of their own, in a form of their
    /// own.
    pub(super) fn of(settings: &config::Upstream) -> Self {
        let is_provider = settings.is_providers_own();
        let prefix = if is_provider { "ek_" } else { "" };
        Self { prefix }
    }

    fn fits(&self, value: &str, api_key: &SecretString) -> bool {
        let is_printable = value.bytes().all(|byte| byte.is_ascii_graphic());
        let is_key = value.starts_with("sk-") || value.contains(api_key.expose_secret());
        let length = value.len();
        is_printable
            && !is_key
            && value.starts_with(self.prefix)
            && (1..=MAX_SECRET_LENGTH).contains(&length)
    }
}

#[derive(Deserialize)]
struct MintAnswer {
    value: String,
    expires_at: u64,
    session: Option<SessionEcho>,
}

#[derive(Deserialize)]
struct SessionEcho {
    id: Option<String>,
    r#type: Option<String>,
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
    (form, api_key): (&SecretForm, &SecretString),
    order: &MintOrder,
    (sent, answered): (Tick, Timestamp),
) -> Result<ClientSecret, UpstreamError> {
    let answer: MintAnswer =
        serde_json::from_slice(body).map_err(|_| UpstreamError::Invalid("it cannot be read"))?;
    if !form.fits(&answer.value, api_key) {
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

/// Returns what a page may know of a session before the provider has seen it.
pub fn summary(session: &SessionText) -> UpstreamSession {
    let read = serde_json::from_str(session.as_json().get());
    read.map(summarise).unwrap_or_default()
}

fn summarise(session: SessionEcho) -> UpstreamSession {
    let voice = session.audio.and_then(|audio| audio.output?.voice);
    let name = |voice: Value| Some(voice.as_str().or(voice["id"].as_str())?.to_owned());
    UpstreamSession {
        id: session.id,
        is_transcription: session.r#type.as_deref() == Some("transcription"),
        model: session.model,
        voice: voice.and_then(name),
    }
}

/// Writes the body of `POST /realtime/calls`: the offer byte for byte, and the session, which is not wrapped.
pub(super) fn call_body(order: &CallOrder, boundary: &str) -> Vec<u8> {
    const SDP: &str =
        "Content-Disposition: form-data; name=\"sdp\"\r\nContent-Type: application/sdp";
    const SESSION: &str =
        "Content-Disposition: form-data; name=\"session\"\r\nContent-Type: application/json";
    let session = order.session.as_json().get();
    let mut body = Vec::with_capacity(order.offer.len() + session.len() + 512);
    for (head, part) in [(SDP, &*order.offer), (SESSION, session.as_bytes())] {
        body.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes());
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}

/// Writes the body of `POST /live/sessions`: the session with the name of its end user, and the offer.
pub(super) fn live_body(order: &CallOrder, safety_identifier: &str) -> String {
    let session = order.session.as_json().get().trim_start();
    let fields = session.strip_prefix('{').unwrap_or_default();
    let sdp = Value::from(String::from_utf8_lossy(&order.offer));
    format!(
        r#"{{"session":{{"safety_identifier":"{safety_identifier}",{fields},"transport":{{"type":"webrtc","sdp":{sdp}}}}}"#
    )
}

/// Reads the answer to a request for a GPT-Live session: its id, and the SDP answer. A session whose SDP cannot be used
/// exists and has to be ended.
pub(super) fn read_live(
    body: &[u8],
) -> Result<(UpstreamCallId, Result<String, UpstreamError>), UpstreamError> {
    let answer: Value =
        serde_json::from_slice(body).map_err(|_| UpstreamError::Invalid("it cannot be read"))?;
    let id = answer["session"]["id"].as_str();
    let id = id.and_then(UpstreamCallId::of_live);
    let id = id.ok_or(UpstreamError::Invalid("it names no session"))?;
    let sdp = answer["transport"]["sdp"].as_str().unwrap_or_default();
    Ok((id, read_answer(sdp.into())))
}

/// Reads the id of a GPT-Live session from the beginning of the answer, where the provider writes it.
pub(super) fn read_live_id(begin: &[u8]) -> Option<UpstreamCallId> {
    let begin = &begin[..begin.len().min(LONGEST_BEGIN)];
    let begin = String::from_utf8_lossy(begin);
    let mut parts = ["{", "\"session\"", ":", "{", "\"id\"", ":", "\""].into_iter();
    let rest = parts.try_fold(&*begin, |rest, part| rest.trim_start().strip_prefix(part));
    let (id, _) = rest?.split_once('"')?;
    UpstreamCallId::of_live(id)
}

/// Reads the id of a call from a `Location`: the last part of the path that looks like one. Some gateways repeat a part of
/// the path, or name the call in the query.
pub(super) fn call_id(location: &str) -> Option<UpstreamCallId> {
    let (path, query) = location.split_once('?').unwrap_or((location, ""));
    let in_path = path.rsplit('/').find(|part| part.starts_with("rtc_"));
    let in_query = || {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix("call_id="))
    };
    UpstreamCallId::parse(in_path.or_else(in_query)?)
}

/// Reads the SDP answer.
pub(super) fn read_answer(body: Vec<u8>) -> Result<String, UpstreamError> {
    let answer = String::from_utf8(body).ok();
    let answer = answer.filter(|answer| answer.starts_with("v=0"));
    answer.ok_or(UpstreamError::Invalid("it is no SDP answer"))
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

    #[test]
    fn the_id_of_a_call_is_read_from_every_form_of_location_that_was_seen() {
        for (location, id) in [
            ("/v1/realtime/calls/rtc_u0_A1", Some("rtc_u0_A1")),
            (
                "https://api.openai.com/v1/realtime/calls/rtc_u0_A1?x=rtc_2",
                Some("rtc_u0_A1"),
            ),
            ("/v1/realtime/calls/calls/rtc_u0_A1", Some("rtc_u0_A1")),
            ("/v1/realtime?a=b&call_id=rtc_u0_A1", Some("rtc_u0_A1")),
            ("/evil/../x", None),
            ("/v1/realtime/calls/rtc_", None),
            ("/v1/realtime/calls/rtc_a%2fb", None),
            ("", None),
        ] {
            let read = call_id(location);
            assert_eq!(read.as_ref().map(UpstreamCallId::as_str), id, "{location}");
        }
    }

    #[test]
    fn lv8_a_session_without_a_usable_answer_is_named_and_one_without_a_plain_id_is_not() {
        let read = |answer: &str| read_live(answer.as_bytes());
        let (id, sdp) = read(
            r#"{"session":{"id":"live_u1_A","more":1},"transport":{"type":"webrtc","sdp":"v=0\r\n"}}"#,
        )
        .unwrap();
        assert_eq!((id.as_str(), &*sdp.unwrap()), ("live_u1_A", "v=0\r\n"));
        for without in [
            r#"{"session":{"id":"sess_A"}}"#,
            r#"{"session":{"id":"sess_A"},"transport":{"sdp":"<html>"}}"#,
            r#"{"session":{"id":"sess_A"},"transport":null}"#,
        ] {
            let (id, sdp) = read(without).unwrap();
            assert!(id.as_provider_writes() == "sess_A" && sdp.is_err());
        }
        for wrong in [
            "",
            "[]",
            r#"{"session":{}}"#,
            r#"{"session":{"id":"../x"}}"#,
            r#"{"session":{"id":7}}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lv8_an_id_is_read_before_the_rest_of_the_answer_and_never_half_of_it() {
        let read = |begin: &str| read_live_id(begin.as_bytes());
        for begin in [
            r#"{"session":{"id":"live_u1_A""#,
            r#" { "session" : { "id" : "live_u1_A", "more": ["#,
            r#"{"session":{"id":"live_u1_A"},"transport":{"type":"webrtc","sdp":"v=0\r"#,
        ] {
            let id = read(begin).unwrap();
            assert_eq!(id.as_str(), "live_u1_A", "{begin}");
        }
        let long = format!(r#"{{"session":{{"id":"{}""#, "a".repeat(129));
        for begin in [
            "",
            "{",
            r#"{"session":{"id":"live_u1_A"#,
            r#"{"session":{"id":"../x""#,
            r#"{"session":{"id":7,"x":"live_u1_A""#,
            r#"{"transport":{},"session":{"id":"live_u1_A""#,
            &long,
        ] {
            assert_eq!(read(begin), None, "{begin}");
        }
    }

    #[test]
    fn an_answer_is_sdp_or_none() {
        assert_eq!(read_answer(b"v=0\r\n".to_vec()).unwrap(), "v=0\r\n");
        for wrong in [&b""[..], b"<html>", b"v=0\xff"] {
            assert!(read_answer(wrong.to_vec()).is_err());
        }
    }
}
