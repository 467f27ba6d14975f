//! Owns the blocks and the sliding windows in front of the paid routes.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::audit::{Event, Who};
use crate::clock::{millis, seconds_up};
use crate::domain::{Caller, Network};
use crate::limit::{
    Claim, Decision, Key, LimitError, MOST_CLAIMS, Offence, PolicyId, Receipt, Standing,
};
use crate::telemetry;
use crate::web::code::Code;
use crate::web::error::{ApiError, Used};
use crate::web::state::AppState;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const IETF_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const IETF_FIELD: HeaderName = HeaderName::from_static("ratelimit");

/// How long callers are told to wait while the limits cannot be asked.
const OUTAGE_WAIT: Duration = Duration::from_secs(5);

/// The name of the identity's own window.
pub const IDENTITY: &str = "identity";
/// The name of everybody's window of a minute.
pub const MINTS: &str = "mints";
/// The name of everybody's window of a day.
pub const MINTS_DAILY: &str = "mints_daily";
/// The name of an identity's window of all its mints.
pub const IDENTITY_MINTS: &str = "identity_mints";
/// The name of the window of all callers without identity.
pub const ANONYMOUS_MINTS: &str = "anonymous_mints";

/// The policies of one kind of paid request.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// For the caller's IPv4 /32 or IPv6 /64.
    pub narrow: PolicyId,
    /// For the IPv4 /24 or IPv6 /48 around it.
    pub wide: PolicyId,
    /// For its identity.
    pub identity: Option<PolicyId>,
    /// For mints.
    pub budget: Option<Budget>,
}

/// The policies that count mints, sessions and refreshes alike.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// For everybody together, in a minute.
    pub mints: PolicyId,
    /// For everybody together, in a day.
    pub daily: PolicyId,
    /// For one identity, in a day: nobody alone uses up everybody's.
    pub identity: PolicyId,
    /// For all callers without identity together, in a day: nor do they.
    pub anonymous: PolicyId,
}

/// The claims of one request.
struct Claims {
    list: [Claim; MOST_CLAIMS],
    length: usize,
}

impl Windows {
    /// The same for a request that does not get as far as a mint.
    pub(super) const fn asking(self) -> Self {
        Self {
            identity: None,
            budget: None,
            ..self
        }
    }

    fn claims(self, caller: &Caller) -> Claims {
        let narrow = Claim {
            policy: self.narrow,
            key: Key::from(Network::of(caller.address)),
        };
        let mut claims = Claims {
            list: [narrow; MOST_CLAIMS],
            length: 1,
        };
        claims.add(self.wide, Network::around(caller.address).into());
        let identity = caller.identity.as_ref().map(|known| Key::from(known.key));
        if let (Some(policy), Some(key)) = (self.identity, identity) {
            claims.add(policy, key);
        }
        for Claim { policy, key } in self
            .budget
            .iter()
            .flat_map(|budget| budget.claims(identity))
        {
            claims.add(policy, key);
        }
        claims
    }

    /// True for what counts asking; the others count mints.
    fn counts_asking(self, policy: PolicyId) -> bool {
        policy == self.narrow || policy == self.wide
    }
}

impl Budget {
    /// The claims of a mint for this identity, or else for nobody in particular.
    pub fn claims(self, identity: Option<Key>) -> [Claim; 3] {
        let everybody = |policy| Claim {
            policy,
            key: Key::EVERYBODY,
        };
        let own = identity.map_or_else(
            || everybody(self.anonymous),
            |key| Claim {
                policy: self.identity,
                key,
            },
        );
        [everybody(self.mints), everybody(self.daily), own]
    }
}

impl Claims {
    fn add(&mut self, policy: PolicyId, key: Key) {
        if let Some(place) = self.list.get_mut(self.length) {
            *place = Claim { policy, key };
            self.length += 1;
        }
    }

    fn all(&self) -> &[Claim] {
        &self.list[..self.length]
    }
}

/// The answer to a caller whose address is under a block.
pub(super) async fn blocked(state: &AppState, caller: &Caller) -> Option<Response> {
    match state.limits.decide(caller.address, &[]).await {
        Ok(Decision::Blocked { wait }) => Some(refuse_blocked(state, caller, wait)),
        Ok(_) => None,
        Err(error) => Some(unasked(error)),
    }
}

/// Who is not known learns nothing of windows, and to who has used up a quota they would say the wrong thing.
fn tells_standing(response: &Response) -> bool {
    let error = response.extensions().get::<ApiError>();
    error.is_none_or(|error| ![Code::Unauthorized, Code::QuotaExceeded].contains(&error.code))
}

fn refuse_blocked(state: &AppState, caller: &Caller, wait: Duration) -> Response {
    let details = || json!({ "blocked": true });
    state
        .audit
        .record(Event::RateLimitExceeded, caller, details);
    ApiError::from(Code::Blocked).after(wait).into_response()
}

