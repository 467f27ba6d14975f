//! Plays tricks with calls for the demo page of `dev`: an operator hangs up, or the side channel is lost.

use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::broker::Which;
use crate::config::DemoCalls;
use crate::domain::{EndReason, UpstreamCallId};
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::layers::origin::sent_by_own_page;
use crate::web::state::AppState;

/// Returns the routes of the tricks. They ask for no credential, so only `dev` has them, on loopback.
pub fn routes(calls: &DemoCalls) -> Router<AppState> {
    let cut = calls.cut.clone();
    let cut = async move |Path(id): Path<String>| {
        let took = cut(id).await;
        Json(json!({ "joined_again_ms": took.map(|took| took.as_secs_f64() * 1000.0) }))
    };
    Router::new()
        .route("/demo/calls/{id}/hangup", post(hang_up))
        .route("/demo/calls/{id}/cut", post(cut))
        .route_layer(from_fn(admit))
}

/// Admits the page itself only. Any other page on this machine may call the broker of `dev`.
async fn admit(request: Request, next: Next) -> Result<Response, ApiError> {
    if !sent_by_own_page(request.headers()) {
        return Err(Code::OriginNotAllowed.into());
    }
    Ok(next.run(request).await)
}

/// Hangs a call up, as an operator does.
async fn hang_up(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let id = UpstreamCallId::parse(&id).ok_or(Code::UnknownCall)?;
    let broker = &state.broker;
    let ended = broker
        .end_calls(&Which::One(id), EndReason::Operator)
        .await?;
    Ok(Json(json!({ "ended": ended })))
}
