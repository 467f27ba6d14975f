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

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter, UtoipaMethodRouterExt};
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
    let (api, mut document) = described(state).split_for_parts();
    openapi::make_optional(&mut document, "/session");
    for (path, openais) in AS_OPENAI {
        openapi::describe_as(&mut document, path, openais);
    }
    for (path, other) in ANSWER_ALIKE {
        openapi::answers_as(&mut document, path, other);
    }
    let base = state.face.server.base_path.as_str();
    let mut without_webhooks = document.clone();
    without_webhooks.paths.paths.remove(webhook::PATH);
    let contract = async move |State(state): State<AppState>| {
        let takes_webhooks = state.broker.webhook_keys().is_some();
        axum::Json(if takes_webhooks {
            document.clone()
        } else {
            without_webhooks.clone()
        })
    };
    let api = api.route("/openapi.json", get(contract));
    let api = match &state.face.demo {
        Some(demo) => api
            .merge(demo::routes(&state.face.connect))
            .merge(demo.calls.as_ref().map(tricks::routes).unwrap_or_default()),
        None => api,
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
    let opens = |route| paid(route, Purpose::Open, state);
    let dials = |route| paid(route, Purpose::Call, state);
    let relays = |route| paid(route, Purpose::Relay, state);
    let looks = |route| paid(route, Purpose::Look, state);
    let refreshes = |route| paid(route, Purpose::Refresh, state);
    let takes = |route: UtoipaMethodRouter<AppState>| {
        let hiding = from_fn_with_state(state.clone(), webhook::hide);
        route.map(|methods| methods.layer(hiding))
    };
    let admits = |route: MethodRouter<AppState>, purpose| {
        route.route_layer(from_fn_with_state((state.clone(), purpose), let_through))
    };
    let face = &state.face;
    let introduction = openapi::introduction(&face.server.base_path, face.auth_mode);
    let mut router = OpenApiRouter::with_openapi(introduction)
        .routes(opens(routes!(token::open)))
        .routes(refreshes(routes!(refresh::refresh)))
        .routes(opens(routes!(compat::client_secrets)))
        .routes(dials(routes!(compat::old_session)))
        .routes(dials(routes!(calls::open)))
        .routes(dials(routes!(live::create)))
        .routes(dials(routes!(live::create_for_sample)))
        .routes(looks(routes!(live::attach)))
        .routes(relays(routes!(relay::relay)))
        .routes(looks(routes!(calls::look)))
        .routes(looks(routes!(calls::hang_up)))
        .routes(looks(routes!(call_events::events)))
        .route(
            AS_OPENAI[0].1,
            admits(post(calls::open_as_openai), Purpose::Call),
        )
        .route(AS_OPENAI[1].1, admits(post(calls::hang_up), Purpose::Look))
        .route(AS_OPENAI[2].1, admits(get(relay::relay), Purpose::Relay))
        .route(AS_OPENAI[3].1, admits(post(calls::hang_up), Purpose::Look))
        .routes(routes!(health::health))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(takes(routes!(webhook::openai)));
    if face.transcribes {
        let transcribes = |route| paid(route, Purpose::Transcribe, state);
        router = router
            .routes(transcribes(routes!(transcribe::transcribe)))
            .routes(transcribes(routes!(transcribe::transcribe_form)));
    }
    if face.get_token {
        // axum answers HEAD with what GET would: here that would mint for nobody.
        let get_only =
            opens(routes!(compat::get_token)).map(|methods| methods.head(compat::no_head));
        router = router.routes(get_only);
    }
    router
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