/// Lets a request through if its address is not blocked and has allowance left. Afterwards: what the request did wrong
/// is added to the address's score, and what it did not use is given back.
pub(super) async fn limit(
    state: &AppState,
    windows: Windows,
    caller: &Caller,
    next: impl Future<Output = Response>,
) -> Response {
    let claims = windows.claims(caller);
    match state.limits.decide(caller.address, claims.all()).await {
        Ok(Decision::Admitted { tightest, receipt }) => {
            let mut response = next.await;
            let error = response.extensions().get::<ApiError>().cloned();
            let given_back = settle(state, caller, error, (windows, receipt)).await;
            if let Some(standing) = tightest.filter(|_| tells_standing(&response)) {
                let remaining = standing.remaining + u32::from(given_back);
                tell(
                    response.headers_mut(),
                    &Standing {
                        remaining,
                        ..standing
                    },
                    state.face.ietf_fields,
                );
            }
            response
        }
        Ok(Decision::Refused {
            standing,
            wait,
            is_share,
        }) => {
            // An identity may share its address with a whole school: only the address' own windows count against it.
            let is_own = ![IDENTITY, IDENTITY_MINTS].contains(&standing.policy);
            let is_offence = is_own && !is_share;
            refuse(state, caller, &standing, (wait, is_offence)).await
        }
        Ok(Decision::Blocked { wait }) => refuse_blocked(state, caller, wait),
        Err(error) => unasked(error),
    }
}

/// What an answer means for the one who was let through; true when its place was given back.
async fn settle(
    state: &AppState,
    caller: &Caller,
    error: Option<ApiError>,
    (windows, receipt): (Windows, Receipt),
) -> bool {
    let Some(error) = error else { return false };
    if let Some(offence) = error.offence {
        offend(state, caller, offence).await;
    }
    let unused = match error.used {
        Used::Nothing => receipt,
        Used::Attempt => receipt.only(|policy| !windows.counts_asking(policy)),
        Used::Mint => return false,
    };
    log_failure(state.limits.release(unused).await);
    error.used == Used::Nothing
}

async fn refuse(
    state: &AppState,
    caller: &Caller,
    standing: &Standing,
    (wait, is_offence): (Duration, bool),
) -> Response {
    let name = standing.policy;
    let details = || RefusalDetails {
        policy: name,
        limit: standing.rate.limit,
        window_ms: millis(standing.rate.window),
        who: caller.into(),
    };
    if [MINTS, MINTS_DAILY, ANONYMOUS_MINTS].contains(&name) {
        state.audit.record(Event::QuotaExceeded, caller, details);
        let error = ApiError::from(Code::QuotaExceeded).after(wait).under(name);
        return error.into_response();
    }
    state
        .audit
        .record(Event::RateLimitExceeded, caller, details);
    if is_offence {
        offend(state, caller, Offence::RateLimited).await;
    }
    let error = ApiError::from(Code::RateLimited).after(wait).under(name);
    let mut response = error.into_response();
    tell(response.headers_mut(), standing, state.face.ietf_fields);
    response
}

/// What is written down of a refusal.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefusalDetails<'a> {
    policy: &'static str,
    limit: u32,
    window_ms: f64,
    #[serde(flatten)]
    who: Who<'a>,
}

/// Adds an offence to the caller's score, and writes down when it earned a block.
pub(super) async fn offend(state: &AppState, caller: &Caller, offence: Offence) {
    match state.limits.offend(caller.address, offence).await {
        // These have an event of their own.
        Ok(None) if matches!(offence, Offence::RateLimited | Offence::WrongOrigin) => {}
        Ok(None) => {
            state.audit.record(
                Event::SuspiciousActivity,
                caller,
                || json!({ "offence": offence.as_str() }),
            );
        }
        Ok(Some(block)) => {
            let details = || {
                json!({
                    "offence": offence.as_str(), "network": block.network.to_string(),
                    "seconds": block.lasts.as_secs(), "repetition": block.repetition,
                })
            };
            state.audit.record(Event::ClientBlocked, caller, details);
        }
        Err(error) => log_failure(Err(error)),
    }
}

/// The answer when the limits could not be asked. Nobody is let through.
fn unasked(error: LimitError) -> Response {
    if error.is_unreachable() {
        // Logged once, where it was noticed.
        return ApiError::from(Code::Overloaded)
            .after(OUTAGE_WAIT)
            .into_response();
    }
    log_failure(Err(error));
    ApiError::from(Code::Internal).into_response()
}

fn log_failure(outcome: Result<(), LimitError>) {
    if let Err(error) = outcome {
        tracing::error!(
            cause = telemetry::chain(&error),
            "the limits could not be asked"
        );
    }
}

/// Says how much allowance is left, and in how many seconds there is more.
fn tell(headers: &mut HeaderMap, standing: &Standing, ietf: bool) {
    let reset = seconds_up(standing.resets_in);
    headers.insert(LIMIT, standing.rate.limit.into());
    headers.insert(REMAINING, standing.remaining.into());
    headers.insert(RESET, reset.into());
    if ietf {
        // draft-ietf-httpapi-ratelimit-headers-10: structured fields (RFC 9651).
        let (name, limit, window) = (
            standing.policy,
            standing.rate.limit,
            standing.rate.window.as_secs(),
        );
        let policy = HeaderValue::try_from(format!("\"{name}\";q={limit};w={window}"));
        let field = HeaderValue::try_from(format!("\"{name}\";r={};t={reset}", standing.remaining));
        for (name, value) in [(IETF_POLICY, policy), (IETF_FIELD, field)] {
            if let Ok(value) = value {
                headers.insert(name, value);
            }
        }
    }
}
