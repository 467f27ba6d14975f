//! Writes answers that carry a client secret. The secret leaves memory here only.

use std::borrow::Cow;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use crate::broker::Grant;
use crate::domain::{ConnectMode, UpstreamSession, below};
use crate::provider::Dialect;
use crate::web::USUAL_HEADERS;
use crate::web::here::Here;
use crate::web::layers::trace::UpstreamTook;
use crate::web::state::Face;

/// A client secret and its session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Granted<'a> {
    /// Always true.
    success: bool,
    /// The client secret or the ticket, `ek_…`.
    token: &'a str,
    /// Expiry in milliseconds since the Unix epoch. An expired secret opens no session.
    expires_at: u64,
    /// Seconds left when this answer was written, for clients whose clock is wrong.
    expires_in: u64,
    /// Session id for `POST /refresh-token`.
    session_id: &'a str,
    /// The client secret under OpenAI's name.
    value: &'a str,
    /// The expiry under OpenAI's name, in seconds since the Unix epoch.
    #[serde(rename = "expires_at")]
    expires_at_seconds: u64,
    /// Summary of the session that the secret opens.
    session: SessionSummary<'a>,
    /// How to connect with the client secret.
    connect: Cow<'a, Connect>,
}

/// How a page connects with a client secret or a ticket.
#[derive(Clone, Serialize, ToSchema)]
pub struct Connect {
    /// `direct`: the page talks to the provider itself. `call`: it posts its offer to this service. `relay`: it opens a
    /// WebSocket to this service.
    mode: &'static str,
    /// URL that answers the offer of a WebRTC call.
    calls: String,
    /// URL that takes a WebSocket.
    realtime: String,
    /// The origin of both, for the policy of a page.
    #[serde(skip)]
    pub origin: String,
}

impl Connect {
    /// Returns how a page connects to the provider's API at `base`.
    pub fn direct(base: &Url) -> Self {
        Self::new(ConnectMode::Direct, base, ("realtime/calls", "realtime"))
    }

    /// Returns how a page connects to this service at `base`.
    fn through(mode: ConnectMode, base: &Url) -> Self {
        Self::new(mode, base, ("calls", "v1/realtime"))
    }

    fn new(mode: ConnectMode, base: &Url, (calls, realtime): (&str, &str)) -> Self {
        let realtime = below(base, realtime);
        Self {
            mode: mode.as_str(),
            calls: below(base, calls).into(),
            realtime: realtime.as_str().replacen("http", "ws", 1),
            origin: base.origin().ascii_serialization(),
        }
    }
}

/// Summary of an upstream session. Never instructions or tools.
#[derive(Serialize, ToSchema)]
pub struct SessionSummary<'a> {
    /// The upstream session's id, `sess_…`.
    id: Option<&'a str>,
    /// `realtime`; `live` for a persona of GPT-Live; `transcription` for a persona that only transcribes.
    r#type: &'static str,
    /// The model.
    model: Option<&'a str>,
    /// The voice.
    voice: Option<&'a str>,
}

/// A client secret in OpenAI's wire shape.
#[derive(Serialize, ToSchema)]
pub struct ClientSecretAnswer<'a> {
    /// The client secret, `ek_…`.
    value: &'a str,
    /// Expiry in seconds since the Unix epoch. An expired secret opens no session.
    expires_at: u64,
    /// Summary of the session that the secret opens.
    session: SessionSummary<'a>,
}

/// A client secret in the oldest shape that pages still read.
#[derive(Serialize, ToSchema)]
pub struct OldSession<'a> {
    client_secret: OldClientSecret<'a>,
    /// Session id for `POST /refresh-token`.
    session_id: &'a str,
    /// Seconds since the Unix epoch.
    expires_at: u64,
}

#[derive(Serialize, ToSchema)]
struct OldClientSecret<'a> {
    /// The client secret, `ek_…`.
    value: &'a str,
    /// Seconds since the Unix epoch.
    expires_at: u64,
}

/// Wire shapes of a grant.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// The shape of `POST /token`, which OpenAI's clients can read, too.
    Ours,
    /// OpenAI's shape.
    OpenAi,
    /// The oldest shape.
    Old,
}

/// Returns what kind of session the secret opens, in the provider's word.
fn kind(upstream: &UpstreamSession) -> &'static str {
    let model = upstream.model.as_deref().unwrap_or_default();
    match Dialect::of_model(model) {
        _ if upstream.is_transcription => "transcription",
        Dialect::Realtime => "realtime",
        Dialect::Live => "live",
    }
}

/// Returns how the page connects.
fn connect<'a>(mode: ConnectMode, (face, here): (&'a Face, &Here)) -> Cow<'a, Connect> {
    // In direct mode nothing is parsed.
    let base = (mode != ConnectMode::Direct).then(|| here.base(face));
    base.flatten().map_or(Cow::Borrowed(&face.connect), |base| {
        Cow::Owned(Connect::through(mode, &base))
    })
}

/// Writes `grant`. The client secret and the session id leave memory here only.
pub(in crate::web) fn answer(
    grant: &Grant,
    shape: Shape,
    (face, here): (&Face, &Here),
) -> Response {
    let secret = &grant.secret;
    let (value, expires_at) = (secret.expose(), secret.expires_at.as_seconds());
    let session_id = grant.session_id.expose();
    let upstream = &secret.upstream_session;
    let session = SessionSummary {
        r#type: kind(upstream),
        id: upstream.id.as_deref(),
        model: upstream.model.as_deref(),
        voice: upstream.voice.as_deref(),
    };
    let mut response = match shape {
        Shape::Ours => Json(Granted {
            success: true,
            token: value,
            expires_at: secret.expires_at.as_millis(),
            expires_in: secret.seconds_left(face.clock.tick()),
            session_id,
            value,
            expires_at_seconds: expires_at,
            session,
            connect: connect(grant.mode, (face, here)),
        })
        .into_response(),
        Shape::OpenAi => Json(ClientSecretAnswer {
            value,
            expires_at,
            session,
        })
        .into_response(),
        Shape::Old => Json(OldSession {
            client_secret: OldClientSecret { value, expires_at },
            session_id,
            expires_at,
        })
        .into_response(),
    };
    let took = UpstreamTook(grant.upstream_took);
    response.extensions_mut().insert(took);
    response.headers_mut().reserve(USUAL_HEADERS);
    response
}
