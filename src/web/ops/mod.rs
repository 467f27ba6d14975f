//! Serves operators on a listener of their own: a dashboard for people, and paths for programs.

mod blocks;
mod calls;
mod desk;
mod entrance;
mod metrics;
mod sessions;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use secrecy::SecretString;

use self::entrance::{Entrance, let_in};
use super::layers::Onion;
use super::state::{AppState, Face};
use crate::config::Server;
use crate::domain::{Naming, Origins};
use crate::records::Records;

/// What requests of operators can reach.
#[derive(Clone, FromRef)]
pub struct OpsState {
    app: AppState,
    naming: Naming,
    records: Arc<dyn Records>,
    entrance: Arc<Entrance>,
}

impl OpsState {
    /// Returns the state for operators who show `token`, with pages under the names `hosts`.
    pub fn new(
        app: &AppState,
        (naming, records): (Naming, Arc<dyn Records>),
        (token, hosts): (&SecretString, &[String]),
    ) -> Self {
        Self {
            app: AppState {
                face: Arc::new(inward(&app.face)),
                ..app.clone()
            },
            naming,
            records,
            entrance: Arc::new(Entrance::new(token, hosts)),
        }
    }

    /// Takes another token of operators over.
    pub fn adopt(&self, token: &SecretString) {
        self.entrance.adopt(token);
    }
}

/// Returns every path for operators, and the layers around them.
pub fn onion(state: &OpsState) -> Onion {
    let programs = Router::new()
        .route("/metrics", get(metrics::metrics))
        .route("/usage", get(usage::usage))
        .route("/sessions/end", post(sessions::end))
        .route("/calls", get(calls::list))
        .route("/calls/hangup", post(calls::hang_up))
        .route("/blocks", get(blocks::list))
        .route("/blocks/lift", post(blocks::lift))
        .layer(from_fn_with_state(state.clone(), let_in));
    // In this order, so that an unknown path answers like those for programs.
    let routes = desk::routes(state).merge(programs);
    let routes = routes.with_state(state.clone());
    Onion::around(routes, &state.app)
}

/// Returns the public face without what only the public needs: no page may call, no proxy is trusted, and nothing is traced.
fn inward(face: &Face) -> Face {
    Face {
        server: Server {
            base_path: String::new(),
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            ..face.server.clone()
        },
        origins: Origins::exactly([]),
        traced_percent: None,
        ..face.clone()
    }
}
