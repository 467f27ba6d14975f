//! Ends calls.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::{Dialect, Registry, gpt_live};
use crate::simulator::edge::Edge;
use crate::simulator::fault::Twist;
use crate::simulator::plan::{OfCalls, Operation};
use crate::simulator::refusal::Refusal;

/// `POST /v1/realtime/calls/{id}/hangup`.
pub(in crate::simulator) async fn hang_up(
    State(edge): State<Arc<Edge>>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<(), Response> {
    answer(&edge, (&id, Dialect::Realtime), &uri, &headers).await
}

/// `POST /v1/live/sessions/{id}/hangup`.
pub(in crate::simulator) async fn hang_up_live(
    State(edge): State<Arc<Edge>>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<(), Response> {
    answer(&edge, (&id, Dialect::Live), &uri, &headers).await
}

async fn answer(
    edge: &Edge,
    (id, dialect): (&str, Dialect),
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Response> {
    edge.remember_call(uri, headers, Bytes::new());
    let key = edge.admit(headers)?;
    let twist = edge.suffer(Operation::Call(OfCalls::Hangup)).await?;
    let is_known = {
        let mut desk = edge.calls.desk();
        let call = desk.open_of(id, dialect);
        call.is_some_and(|(live, _)| live.key == key)
    };
    if !is_known {
        return Err(match dialect {
            Dialect::Realtime => Refusal::no_call(404).into(),
            Dialect::Live => Refusal::no_session().into(),
        });
    }
    if twist == Some(Twist::Silent)
        && let Some((live, _)) = edge.calls.desk().open_call(id)
    {
        live.media = None;
    }
    if twist != Some(Twist::NoEffect) {
        end(&edge.calls, id, "close_requested");
    }
    Ok(())
}

/// Ends a call that is not over. A GPT-Live session tells its side channels and its browser why.
pub(super) fn end(calls: &Registry, id: &str, reason: &str) {
    let now = calls.clock.now();
    if let Some((live, switches)) = calls.desk().open_call(id) {
        match live.dialect() {
            Dialect::Realtime => live.end(now, switches),
            Dialect::Live => gpt_live::close(live, reason, (now, switches)),
        }
    }
}
