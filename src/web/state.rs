//! Owns what every request can reach: cheap clones of the rooms behind the web.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;

use crate::audit::Audit;
use crate::auth::Authenticator;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::{AuthMode, Demo, HealthDetails, Server};
use crate::domain::Origins;
use crate::gate::Gate;
use crate::vitals::Vitals;

/// What every request can reach.
#[derive(Clone, FromRef)]
pub struct AppState {
    /// Decides.
    pub broker: Broker,
    /// Admits paid requests.
    pub gate: Gate,
    /// Says whom credentials stand for.
    pub auth: Arc<Authenticator>,
    /// Writes down what happened.
    pub audit: Arc<Audit>,
    /// How the service presents itself.
    pub face: Arc<Face>,
}

/// How the service presents itself: the settings and measures that only the web needs.
pub struct Face {
    /// Addresses, proxies and patience.
    pub server: Server,
    /// Which origins may call.
    pub origins: Origins,
    /// Whether callers must show a credential.
    pub auth_mode: AuthMode,
    /// How much `/health` tells to whom.
    pub health_details: HealthDetails,
    /// When an answer is given up that forgot its own deadline.
    pub last_resort: Duration,
    /// True when `GET /token` is served.
    pub get_token: bool,
    /// The demo page, when it is served.
    pub demo: Option<Demo>,
    /// The minimum interval between two refreshes of one session, for the demo page.
    pub refresh_interval: Duration,
    /// True when the draft `RateLimit` fields are sent as well.
    pub ietf_fields: bool,
    /// What was done is counted here.
    pub vitals: Arc<Vitals>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}
