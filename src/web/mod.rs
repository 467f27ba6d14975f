//! Owns the face of the service: all that knows axum, status codes and headers.

pub mod error;
pub mod extract;
pub mod layers;
pub mod listener;
pub mod openapi;
pub mod routes;
pub mod state;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::limit::PolicyId;
use layers::rate_limit::{self, Pair};
use layers::{origin, wrap};
use routes::{compat, health, refresh, token};
use state::AppState;

/// Which policies guard which paid routes.
#[derive(Clone, Copy, Debug)]
pub struct Policies {
    /// For requests that open a session.
    pub token: Pair,
    /// For requests that refresh one.
    pub refresh: Pair,
}

impl Policies {
    /// The policies, by their place in the list that the limits were made with: token, its wide network, refresh, its
    /// wide network.
    pub const IN_ORDER: Self = Self {
        token: Pair {
            narrow: PolicyId::at(0),
            wide: PolicyId::at(1),
        },
        refresh: Pair {
            narrow: PolicyId::at(2),
            wide: PolicyId::at(3),
        },
    };
}

/// Every path, and the layers around them.
pub fn router(state: &AppState) -> Router {
    let (api, document) = described(state.face.get_token, |paid, pair| {
        guarded(paid, pair, state)
    })
    .split_for_parts();
    let base = state.face.server.base_path.clone();
    let document = openapi::complete(document, &base);
    let api = api.route(
        "/openapi.json",
        get(async move || axum::Json(document.clone())),
    );
    let api = if base.is_empty() {
        api
    } else {
        Router::new().nest(&base, api)
    };
    wrap(api, state)
}

/// The routes with their descriptions; `guard` puts the guards around the paid ones.
fn described(
    get_token: bool,
    guard: impl Fn(OpenApiRouter<AppState>, Pair) -> OpenApiRouter<AppState>,
) -> OpenApiRouter<AppState> {
    let mut opening = OpenApiRouter::new()
        .routes(routes!(token::open))
        .routes(routes!(compat::client_secrets))
        .routes(routes!(compat::old_session));
    if get_token {
        opening = opening.routes(routes!(compat::get_token));
    }
    let refreshing = OpenApiRouter::new().routes(routes!(refresh::refresh));
    OpenApiRouter::with_openapi(openapi::introduction())
        .merge(guard(opening, Policies::IN_ORDER.token))
        .merge(guard(refreshing, Policies::IN_ORDER.refresh))
        .routes(routes!(health::health))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
}

/// Around the paid routes only, so that probes, preflights and unknown paths are free. Origin first: pages that may
/// not call use up nobody's allowance.
fn guarded(paid: OpenApiRouter<AppState>, pair: Pair, state: &AppState) -> OpenApiRouter<AppState> {
    paid.route_layer(from_fn_with_state((state.clone(), pair), rate_limit::limit))
        .route_layer(from_fn_with_state(state.clone(), origin::guard))
}
