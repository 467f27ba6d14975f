//! Wraps the routes into layers: each in its order, with the reason for its position.

pub mod arrival;
mod cors;
mod counted;
mod denied;
pub(super) mod host;
pub(super) mod identity;
pub(super) mod origin;
pub mod paid;
mod security_headers;
pub(super) mod trace;

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::map_request_with_state;
use axum::response::{IntoResponse, Response};
use tower::{Layer, ServiceExt};
use tower_http::catch_panic::{CatchPanic, CatchPanicLayer, ResponseForPanic};
use tower_http::cors::Cors;
use tower_http::timeout::{Timeout, TimeoutLayer};
use tracing::Instrument;

use super::code::Code;
use super::error::{self, ApiError};
use super::state::AppState;
use crate::clock::Clock;
use crate::domain::Caller;
use arrival::X_REQUEST_ID;
use trace::Open;

/// An answer's extension that marks the answer to a probe. It keeps its own body, whatever the status, is not counted,
/// and is logged at debug level only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe;

/// The routes with all layers around them. The outer layers are plain functions, because a layer of axum is cloned and
/// boxed for every request.
#[derive(Clone)]
pub struct Onion {
    state: AppState,
    inside: Cors<CatchPanic<Timeout<Router>, Panicked>>,
}

impl Onion {
    /// Puts the layers around `routes`.
    pub fn around(routes: Router, state: &AppState) -> Self {
        let face = &state.face;
        let routes = routes.layer(map_request_with_state(Arc::clone(face), host::enter));
        // Longer than all deadlines inside: it only ends work that has none.
        let timeout = TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, face.last_resort);
        let caught = CatchPanicLayer::custom(Panicked).layer(timeout.layer(routes));
        // Outside of everything that may refuse, so that pages can read refusals. Answers preflights before anything is
        // spent.
        let inside = cors::layer(face).layer(caught);
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
    pub async fn answer(&self, request: Request) -> Response {
        // Everything below may quote the request's id and address.
        let caller = arrival::caller(&request, &self.state.face);
        let span = trace::span(&caller);
        self.answer_to(caller, request).instrument(span).await
    }

    async fn answer_to(&self, caller: Caller, mut request: Request) -> Response {
        let face = &self.state.face;
        // Sees the final status of all that follows. Dropping it logs a caller who left before the answer.
        let open = Open::new(face, &caller, &request);
        let id = caller.request_id.clone();
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(open.route.clone());
        let is_preflight = request.method() == Method::OPTIONS;
        // In front of CORS, which would answer every preflight alike.
        let refused = is_preflight.then(|| origin::preflight(face, request.headers()).err());
        let mut response = match refused.flatten() {
            Some(error) => error.into_response(),
            None => self.reach_routes(request).await,
        };
        error::shape(&mut response, &id);
        // Refusals and preflights carry them, too.
        security_headers::put_on(&mut response, is_preflight);
        open.answer(&mut response);
        let id = HeaderValue::try_from(id.as_str()).ok();
        let id = id.map(|id| (X_REQUEST_ID, id));
        response.headers_mut().extend(id);
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
        let panic = text.unwrap_or("without a text");
        tracing::error!(panic, "a handler panicked, its request is answered 500");
        ApiError::from(Code::Internal).into_response()
    }
}
