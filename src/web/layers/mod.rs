//! Owns the onion around the routes: every layer, in order, with the reason it stands where it stands.

pub mod arrival;
mod cors;
pub(super) mod failure_shape;
mod host;
mod identity;
mod origin;
pub(super) mod paid;
pub mod rate_limit;
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

use super::code::Code;
use super::error::ApiError;
use super::state::AppState;
use host::Hosted;
use trace::{Open, Paths};

/// The routes, and all layers around them. Layers of ours are what they do before and after: a layer of axum's is cloned
/// and boxed for every request.
#[derive(Clone)]
pub struct Onion {
    state: AppState,
    paths: Paths,
    inside: Cors<CatchPanic<Timeout<Hosted>, Panicked>>,
}

impl Onion {
    /// The layers around `routes`, of which `paths` are all there are.
    pub fn around(
        routes: Router,
        paths: impl IntoIterator<Item = Arc<str>>,
        state: &AppState,
    ) -> Self {
        let timeout =
            TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, state.face.last_resort);
        // Longer than all deadlines within: only work that forgot its own meets this one.
        let timed = timeout.layer(Hosted::new(Arc::clone(&state.face), routes));
        // Around what may panic, and within the shape, so that a panic is shaped too.
        let caught = CatchPanicLayer::custom(Panicked).layer(timed);
        // Around everything that may refuse, so that pages can read refusals; answers preflights before anything is
        // spent.
        let inside = cors::layer(&state.face).layer(caught);
        Self {
            state: state.clone(),
            paths: paths.into_iter().collect(),
            inside,
        }
    }

    /// The answer to `request`, which says in its extensions who its [`arrival::Peer`] is.
    pub async fn answer(&self, mut request: Request) -> Response {
        // Everything below may quote the request's id and address.
        let arrival = arrival::arrive(&self.state.face, &mut request);
        // Sees the final status of all that follows; told by being dropped when the caller leaves before.
        let mut open = Open::new(&self.state.face, &self.paths, &arrival, &request);
        // In front of CORS, which would answer every preflight alike.
        let mut response = match origin::preflight(&self.state.face, &request) {
            Err(error) => error.into_response(),
            Ok(()) => self.reach_routes(request).await,
        };
        // Gives our shape to all that failed.
        failure_shape::shape(&mut response, &arrival.request_id);
        // Even refusals and preflights carry them.
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

/// A panic's message may quote anything, so it is told to nobody but the log.
#[derive(Clone, Copy)]
struct Panicked;

impl ResponseForPanic for Panicked {
    type ResponseBody = Body;

    fn response_for_panic(&mut self, payload: Box<dyn Any + Send>) -> Response {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        tracing::error!(
            panic = text.unwrap_or("of an unknown kind"),
            "a handler panicked"
        );
        ApiError::from(Code::Internal).into_response()
    }
}
