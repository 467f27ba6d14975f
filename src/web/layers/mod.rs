//! Wraps the routes into layers: each in its order, with the reason for its position.

pub mod arrival;
mod cors;
mod denied;
pub(super) mod failure_shape;
pub(super) mod host;
mod identity;
pub(super) mod origin;
pub mod paid;
mod security_headers;
pub(super) mod trace;

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tower::{Layer, ServiceExt};
use tower_http::catch_panic::{CatchPanic, CatchPanicLayer, ResponseForPanic};
use tower_http::cors::Cors;
use tower_http::timeout::{Timeout, TimeoutLayer};
use tracing::Instrument;

use super::code::Code;
use super::error::ApiError;
use super::state::AppState;
use crate::clock::Clock;
use arrival::Arrival;
use host::Hosted;
use trace::{NoteRoute, Open};

/// The routes with all layers around them. Our own layers are plain functions, because a layer of axum is cloned and
/// boxed for every request.
#[derive(Clone)]
pub struct Onion {
    state: AppState,
    inside: Cors<CatchPanic<Timeout<Hosted>, Panicked>>,
}

impl Onion {
    /// Puts the layers around `routes`.
    pub fn around(routes: Router, state: &AppState) -> Self {
        let timeout =
            TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, state.face.last_resort);
        // Longer than all deadlines inside: it only ends work that has none.
        let routes = routes.layer(NoteRoute);
        let timed = timeout.layer(Hosted::new(Arc::clone(&state.face), routes));
        // Inside of `failure_shape`, so that a panic is answered in our layout.
        let caught = CatchPanicLayer::custom(Panicked).layer(timed);
        // Outside of everything that may refuse, so that pages can read refusals. Answers preflights before anything is
        // spent.
        let inside = cors::layer(&state.face).layer(caught);
        Self {
            state: state.clone(),
            inside,
        }
    }

    /// Returns the clock that the service runs by.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.state.face.clock)
    }

    /// Answers `request`, whose extensions name its [`arrival::Peer`].
    pub async fn answer(&self, mut request: Request) -> Response {
        // Everything below may quote the request's id and address.
        let arrival = arrival::arrive(&self.state.face, &mut request);
        let span = trace::span(&arrival);
        self.answer_arrived(arrival, request).instrument(span).await
    }

    async fn answer_arrived(&self, arrival: Arrival, request: Request) -> Response {
        // Sees the final status of all that follows. Dropping it logs a caller who left before the answer.
        let mut open = Open::new(&self.state.face, &arrival, &request);
        // In front of CORS, which would answer every preflight alike.
        let mut response = match origin::preflight(&self.state.face, &request) {
            Err(error) => error.into_response(),
            Ok(()) => self.reach_routes(request).await,
        };
        // Gives our layout to all failures.
        failure_shape::shape(&mut response, &arrival.request_id);
        // Refusals and preflights carry them, too.
        security_headers::put_on(&mut response);
        open.answer(&mut response);
        arrival.sign(&mut response);
        response
    }

    async fn reach_routes(&self, request: Request) -> Response {
        let Ok(response) = self.inside.clone().oneshot(request).await;
        response.map(Body::new)
    }
}

/// Answers panics. Their message may quote anything, so only the log has it.
#[derive(Clone, Copy)]
struct Panicked;

impl ResponseForPanic for Panicked {
    type ResponseBody = Body;

    fn response_for_panic(&mut self, payload: Box<dyn Any + Send>) -> Response {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        tracing::error!(
            panic = text.unwrap_or("without a text"),
            "a handler panicked, its request is answered 500"
        );
        ApiError::from(Code::Internal).into_response()
    }
}
