//! Serves side channels.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::live::{Out, Peer};
use super::{Registry, Second, client_event};
use crate::simulator::edge::{Edge, bearer};
use crate::simulator::plan::{OfCalls, Place};
use crate::simulator::refusal::Refusal;

/// Largest accepted frame, in bytes.
const MAX_FRAME: usize = 32 * 1024 * 1024;

/// `GET /v1/realtime?call_id=`. A wrong key is answered like an unknown call.
pub(in crate::simulator) async fn join(
    State(edge): State<Arc<Edge>>,
    uri: Uri,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Response> {
    edge.remember_call(&uri, &headers, Bytes::new());
    edge.suffer(Place::Call(OfCalls::Join)).await?;
    let id = call_id(&uri).ok_or_else(|| {
        Refusal::new(
            400,
            "missing_required_parameter",
            "Missing required parameter: 'call_id'.",
        )
        .at("call_id")
    })?;
    let is_beta = headers.contains_key("openai-beta");
    let may = !is_beta && may_join(&edge.calls, &id, &bearer(&headers));
    let upgrade = upgrade.map_err(|_| Refusal::new(400, None, "Expected a WebSocket upgrade."))?;
    if !may {
        return Err(Refusal::no_call(404).into());
    }
    let upgrade = upgrade
        .max_frame_size(MAX_FRAME)
        .max_message_size(MAX_FRAME);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let serving = edge
            .calls
            .tasks
            .track_future(serve(&edge.calls, id, socket));
        edge.calls.stop.run_until_cancelled(serving).await;
    }))
}

fn call_id(uri: &Uri) -> Option<String> {
    let mut pairs = uri.query()?.split('&');
    let id = pairs.find_map(|pair| pair.strip_prefix("call_id="))?;
    Some(id.to_owned())
}

/// True when the call is open, the key created it, and the side channel would not be one too many.
fn may_join(calls: &Registry, id: &str, key: &str) -> bool {
    let mut desk = calls.desk();
    desk.open_call(id).is_some_and(|(live, switches)| {
        let has_room = switches.second != Second::IsRefused || live.side_channels.is_empty();
        live.key == key && has_room
    })
}

async fn serve(calls: &Registry, id: String, mut socket: WebSocket) {
    let Some((number, mut out)) = enter(calls, &id) else {
        return;
    };
    converse(calls, (&id, number), &mut socket, &mut out).await;
    if let Some(live) = calls.desk().calls.get_mut(&id) {
        live.side_channels.retain(|(other, _)| *other != number);
    }
}

/// Takes a place among the call's side channels. Nothing is sent for it.
fn enter(calls: &Registry, id: &str) -> Option<(u64, UnboundedReceiver<Out>)> {
    let now = calls.clock.now();
    let mut desk = calls.desk();
    let (live, switches) = desk.open_call(id)?;
    if switches.second == Second::Replaces {
        live.tell_side_channels(&Out::Close(1000));
        live.side_channels.clear();
    }
    let (sender, receiver) = unbounded_channel();
    live.joins += 1;
    live.joined_at.get_or_insert(now);
    live.side_channels.push((live.joins, sender));
    Some((live.joins, receiver))
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
                Some(Out::Drop) | None => true,
            },
            heard = socket.recv() => match heard {
                Some(Ok(Message::Text(text))) => {
                    client_event::obey(calls, id, Peer::SideChannel(number), &text);
                    false
                }
                Some(Ok(Message::Binary(_))) => {
                    client_event::obey(calls, id, Peer::SideChannel(number), "");
                    false
                }
                Some(Ok(Message::Close(_))) => {
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
