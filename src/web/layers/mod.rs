//! Owns the onion around the router: every layer, in order, with the reason it stands where it stands.

pub mod arrival;
pub mod cors;
pub mod failure_shape;
pub mod host;
pub mod origin;
pub mod rate_limit;
pub mod security_headers;
pub mod trace;

use std::any::Any;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use super::code::Code;
use super::error::ApiError;
use super::state::AppState;

/// Wraps the router. `.layer` wraps what stands above it, so the innermost comes first here.
pub fn wrap(router: Router<AppState>, state: &AppState) -> Router {
    router
        // Innermost, where it is known: the pattern that matched, for the log line.
        .route_layer(from_fn(trace::name_route))
        // Before any route: a request for somebody else's host has no business with ours.
        .layer(from_fn_with_state(state.clone(), host::guard))
        // Longer than all deadlines within: only work that forgot its own meets this one.
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            state.face.last_resort,
        ))
        // Below the shape, so that a panic is shaped too.
        .layer(CatchPanicLayer::custom(panicked))
        // Around everything that may refuse, so that pages can read refusals; answers preflights before anything is
        // spent.
        .layer(cors::layer(&state.face))
        // In front of CORS, which would answer every preflight alike.
        .layer(from_fn_with_state(state.clone(), origin::preflight))
        // Around all that may fail.
        .layer(from_fn(failure_shape::shape))
        // Even refusals and preflights carry them.
        .layer(from_fn(security_headers::put_on))
        // Sees the final status of all that follows.
        .layer(from_fn_with_state(state.clone(), trace::trace))
        // Everything below may quote the request's id and address.
        .layer(from_fn_with_state(state.clone(), arrival::arrive))
        .with_state(state.clone())
}

/// A panic's message may quote anything, so it is told to nobody but the log.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer hands the payload over"
)]
fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    tracing::error!(
        panic = text.unwrap_or("of an unknown kind"),
        "a handler panicked"
    );
    ApiError::from(Code::Internal).into_response()
}
