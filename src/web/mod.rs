//! The HTTP interface of the service: routes and the layers around them, status codes, headers, connections.

pub mod code;
pub mod error;
pub mod extract;
mod head;
mod here;
mod intake;
mod large_head;
pub mod layers;
pub mod listener;
pub mod listeners;
mod multipart;
mod offered;
pub mod openapi;
pub mod ops;
mod recorded;
pub mod routes;
mod slots;
mod socket;
pub mod state;
mod unread;
mod upgrade;

use std::mem;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use utoipa_axum::router::{UtoipaMethodRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::gate::Purpose;
use layers::Onion;
use layers::paid::let_through;
use routes::{
    call_events, calls, compat, demo, health, live, refresh, relay, token, transcribe, tricks,
    webhook,
};
use state::AppState;

/// Number of header fields of a usual answer. Reserving room for all of them at once spares reallocations.
const USUAL_HEADERS: usize = 20;

/// Paths of ours, and those of OpenAI that do the same.
const AS_OPENAI: [(&str, &str); 4] = [
    ("/calls", "/v1/realtime/calls"),
    ("/calls/{id}/hangup", "/v1/realtime/calls/{id}/hangup"),
    ("/realtime", "/v1/realtime"),
    ("/calls/{id}/hangup", "/v1/live/sessions/{id}/hangup"),
];

/// Paths that read another body and answer alike.
const ANSWER_ALIKE: [(&str, &str); 2] = [
    ("/v1/live/sessions", "/api/session"),
    ("/transcribe", "/v1/audio/transcriptions"),
];

/// Every path, and the layers around them.
pub fn onion(state: &AppState) -> Onion {
    let mut api = Router::new().route("/openapi.json", openapi::contract());
    described(state, &mut |(_, paths, methods)| {
        for path in paths.paths.keys() {
            api = mem::take(&mut api).route(path, methods.clone());
        }
    });
    let admits = |route: MethodRouter<AppState>, purpose| {
        route.route_layer(from_fn_with_state((state.clone(), purpose), let_through))
    };
    let as_openai = [
        admits(post(calls::open_as_openai), Purpose::Call),
        admits(post(calls::hang_up), Purpose::Look),
        admits(get(relay::relay), Purpose::Relay),
        admits(post(calls::hang_up), Purpose::Look),
    ];
    for ((_, openais), methods) in AS_OPENAI.into_iter().zip(as_openai) {
        api = api.route(openais, methods);
    }
    let api = match &state.face.demo {
        Some(demo) => api
            .merge(demo::routes(&state.face.connect))
            .merge(demo.calls.as_ref().map(tricks::routes).unwrap_or_default()),
        None => api,
    };
    let base = state.face.server.base_path.as_str();
    let api = if base.is_empty() {
        api
    } else {
        Router::new().nest(base, api)
    };
    Onion::around(api.with_state(state.clone()), state)
}

/// Gives each route that has a description of its own to `take`. The paths of [`AS_OPENAI`] are not among them: their
/// descriptions are copies.
fn described(state: &AppState, take: &mut dyn FnMut(UtoipaMethodRouter<AppState>)) {
    let opens = |route| paid(route, Purpose::Open, state);
    let dials = |route| paid(route, Purpose::Call, state);
    let relays = |route| paid(route, Purpose::Relay, state);
    let looks = |route| paid(route, Purpose::Look, state);
    let refreshes = |route| paid(route, Purpose::Refresh, state);
    let transcribes = |route| paid(route, Purpose::Transcribe, state);
    take(opens(routes!(token::open)));
    take(refreshes(routes!(refresh::refresh)));
    take(opens(routes!(compat::client_secrets)));
    take(dials(routes!(compat::old_session)));
    take(dials(routes!(calls::open)));
    take(dials(routes!(live::create)));
    take(dials(routes!(live::create_for_sample)));
    take(looks(routes!(live::attach)));
    take(relays(routes!(relay::relay)));
    take(looks(routes!(calls::look)));
    take(looks(routes!(calls::hang_up)));
    take(looks(routes!(call_events::events)));
    take(routes!(health::health));
    take(routes!(health::livez));
    take(routes!(health::readyz));
    let hiding = from_fn_with_state(state.clone(), webhook::hide);
    take(routes!(webhook::openai).map(|methods| methods.layer(hiding)));
    if state.face.transcribes {
        take(transcribes(routes!(transcribe::transcribe)));
        take(transcribes(routes!(transcribe::transcribe_form)));
    }
    if state.face.get_token {
        // axum answers HEAD with what GET would: here that would mint for nobody.
        let get_only = opens(routes!(compat::get_token));
        take(get_only.map(|methods| methods.head(compat::no_head)));
    }
}

/// Puts admission around one paid route and its method only, so that probes, preflights, unknown paths and
/// wrong methods are free.
fn paid(
    route: UtoipaMethodRouter<AppState>,
    purpose: Purpose,
    state: &AppState,
) -> UtoipaMethodRouter<AppState> {
    let admission = from_fn_with_state((state.clone(), purpose), let_through);
    route.map(|methods| methods.route_layer(admission))
}
