//! Serves side channels.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::live::{Channel, Out, Peer};
use super::{Dialect, Registry, Second, client_event, gpt_live, session};
use crate::simulator::edge::{Edge, bearer};
use crate::simulator::plan::{OfCalls, Operation};
use crate::simulator::refusal::Refusal;

/// Largest accepted frame, in bytes.
const MAX_FRAME: usize = 32 * 1024 * 1024;
/// How often somebody who does not listen changes their mind.
const DEAF: Duration = Duration::from_millis(50);

/// `GET /v1/realtime?call_id=`. A wrong key is answered like an unknown call.
pub(in crate::simulator) async fn join(
    State(edge): State<Arc<Edge>>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Response> {
    edge.remember_call(&uri, &headers, Bytes::new());
    edge.suffer(Operation::Call(OfCalls::Join)).await?;
    let Some(id) = parameter(&uri, "call_id") else {
        return session::open(edge, &uri, &headers, upgrade).map_err(Into::into);
    };
    let is_beta = headers.contains_key("openai-beta");
    let of = (id.as_str(), Dialect::Realtime);
    let may = !is_beta && may_join(&edge.calls, of, &bearer(&headers));
    let upgrade = bounded(upgrade)?;
    if !may {
        return Err(Refusal::no_call(404).into());
    }
    Ok(served(upgrade, edge, id, true))
}

/// `GET /v1/live/sessions/{id}/attach`.
pub(in crate::simulator) async fn attach(
    (State(edge), Path(id)): (State<Arc<Edge>>, Path<String>),
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Response> {
    edge.remember_call(&uri, &headers, Bytes::new());
    let key = edge.admit(&headers)?;
    edge.suffer(Operation::Call(OfCalls::Join)).await?;
    let may = may_join(&edge.calls, (&id, Dialect::Live), &key);
    let upgrade = bounded(upgrade)?;
    if !may {
        return Err(Refusal::no_session().into());
    }
    let is_graceful = parameter(&uri, "graceful_close").as_deref() == Some("true");
    Ok(served(upgrade, edge, id, is_graceful))
}

/// Returns the upgrade with a bound on frames.
pub(super) fn bounded(
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<WebSocketUpgrade, Refusal> {
    let upgrade = upgrade.map_err(|_| Refusal::new(400, None, "Expected a WebSocket upgrade."))?;
    Ok(upgrade
        .max_frame_size(MAX_FRAME)
        .max_message_size(MAX_FRAME))
}

/// Serves the call `id` on the upgraded connection, which gets a close frame in the end if it `is_graceful`.
pub(super) fn served(
    upgrade: WebSocketUpgrade,
    edge: Arc<Edge>,
    id: String,
    is_graceful: bool,
) -> Response {
    upgrade.on_upgrade(move |socket| async move {
        let calls = &edge.calls;
        let serving = serve(calls, id, socket, is_graceful);
        let serving = calls.tasks.track_future(serving);
        calls.stop.run_until_cancelled(serving).await;
    })
}

/// Returns a parameter of the query.
pub(super) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = uri.query()?.split('&');
    let value = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.to_owned())
}

/// True when the call is open, the key created it, and the side channel would not be one too many.
fn may_join(calls: &Registry, (id, dialect): (&str, Dialect), key: &str) -> bool {
    let mut desk = calls.desk();
    desk.open_of(id, dialect).is_some_and(|(live, switches)| {
        let has_room = switches.second != Second::IsRefused || live.side_channels.is_empty();
        live.key == key && has_room
    })
}

/// Serves a connection of a call or a session.
async fn serve(calls: &Registry, id: String, mut socket: WebSocket, is_graceful: bool) {
    let Some((number, mut out)) = enter(calls, &id, is_graceful) else {
        return;
    };
    converse(calls, (&id, number), &mut socket, &mut out).await;
    if let Some(live) = calls.desk().calls.get_mut(&id) {
        live.side_channels
            .retain(|channel| channel.number != number);
        if live.is_session {
            live.is_over = true;
            live.ended_at = Some(calls.clock.now());
        }
    }
}

/// Takes a place among the call's side channels. Nothing is sent for it in a Realtime call.
fn enter(calls: &Registry, id: &str, is_graceful: bool) -> Option<(u64, UnboundedReceiver<Out>)> {
    let now = calls.clock.now();
    let mut desk = calls.desk();
    let (live, switches) = desk.open_call(id)?;
    if switches.second == Second::Replaces {
        live.tell_side_channels(&Out::Close(1000));
        live.side_channels.clear();
    }
    let (out, receiver) = unbounded_channel();
    live.joins += 1;
    live.joined_at.get_or_insert(now);
    let number = live.joins;
    live.side_channels.push(Channel {
        number,
        out,
        is_graceful,
    });
    if live.is_session {
        let created = json!({"type": "session.created", "session": live.session});
        live.emit(created, switches);
    }
    if live.gpt.is_some() {
        let started = gpt_live::started(live, switches);
        live.emit_to(Peer::SideChannel(number), started, switches);
    }
    Some((number, receiver))
}

async fn converse(
    calls: &Registry,
    (id, number): (&str, u64),
    socket: &mut WebSocket,
    out: &mut UnboundedReceiver<Out>,
) {
    if calls.desk().switches.stalls {
        calls.stop.cancelled().await;
    }
    loop {
        let is_over = tokio::select! {
            told = out.recv() => match told {
                Some(Out::Text(text)) => socket.send(Message::Text(text.into())).await.is_err(),
                Some(Out::Close(code)) => {
                    let reason = Utf8Bytes::default();
                    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason }))).await;
                    true
                }
                Some(Out::CloseFor(why)) => {
                    let frame = why.map(|(code, reason)| CloseFrame { code, reason: reason.into() });
                    let _ = socket.send(Message::Close(frame)).await;
                    true
                }
                Some(Out::Drop) | None => true,
            },
            heard = hear(calls, socket) => match heard {
                Some(Ok(Message::Text(text))) => {
                    client_event::obey(calls, id, Peer::SideChannel(number), &text);
                    false
                }
                Some(Ok(Message::Binary(_))) => {
                    client_event::obey(calls, id, Peer::SideChannel(number), "");
                    false
                }
                Some(Ok(Message::Close(frame))) => {
                    if let Some(live) = calls.desk().calls.get_mut(id) {
                        live.left.push(frame.map(|frame| frame.code));
                    }
                    // What the library would answer now goes out with the next read only.
                    if calls.desk().switches.never_closes {
                        calls.stop.cancelled().await;
                    }
                    true
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => false,
                Some(Err(_)) | None => true,
            },
        };
        if is_over {
            return;
        }
    }
}

/// Returns the next message; never, while nobody listens.
async fn hear(calls: &Registry, socket: &mut WebSocket) -> Option<Result<Message, axum::Error>> {
    while calls.desk().switches.deaf {
        calls.clock.sleep(DEAF).await;
    }
    socket.recv().await
}
