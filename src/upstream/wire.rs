//! Writes and reads the provider's JSON, and checks every answer before it is used.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{MintOrder, UpstreamError};
use crate::clock::{Tick, Timestamp};
use crate::domain::{ClientSecret, UpstreamSession};

/// The longest client secret that is accepted.
const MAX_SECRET_LENGTH: usize = 1024;
/// The longest life of a client secret (`expires_after.seconds` in the published schema), and a minute of skew.
const MAX_LIFETIME: Duration = Duration::from_mins(121);

#[derive(Serialize)]
struct MintBody<'a> {
    expires_after: ExpiresAfter,
    session: &'a RawValue,
}

#[derive(Serialize)]
struct ExpiresAfter {
    anchor: &'static str,
    seconds: u64,
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
    model: Option<String>,
    audio: Option<AudioEcho>,
}

#[derive(Deserialize)]
struct AudioEcho {
    output: Option<OutputEcho>,
}

#[derive(Deserialize)]
struct OutputEcho {
    voice: Option<VoiceEcho>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum VoiceEcho {
    BuiltIn(String),
    Custom { id: String },
}

#[derive(Default, Deserialize)]
struct ErrorAnswer {
    #[serde(default)]
    error: ErrorBody,
}

#[derive(Default, Deserialize)]
struct ErrorBody {
    code: Option<String>,
    param: Option<String>,
    r#type: Option<String>,
}

/// When a request was sent, and the upstream's time when it answered.
#[derive(Clone, Copy)]
pub(super) struct Timing {
    pub(super) sent: Tick,
    pub(super) answered: Timestamp,
}

/// Writes the body of `POST /realtime/client_secrets`.
pub(super) fn mint_body(order: &MintOrder) -> Result<Vec<u8>, UpstreamError> {
    let expires_after = ExpiresAfter {
        anchor: "created_at",
        seconds: order.lifetime.as_secs(),
    };
    serde_json::to_vec(&MintBody {
        expires_after,
        session: order.session.as_json(),
    })
    .map_err(|_| UpstreamError::Invalid("our own request could not be written"))
}

/// Reads the answer strictly: everything but a live client secret is an error.
pub(super) fn read_secret(
    body: &[u8],
    order: &MintOrder,
    timing: Timing,
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
    let lifetime = expires_at.since(timing.answered);
    if lifetime.is_zero() || lifetime > MAX_LIFETIME {
        return Err(UpstreamError::Invalid(
            "it has already expired, or lives too long",
        ));
    }
    let expires_tick = timing.sent.plus(lifetime.min(order.lifetime));
    let summary = answer.session.map(summarise).unwrap_or_default();
    Ok(ClientSecret::new(
        SecretString::from(answer.value),
        expires_at,
        expires_tick,
        summary,
    ))
}

fn summarise(session: SessionEcho) -> UpstreamSession {
    let voice = session
        .audio
        .and_then(|audio| audio.output)
        .and_then(|output| output.voice);
    let voice = voice.map(|voice| match voice {
        VoiceEcho::BuiltIn(name) => name,
        VoiceEcho::Custom { id } => id,
    });
    UpstreamSession {
        id: session.id,
        model: session.model,
        voice,
    }
}

/// The parts of an error answer that decide something or are logged.
pub(super) struct Complaint {
    pub(super) out_of_quota: bool,
    /// Code and field, cleaned for a log line. Never the message, which may quote part of the key.
    pub(super) code: String,
}

/// Reads the provider's error envelope. An unreadable one gives an empty complaint.
pub(super) fn read_complaint(body: &[u8]) -> Complaint {
    let error = serde_json::from_slice::<ErrorAnswer>(body)
        .unwrap_or_default()
        .error;
    let says = |word: &str| {
        [&error.code, &error.r#type]
            .into_iter()
            .flatten()
            .any(|text| text.contains(word))
    };
    let out_of_quota = says("insufficient_quota") || says("billing");
    let parts =
        [error.code.as_deref(), error.param.as_deref()].map(|part| clean(part.unwrap_or_default()));
    Complaint {
        out_of_quota,
        code: parts.join(" ").trim().to_owned(),
    }
}

fn clean(text: &str) -> String {
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || "_.[]-".contains(*letter);
    text.chars().filter(plain).take(64).collect()
}
