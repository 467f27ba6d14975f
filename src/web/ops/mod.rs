//! Serves operators on a listener of their own: checks their token and routes their requests.

mod blocks;
mod calls;
mod metrics;
mod sessions;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
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
use super::layers::Onion;
use super::state::{AppState, Face};
use crate::audit::Event;
use crate::auth::bearer;
use crate::config::Server;
use crate::domain::{Caller, Naming, Origins};
use crate::limit::{Guard, GuardRules, Offence, Points};
use crate::records::Records;

const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"operators\"");

/// What requests of operators can reach.
#[derive(Clone, FromRef)]
pub struct OpsState {
    app: AppState,
    naming: Naming,
    records: Arc<dyn Records>,
    entrance: Arc<Entrance>,
}

/// The check of the operators' token.
struct Entrance {
    /// A hash of the operators' token: compared in constant time, and equally long for every guess.
    token: Digest,
    /// Counts wrong guesses, apart from the public's offences.
    guesses: Guard,
}

impl OpsState {
    /// Returns the state for operators who show `token`.
    pub fn new(
        app: &AppState,
        (naming, records): (Naming, Arc<dyn Records>),
        token: &SecretString,
    ) -> Self {
        let entrance = Entrance {
            token: hashed(token.expose_secret()),
            guesses: guesses(),
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

/// Returns the guard of the operators' token: ten wrong guesses within ten minutes block an address for
/// fifteen.
fn guesses() -> Guard {
    Guard::new(GuardRules {
        threshold: 10_000,
        decay: Duration::from_mins(10),
        block: Duration::from_mins(15),
        block_max: Duration::from_mins(15),
        capacity: 1024,
        weights: [(Offence::ForgedCredential, Points(1_000))].into(),
    })
}

/// Returns every path for operators, and the layers around them.
pub fn onion(state: &OpsState) -> Onion {
    let routes = Router::new()
        .route("/metrics", get(metrics::metrics))
        .route("/usage", get(usage::usage))
        .route("/sessions/end", post(sessions::end))
        .route("/calls", get(calls::list))
        .route("/calls/hangup", post(calls::hang_up))
        .route("/blocks", get(blocks::list))
        .route("/blocks/lift", post(blocks::lift))
        .layer(from_fn_with_state(state.clone(), let_in))
        .with_state(state.clone());
    Onion::around(routes, &state.app)
}

/// Returns the public face without what only the public needs: no page may call, and no proxy is trusted.
fn inward(face: &Face) -> Face {
    Face {
        server: Server {
            base_path: String::new(),
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            ..face.server.clone()
        },
        origins: Origins::exactly([]),
        ..face.clone()
    }
}

fn hashed(token: &str) -> Digest {
    digest(&SHA256, token.as_bytes())
}

/// Lets operators in. The right token always opens, so that nobody's guesses lock an operator out. Every
/// wrong guess gets the same answer, and an address that keeps guessing is blocked.
async fn let_in(State(ops): State<OpsState>, mut request: Request, next: Next) -> Response {
    if ops.entrance.admits(request.headers()) {
        return next.run(request).await;
    }
    let Some(caller) = request.extensions_mut().remove::<Caller>() else {
        return ApiError::from(Code::Internal).into_response();
    };
    let now = ops.app.face.clock.tick();
    if let Some(wait) = ops.entrance.guesses.blocked(caller.party(), now) {
        return ApiError::from(Code::Blocked).after(wait).into_response();
    }
    if request.headers().contains_key(AUTHORIZATION) {
        let guess = (Offence::ForgedCredential, None);
        if let Some(block) = ops.entrance.guesses.offend(caller.party(), guess, now) {
            let details = || json!({ "listener": "ops", "seconds": block.lasts.as_secs() });
            let event = Event::ClientBlocked;
            ops.app.audit.record(event, &caller, details);
        }
        let details = || json!({ "listener": "ops" });
        ops.app.audit.record(Event::AuthFailed, &caller, details);
    }
    let error = ApiError::from(Code::Unauthorized);
    ([(WWW_AUTHENTICATE, CHALLENGE)], error).into_response()
}

impl Entrance {
    fn admits(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let (Some(only), None) = (lines.next(), lines.next()) else {
            return false;
        };
        bearer(only.as_bytes()).is_some_and(|guess| {
            verify_slices_are_equal(hashed(guess).as_ref(), self.token.as_ref()).is_ok()
        })
    }
}
