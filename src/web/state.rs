//! The state that all requests share: cheap clones of the rooms behind the web.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use url::Url;

use crate::audit::Audit;
use crate::auth::Authenticator;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::{AuthMode, Config, Demo, HealthDetails, LogIdentity, Server};
use crate::domain::Origins;
use crate::gate::Gate;
use crate::limit::Folding;
use crate::metrics::Vitals;
use crate::web::layers::trace::{self, Outcome};
use crate::web::routes::granted::Connect;

/// What every request can reach.
#[derive(Clone, FromRef)]
pub struct AppState {
    /// The decisions.
    pub broker: Broker,
    /// The limits of paid requests.
    pub gate: Gate,
    /// The check of credentials.
    pub auth: Arc<Authenticator>,
    /// The log of security events.
    pub audit: Arc<Audit>,
    /// The settings and measures that only the web needs.
    pub face: Arc<Face>,
}

impl AppState {
    /// Writes the counts of folded log lines when their minute is over, or at once when `even_early`.
    pub fn sum_up(&self, even_early: bool) {
        self.audit.sum_up(even_early);
        self.broker.sum_up(even_early);
        trace::sum_up(&self.face, even_early);
    }
}

/// The settings and measures that only the web needs.
#[derive(Clone)]
pub struct Face {
    /// The settings of the listener.
    pub server: Server,
    /// The origins that may call.
    pub origins: Origins,
    /// Whether callers must send a credential.
    pub auth_mode: AuthMode,
    /// Who sees the details of `/health`.
    pub health_details: HealthDetails,
    /// Upper bound on the time of a request whose work has no deadline.
    pub last_resort: Duration,
    /// True when `GET /token` is served.
    pub get_token: bool,
    /// True when recordings are transcribed.
    pub transcribes: bool,
    /// The demo page, when it is served.
    pub demo: Option<Demo>,
    /// The minimum interval between two refreshes of one session, for the demo page.
    pub refresh_interval: Duration,
    /// True when the draft `RateLimit` fields are sent as well.
    pub ietf_fields: bool,
    /// How lines name identities.
    pub log_identity: LogIdentity,
    /// The percentage of new traces that are recorded; `None` without traces.
    pub traced_percent: Option<u32>,
    /// The access lines of the current minute.
    pub folding: Arc<Folding<Outcome>>,
    /// The counts of requests and refreshes.
    pub vitals: Arc<Vitals>,
    /// How pages connect to the provider in direct mode.
    pub connect: Connect,
    /// The address of this service as pages reach it; `None` for the one that each request names.
    pub public_url: Option<Url>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl Face {
    /// Returns the settings of `config` that only the web needs, and measures in `vitals`.
    pub fn of(config: &Config, vitals: Arc<Vitals>, clock: Arc<dyn Clock>) -> Self {
        Self {
            server: config.server.clone(),
            origins: config.cors.allowed_origins.clone(),
            auth_mode: config.auth.mode,
            health_details: config.health.details,
            last_resort: last_resort(config),
            get_token: config.compat.get_token,
            transcribes: config.transcription.is_on(),
            demo: config.demo.enabled.then(|| config.demo.clone()),
            refresh_interval: config.session.min_refresh_interval,
            ietf_fields: config.limits.ietf_fields,
            log_identity: config.log.identity,
            traced_percent: config.otel.traced_percent(),
            folding: Arc::default(),
            vitals,
            connect: Connect::direct(config.upstream.page_url()),
            public_url: config.connect.public_url.clone(),
            clock,
        }
    }
}

/// Upper bound on the time for an issuer's keys and a look-up together, as in `auth`.
const LONGEST_AUTH: Duration = Duration::from_secs(7);

/// Upper bound on the time for two checks of the API key, as in `upstream`: one waits for another request's.
const LONGEST_LOOKS: Duration = Duration::from_secs(10);

/// Returns a bound on the time of a request that exceeds all its parts together: the body, the identity, the look-up and
/// two transactions of the records, the queue, the upstream with a check of the key, and Redis.
fn last_resort(config: &Config) -> Duration {
    let slack = Duration::from_secs(5);
    let records = config.ledger.timeout * 4;
    let upstream = config.upstream.max_wait + config.upstream.timeout + LONGEST_LOOKS;
    // The windows, and once more to give places back.
    let shared = config.redis.timeout * 4;
    let (body, recordings) = (config.server.body_timeout, &config.transcription);
    let recording = recordings.is_on().then_some(recordings.timeout);
    let work = body.max(recording.unwrap_or_default());
    work + LONGEST_AUTH + records + upstream + shared + slack
}
