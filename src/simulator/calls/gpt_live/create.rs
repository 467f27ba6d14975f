//! Creates GPT-Live sessions from offers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::announcement::{Announcement, send};
use super::{greet, pulse};
use crate::provider::{check_live_request, known_live_model};
use crate::simulator::calls::answer::answer;
use crate::simulator::calls::conversation::text_tokens;
use crate::simulator::calls::live::Live;
use crate::simulator::calls::open::{check_sdp, wrong_body};
use crate::simulator::calls::{Registry, peer};
use crate::simulator::edge::{self, Edge};
use crate::simulator::fault::Twist;
use crate::simulator::mint::read_json;
use crate::simulator::plan::{OfCalls, Operation};
use crate::simulator::refusal::Refusal;

/// Most tokens of the instructions, and of all messages of `input`.
const INSTRUCTIONS: u64 = 16_384;
const INPUT: u64 = 8192;
/// Voices of speech synthesis that speak in no session.
const FORBIDDEN: [&str; 3] = ["fable", "nova", "onyx"];

/// `POST /v1/live/sessions`.
pub(in crate::simulator) async fn create(
    State(edge): State<Arc<Edge>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Response> {
    let body = edge::read(body).await?;
    edge.remember_call(&uri, &headers, body.clone());
    let key = edge.admit(&headers)?;
    let twist = edge.suffer(Operation::Call(OfCalls::Calls)).await?;
    let asked = read_json(&headers, &body)?;
    check(&asked)?;
    let (id, sdp) = open(&edge.calls, &key, &asked).await?;
    if let Some(twist) = &twist {
        twist.after_creation(&*edge.clock).await?;
    }
    Ok(answered(&id, &sdp, twist.as_ref()))
}

fn check(asked: &Value) -> Result<(), Refusal> {
    check_live_request(asked)?;
    let session = &asked["session"];
    let model = session["model"].as_str().unwrap_or_default();
    if !known_live_model(model) {
        return Err(Refusal::no_model(model).at("session.model"));
    }
    let voice = session["audio"]["output"]["voice"].as_str();
    if voice.is_some_and(|voice| FORBIDDEN.contains(&voice)) {
        let refusal = Refusal::new(403, "forbidden", "This voice is not available.");
        return Err(refusal.at("session.audio.output.voice"));
    }
    let tokens = |value: &Value| text_tokens(value.as_str().unwrap_or_default());
    let messages = session["input"].as_array().into_iter().flatten();
    let said = messages.map(|message| tokens(&message["content"][0]["text"]));
    for (name, tokens, most) in [
        (
            "session.instructions",
            tokens(&session["instructions"]),
            INSTRUCTIONS,
        ),
        ("session.input", said.sum(), INPUT),
    ] {
        if tokens > most {
            let message = format!("Invalid '{name}': it has {tokens} tokens, and may have {most}.");
            return Err(Refusal::new(400, "string_above_max_length", message).at(name));
        }
    }
    check_sdp(asked["transport"]["sdp"].as_str().unwrap_or_default())
}

async fn open(
    calls: &Arc<Registry>,
    key: &str,
    asked: &Value,
) -> Result<(String, String), Refusal> {
    let now = calls.clock.now();
    let switches = calls.desk().switches.clone();
    let offer = asked["transport"]["sdp"].as_str().unwrap_or_default();
    let mut live = Live::gpt_live(key, offer.to_owned(), &asked["session"], (now, &switches));
    has_room(calls, &live, switches.live.max_sessions)?;
    let sdp = peer::meet(calls, &mut live).await?;
    let sdp = sdp.unwrap_or_else(|| {
        // Without a real browser, its data channel opens at once.
        greet(&mut live, &switches);
        answer(&live, &switches)
    });
    let id = live.id.clone();
    calls.desk().add(live);
    pulse(calls, &id);
    if let Some(to) = switches.live.announce_to {
        send(calls, Announcement::of(&id, &to.secret, now), to.url);
    }
    Ok((id, born(&sdp, now.as_seconds())))
}

/// Refuses a session beyond the account's own limit for its model.
fn has_room(calls: &Registry, live: &Live, most: Option<usize>) -> Result<(), Refusal> {
    let desk = calls.desk();
    let is_like = |other: &&Live| {
        let is_open = !other.is_over && other.gpt.is_some();
        is_open && other.session["model"] == live.session["model"]
    };
    let open = desk.calls.values().filter(is_like).count();
    if most.is_none_or(|most| open < most) {
        return Ok(());
    }
    let message = "You have too many concurrent sessions of this model.";
    Err(Refusal::new(429, "concurrency_limit_exceeded", message))
}

/// Returns the answer with the moment of the session's creation as its version.
fn born(sdp: &str, seconds: u64) -> String {
    let lines = sdp.split_inclusive('\n').map(|line| {
        let origin = line.strip_prefix("o=");
        let fields = origin.map(|origin| origin.splitn(4, ' ').collect::<Vec<_>>());
        match fields.as_deref() {
            Some([user, id, _, rest]) => format!("o={user} {id} {seconds} {rest}"),
            _ => line.to_owned(),
        }
    });
    lines.collect()
}

/// Returns the answer: everything as recorded, but for the twist.
fn answered(id: &str, sdp: &str, twist: Option<&Twist>) -> Response {
    let status = match twist {
        Some(Twist::NotCreated) => StatusCode::OK,
        _ => StatusCode::CREATED,
    };
    let begin = format!(r#"{{"session":{{"id":"{id}"}},"transport":{{"type":"webrtc","sdp":""#);
    let whole = json!({"session": {"id": id}, "transport": {"type": "webrtc", "sdp": sdp}});
    let body = match twist {
        Some(Twist::Answer(wrong)) => wrong_body(*wrong, (begin, "\"}}")),
        Some(Twist::MissingValue) => Body::from(json!({"session": {"id": id}}).to_string()),
        _ => Body::from(whole.to_string()),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "X-Request-Id, CF-Ray",
        ),
    ];
    (status, headers, body).into_response()
}
