//! Serves operators on a listener of their own: checks their token and routes their requests.

mod blocks;
mod sessions;
mod usage;

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::extract::{FromRef, Request, State};
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::code::Code;
use super::error::ApiError;
use super::layers::{Onion, arrival};
use super::state::{AppState, Face};
use crate::audit::Event;
use crate::auth::bearer;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::{AuthMode, Server};
use crate::domain::{Caller, Naming, Origins};
use crate::gate::Gate;
use crate::limit::{Guard, Offence};
use crate::records::Records;

const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"operators\"");

/// What requests of operators can reach.
#[derive(Clone, FromRef)]
pub struct OpsState {
    app: AppState,
    naming: Naming,
    records: OpsRecords,
    entrance: Arc<Entrance>,
}

/// The records, and the clock that reports are dated by.
#[derive(Clone)]
pub struct OpsRecords {
    /// The records.
    pub records: Arc<dyn Records>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl FromRef<OpsState> for Broker {
    fn from_ref(state: &OpsState) -> Self {
        state.app.broker.clone()
    }
}

impl FromRef<OpsState> for Gate {
    fn from_ref(state: &OpsState) -> Self {
        state.app.gate.clone()
    }
}

/// The check of the operators' token.
struct Entrance {
    /// A hash of the operators' token: compared in constant time, and equally long for every guess.
    token: [u8; 32],
    /// Counts wrong guesses, apart from the public's offences.
    guesses: Guard,
    clock: Arc<dyn Clock>,
}

impl OpsState {
    /// Returns the state for operators who show `token`. `guesses` blocks addresses that guess.
    pub fn new(
        app: &AppState,
        (naming, records): (Naming, OpsRecords),
        token: &SecretString,
        guesses: Guard,
    ) -> Self {
        let entrance = Entrance {
            token: hashed(token.expose_secret().as_bytes()),
            guesses,
            clock: Arc::clone(&app.face.clock),
        };
        Self {
            app: AppState {
                face: Arc::new(inward(&app.face)),
                ..app.clone()
            },
            naming,
            records,
            entrance: Arc::new(entrance),
        }
    }
}

/// Returns every path for operators, and the layers around them.
pub fn onion(state: &OpsState) -> Onion {
    let routes = Router::new()
        .route("/usage", get(usage::usage))
        .route("/sessions/end", post(sessions::end))
        .route("/blocks", get(blocks::list))
        .route("/blocks/lift", post(blocks::lift))
        .layer(from_fn_with_state(state.clone(), let_in))
        .with_state(state.clone());
    Onion::around(routes, &state.app)
}

/// Returns the public face without what only the public needs: no page may call, and no proxy is trusted.
fn inward(face: &Face) -> Face {
    let server = Server {
        base_path: String::new(),
        hosts: Vec::new(),
        trusted_proxies: Vec::new(),
        ..face.server.clone()
    };
    Face {
        server,
        origins: Origins::exactly([]),
        auth_mode: AuthMode::Off,
        health_details: face.health_details,
        last_resort: face.last_resort,
        get_token: false,
        demo: None,
        refresh_interval: face.refresh_interval,
        ietf_fields: false,
        vitals: Arc::clone(&face.vitals),
        clock: Arc::clone(&face.clock),
    }
}

fn hashed(token: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token).as_ref());
    hash
}

/// Lets operators in. The right token always opens, so that nobody's guesses lock an operator out. Every
/// wrong guess gets the same answer, and an address that keeps guessing is blocked.
async fn let_in(State(state): State<OpsState>, request: Request, next: Next) -> Response {
    let entrance = &state.entrance;
    if entrance.admits(request.headers()) {
        return next.run(request).await;
    }
    let Some(caller) = arrival::caller(&request) else {
        return ApiError::from(Code::Internal).into_response();
    };
    if let Some(wait) = entrance.guesses.blocked(caller.party(), &*entrance.clock) {
        return ApiError::from(Code::Blocked).after(wait).into_response();
    }
    if request.headers().contains_key(AUTHORIZATION) {
        note_guess(&state, &caller);
        let details = || json!({ "listener": "ops" });
        state.app.audit.record(Event::AuthFailed, &caller, details);
    }
    let mut response = ApiError::from(Code::Unauthorized).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
    response
}

/// Counts a wrong guess, and records the block that it earned.
fn note_guess(state: &OpsState, caller: &Caller) {
    let entrance = &state.entrance;
    let guess = (Offence::ForgedCredential, None);
    let now = entrance.clock.tick();
    if let Some(block) = entrance.guesses.offend(caller.party(), guess, now) {
        let seconds = block.lasts.as_secs();
        let details = || json!({ "listener": "ops", "seconds": seconds });
        state
            .app
            .audit
            .record(Event::ClientBlocked, caller, details);
    }
}

impl Entrance {
    fn admits(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let (Some(only), None) = (lines.next(), lines.next()) else {
            return false;
        };
        bearer(only.as_bytes()).is_some_and(|guess| {
            verify_slices_are_equal(&hashed(guess.as_bytes()), &self.token).is_ok()
        })
    }
}
