//! Shows and sets the plan of failures over HTTP, for programs outside this process.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use serde::Deserialize;
use serde_json::{Value, json};

use super::edge::Edge;
use super::plan::{Plan, Planned, TOO_LONG};
use super::refusal::Refusal;

/// `/_simulator/faults`: `PUT` replaces the plan, `DELETE` clears it. Answers the plan and the counts.
pub(super) async fn faults(
    State(edge): State<Arc<Edge>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    edge.admit(&headers)?;
    let plan = match method {
        Method::PUT => Some(read(&body)?),
        Method::DELETE => Some(Plan::default()),
        _ => None,
    };
    let mut state = edge.state();
    if let Some(plan) = plan {
        state.plan = plan;
    }
    Ok(Json(
        json!({"plan": state.plan, "seen": state.seen, "minted": state.minted}),
    ))
}

/// Reads one entry, or a list of entries.
fn read(body: &[u8]) -> Result<Plan, Refusal> {
    const SHAPE: &str =
        r#"a plan is {"fault": "429:7", "times": 3, "models": false}, or a list of these"#;
    let refuse = |error| Refusal::new(400, None, format!("{SHAPE}: {error}"));
    let given: Value = serde_json::from_slice(body).map_err(refuse)?;
    let list = if given.is_array() {
        given
    } else {
        json!([given])
    };
    let entries = Vec::<Planned>::deserialize(list).map_err(refuse)?;
    Plan::of(entries).ok_or_else(|| Refusal::new(400, None, TOO_LONG))
}
