//! Lists calls (`GET /calls`) and hangs them up (`POST /calls/hangup`).

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::OpsState;
use crate::broker::Which;
use crate::clock::Timestamp;
use crate::domain::{Call, EndReason, Naming, UpstreamCallId};
use crate::web::error::ApiError;
use crate::web::extract::Body;
use crate::web::routes::calls::CallView;

/// Upper bound on the calls of one answer.
const MOST: u32 = 1_000;

/// A call, as operators see it.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    view: CallView,
    /// Seconds since the call was written down.
    age: u64,
    persona: &'a str,
    /// The account's issuer and subject; absent for callers without identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    /// The wide network around the caller's address.
    network: String,
    /// The replica that watches the call.
    replica: &'a str,
    /// Hang-ups that the provider did not confirm.
    hang_up_attempts: u32,
}

impl<'a> Row<'a> {
    fn of(call: &'a Call, now: Timestamp) -> Self {
        let account = call.account.as_ref();
        Self {
            view: CallView::of(call, now),
            age: now.since(call.dialled_at).as_secs(),
            persona: call.persona.as_str(),
            issuer: account.map(|account| &*account.issuer),
            subject: account.map(|account| &*account.subject),
            network: call.neighbourhood.to_string(),
            replica: &call.replica,
            hang_up_attempts: call.hang_up_attempts,
        }
    }
}

/// The calls to hang up: one by its `id`, those of one identity (`iss` and `sub` of its credential), or `all`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HangUpRequest {
    id: Option<String>,
    issuer: Option<String>,
    subject: Option<String>,
    #[serde(default)]
    all: bool,
}

impl HangUpRequest {
    fn which(self, naming: &Naming) -> Option<Which> {
        match (self.id, self.issuer, self.subject, self.all) {
            (Some(id), None, None, false) => UpstreamCallId::parse(&id).map(Which::One),
            (None, Some(issuer), Some(subject), false) => {
                Some(Which::Of(naming.account(&issuer.into(), &subject)))
            }
            (None, None, None, true) => Some(Which::All),
            _ => None,
        }
    }
}

/// Lists live calls and calls that ended within the last hour, the latest first, with the number of live calls.
pub(super) async fn list(State(ops): State<OpsState>) -> Result<Json<Value>, ApiError> {
    let (broker, now) = (&ops.app.broker, ops.app.face.clock.now());
    let (calls, sums) = (
        broker.calls(None, (0, MOST)).await?,
        broker.sum_up_calls().await?,
    );
    let calls: Vec<_> = calls.iter().map(|call| Row::of(call, now)).collect();
    let is_cut = calls.len() >= MOST as usize;
    Ok(Json(
        json!({ "calls": calls, "live": sums.live, "truncated": is_cut }),
    ))
}

/// Hangs calls up, whichever replica watches them. Answers their number.
pub(super) async fn hang_up(
    State(ops): State<OpsState>,
    Body(asked): Body<HangUpRequest>,
) -> Result<Json<Value>, ApiError> {
    let which = asked.which(&ops.naming).ok_or(ApiError::at("id"))?;
    let ended = ops
        .app
        .broker
        .end_calls(&which, EndReason::Operator)
        .await?;
    Ok(Json(json!({ "ended": ended })))
}
