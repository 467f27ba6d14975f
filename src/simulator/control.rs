//! Shows and sets the plan of failures over HTTP, for programs outside this process.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::edge::Edge;
use super::plan::{MAX_PLANNED, Planned, Times};
use super::refusal::Refusal;

/// One entry of the plan in a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    fault: String,
    /// Number of failures. Absent: until the plan is cleared.
    times: Option<u32>,
    #[serde(default)]
    models: bool,
}

/// One entry, or a list of entries.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entries {
    One(Entry),
    Many(Vec<Entry>),
}

/// `GET /_simulator/faults`: the plan and the counts.
pub(super) async fn show(
    State(edge): State<Arc<Edge>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    edge.admit(&headers)?;
    Ok(Json(written(&edge)))
}

/// `PUT /_simulator/faults`: replaces the plan.
pub(super) async fn set(
    State(edge): State<Arc<Edge>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    edge.admit(&headers)?;
    let planned = read(&body).map_err(|why| Refusal::invalid(StatusCode::BAD_REQUEST, why))?;
    {
        let mut plan = edge.plan();
        plan.clear();
        for entry in planned {
            plan.add(entry);
        }
    }
    Ok(Json(written(&edge)))
}

/// `DELETE /_simulator/faults`: clears the plan.
pub(super) async fn clear(
    State(edge): State<Arc<Edge>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    edge.admit(&headers)?;
    edge.plan().clear();
    Ok(Json(written(&edge)))
}

/// Error for a plan that cannot be parsed.
#[derive(Debug, thiserror::Error)]
enum Misread {
    #[error(
        "a plan is {{\"fault\": \"429:7\", \"times\": 3, \"models\": false}}, or a list of these"
    )]
    Shape,
    #[error("a fault happens at least once")]
    Never,
    #[error("a plan has at most {MAX_PLANNED} entries")]
    Long,
    #[error(transparent)]
    Fault(#[from] super::fault::FaultError),
}

impl From<Misread> for String {
    fn from(misread: Misread) -> Self {
        misread.to_string()
    }
}

fn read(body: &[u8]) -> Result<Vec<Planned>, Misread> {
    let entries = match serde_json::from_slice(body).map_err(|_| Misread::Shape)? {
        Entries::One(entry) => vec![entry],
        Entries::Many(entries) => entries,
    };
    if entries.len() > MAX_PLANNED {
        return Err(Misread::Long);
    }
    entries.iter().map(planned).collect()
}

fn planned(entry: &Entry) -> Result<Planned, Misread> {
    let times = match entry.times {
        Some(0) => return Err(Misread::Never),
        Some(times) => Times::Exactly(times),
        None => Times::UntilCleared,
    };
    Ok(Planned {
        fault: entry.fault.parse()?,
        times,
        models: entry.models,
    })
}

fn written(edge: &Edge) -> Value {
    let entry = |planned: &Planned| {
        let times = match planned.times {
            Times::Exactly(times) => Some(times),
            Times::UntilCleared => None,
        };
        json!({"fault": planned.fault.to_string(), "times": times, "models": planned.models})
    };
    let plan: Vec<_> = edge.plan().entries().map(entry).collect();
    json!({"plan": plan, "seen": edge.seen.get(), "minted": edge.minted.get()})
}
