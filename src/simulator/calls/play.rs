//! Lets programs outside this process play turns.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::live::Peer;
use super::{client_event, gpt_live, turn};
use crate::simulator::edge::Edge;
use crate::simulator::refusal::Refusal;

/// What somebody does in a call.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Played {
    /// A turn: `say:Hello`, `tool:look_up`, `long:Once upon a time`, `fail`, `silent`.
    turn: Option<String>,
    /// An event that the browser sends.
    browser: Option<Value>,
    /// Seconds of a GPT-Live session that pass at once.
    pass: Option<u64>,
}

/// `POST /_simulator/calls/{id}/play`.
pub(in crate::simulator) async fn play(
    State(edge): State<Arc<Edge>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    edge.admit(&headers)?;
    let refuse = |why: String| Refusal::new(400, None, why);
    let played: Played = serde_json::from_slice(&body)
        .map_err(|error| refuse(format!(r#"send {{"turn": "say:Hello"}}: {error}"#)))?;
    if edge.calls.desk().open_call(&id).is_none() {
        return Err(Refusal::no_call(404));
    }
    if let Some(turn) = played.turn {
        let turn = turn
            .parse()
            .map_err(|error: turn::TurnError| refuse(error.to_string()))?;
        turn::play(&edge.calls, &id, &turn);
    }
    if let Some(seconds) = played.pass {
        gpt_live::pass(&edge.calls, &id, Duration::from_secs(seconds));
    }
    if let Some(event) = played.browser {
        client_event::obey(&edge.calls, &id, Peer::Browser, &event.to_string());
    }
    Ok(Json(json!({})))
}
