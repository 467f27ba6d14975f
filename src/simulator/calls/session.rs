//! Opens sessions over a WebSocket.

use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::join::{bounded, parameter, served};
use super::live::Live;
use crate::provider::known_model;
use crate::simulator::edge::Edge;
use crate::simulator::refusal::Refusal;

/// How a subprotocol begins that is a key.
const KEY: &str = "openai-insecure-api-key.";
/// The error of clients of the API before its release.
const BETA: &str =
    "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API.";

/// `GET /v1/realtime?model=`, or `?intent=transcription`.
pub(super) fn open(
    edge: Arc<Edge>,
    uri: &Uri,
    headers: &HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Refusal> {
    let asked = asked(uri)?;
    let (key, session) = admit(&edge, headers)?;
    if let Asked::Model(model) = &asked
        && !known_model(model)
    {
        return Err(Refusal::new(
            400,
            "model_not_found",
            "The requested model does not exist.",
        ));
    }
    let upgrade = bounded(upgrade)?.protocols(["realtime"]);
    if is_beta(headers) {
        return Ok(upgrade.on_upgrade(refuse_beta));
    }
    let id = {
        let mut desk = edge.calls.desk();
        let session = asked.session(session);
        let live = Live::session(&key, &session, (edge.calls.clock.now(), &desk.switches));
        let id = live.id.clone();
        desk.add(live);
        id
    };
    Ok(served(upgrade, edge, id, true))
}

/// What a client asks for by the address.
enum Asked {
    Model(String),
    Transcription,
}

impl Asked {
    /// Returns the session, over that of a client secret.
    fn session(self, of_secret: Option<Value>) -> Value {
        match self {
            Self::Model(model) => {
                let mut session = of_secret.unwrap_or_else(|| json!({"type": "realtime"}));
                session["model"] = model.into();
                session
            }
            Self::Transcription => of_secret.unwrap_or_else(|| json!({"type": "transcription"})),
        }
    }
}

fn asked(uri: &Uri) -> Result<Asked, Refusal> {
    let refused = |code, message: &str, param| Refusal::new(400, code, message).at(param);
    match (parameter(uri, "model"), parameter(uri, "intent")) {
        (Some(model), None) => Ok(Asked::Model(model)),
        (None, Some(intent)) if intent == "transcription" => Ok(Asked::Transcription),
        (None, None) => Err(refused(
            "missing_required_parameter",
            "Missing required parameter: 'model'.",
            "model",
        )),
        (_, Some(_)) => Err(refused(
            "invalid_value",
            "Send either a model or intent=transcription.",
            "intent",
        )),
    }
}

/// Returns the key of a request, and the session of a client secret.
fn admit(edge: &Edge, headers: &HeaderMap) -> Result<(String, Option<Value>), Refusal> {
    let mut given = headers.clone();
    let shown = protocols(headers).find_map(|name| name.strip_prefix(KEY));
    let shown = shown.and_then(|key| HeaderValue::try_from(format!("Bearer {key}")).ok());
    given.extend(shown.map(|shown| (header::AUTHORIZATION, shown)));
    let key = crate::simulator::edge::bearer(&given);
    match edge.secret_session(&key) {
        Some(session) => Ok((key, Some(session).filter(|session| !session.is_null()))),
        None => edge.admit(&given).map(|key| (key, None)),
    }
}

fn is_beta(headers: &HeaderMap) -> bool {
    headers.contains_key("openai-beta")
        || protocols(headers).any(|name| name.starts_with("openai-beta."))
}

async fn refuse_beta(mut socket: WebSocket) {
    let error = json!({"type": "invalid_request_error", "code": "beta_api_shape_disabled", "message": BETA});
    let event = json!({"type": "error", "event_id": "event_beta", "error": error});
    let _ = socket.send(Message::Text(event.to_string().into())).await;
    let frame = CloseFrame {
        code: 4000,
        reason: "invalid_request_error.beta_api_shape_disabled".into(),
    };
    let _ = socket.send(Message::Close(Some(frame))).await;
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let names = lines.filter_map(|line| line.to_str().ok());
    names.flat_map(|line| line.split(',')).map(str::trim)
}
