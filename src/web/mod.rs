//! Owns the face of the service: all that knows axum, status codes and headers.

pub mod code;
pub mod error;
pub mod extract;
pub mod layers;
pub mod listener;
pub mod openapi;
pub mod ops;
pub mod routes;
mod slots;
mod socket;
pub mod state;
mod unread;

use axum::Router;
use axum::routing::get;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::limit::PolicyId;
use layers::Onion;
use layers::paid::Guards;
use layers::rate_limit::{Budget, Windows};
use routes::{compat, demo, health, refresh, token};
use state::AppState;

/// Header fields that an answer ends up with: room for them all at once spares growing again and again.
const USUAL_HEADERS: usize = 20;

/// Which policies guard which paid routes.
#[derive(Clone, Copy, Debug)]
pub struct Policies {
    /// For requests that open a session.
    pub token: Windows,
    /// For requests that refresh one.
    pub refresh: Windows,
}

impl Policies {
    /// The window of identities, by its place in the list that the limits were made with.
    pub const IDENTITY: PolicyId = PolicyId::at(4);
    /// The windows of mints.
    pub const BUDGET: Budget = Budget {
        mints: PolicyId::at(5),
        daily: PolicyId::at(6),
        identity: PolicyId::at(7),
        anonymous: PolicyId::at(8),
    };

    /// The policies, by their place in that list: token, its wide network, refresh, its wide network, identity, and the
    /// mints of everybody in a minute and in a day, of an identity, and of all without one.
    pub const IN_ORDER: Self = Self {
        token: Windows {
            narrow: PolicyId::at(0),
            wide: PolicyId::at(1),
            identity: Some(Self::IDENTITY),
            budget: Some(Self::BUDGET),
        },
        refresh: Windows {
            narrow: PolicyId::at(2),
            wide: PolicyId::at(3),
            identity: None,
            budget: Some(Self::BUDGET),
        },
    };
}

/// Every path, and the layers around them.
pub fn onion(state: &AppState) -> Onion {
    let (api, document) = described(state).split_for_parts();
    let base = state.face.server.base_path.as_str();
    let has_demo = state.face.demo.is_some();
    let document = openapi::complete(document, base);
    let api = api.route(
        "/openapi.json",
        get(async move || axum::Json(document.clone())),
    );
    let api = if has_demo {
        api.merge(demo::routes())
    } else {
        api
    };
    let api = if base.is_empty() {
        api
    } else {
        Router::new().nest(base, api)
    };
    Onion::around(api.with_state(state.clone()), state)
}

/// The routes with their descriptions.
fn described(state: &AppState) -> OpenApiRouter<AppState> {
    let opens = |route| guarded(route, Policies::IN_ORDER.token, state);
    let refreshes = |route| guarded(route, Policies::IN_ORDER.refresh, state);
    let mut router = OpenApiRouter::with_openapi(openapi::introduction())
        .routes(opens(routes!(token::open)))
        .routes(refreshes(routes!(refresh::refresh)))
        .routes(opens(routes!(compat::client_secrets)))
        .routes(opens(routes!(compat::old_session)))
        .routes(routes!(health::health))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz));
    if state.face.get_token {
        // axum answers HEAD with what GET would: here that would mint for nobody.
        let get_only =
            opens(routes!(compat::get_token)).map(|methods| methods.head(compat::no_head));
        router = router.routes(get_only);
    }
    router
}

/// The guards around one paid route and its method only, so that probes, preflights, unknown paths and wrong methods
/// are free.
fn guarded(
    route: UtoipaMethodRouter<AppState>,
    windows: Windows,
    state: &AppState,
) -> UtoipaMethodRouter<AppState> {
    route.map(|methods| methods.route_layer(Guards::new(state.clone(), windows)))
}
