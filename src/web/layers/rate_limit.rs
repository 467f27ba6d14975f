//! Owns the blocks and the sliding windows in front of the paid routes.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::audit::Event;
use crate::clock::{millis, seconds_up};
use crate::domain::{Caller, Network};
use crate::limit::{Claim, Decision, Key, LimitError, Offence, PolicyId, Receipt, Standing};
use crate::telemetry;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::state::AppState;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const IETF_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const IETF_FIELD: HeaderName = HeaderName::from_static("ratelimit");

/// The two policies of one kind of paid request: for the caller's own network, and for the wide one around it.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// IPv4 /32 or IPv6 /64.
    pub narrow: PolicyId,
    /// IPv4 /24 or IPv6 /48.
    pub wide: PolicyId,
}

impl Pair {
    fn claims(self, address: IpAddr) -> [Claim; 2] {
        let claim = |policy, network| Claim {
            policy,
            key: Key::from(network),
        };
        [
            claim(self.narrow, Network::of(address)),
            claim(self.wide, Network::around(address)),
        ]
    }
}

/// Lets a request through if its address is not blocked and has allowance left. Afterwards: what the request did wrong
/// is added to the address's score, and what it did not use is given back.
pub(super) async fn limit(
    state: &AppState,
    pair: Pair,
    caller: &Caller,
    next: impl Future<Output = Response>,
) -> Response {
    match state
        .limits
        .decide(caller.address, &pair.claims(caller.address))
        .await
    {
        Ok(Decision::Admitted { tightest, receipt }) => {
            let mut response = next.await;
            let error = response.extensions().get::<ApiError>().cloned();
            let given_back = settle(state, caller, error, receipt).await;
            if let Some(standing) = tightest {
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
        Ok(Decision::Refused { standing, wait }) => refuse(state, caller, &standing, wait).await,
        Ok(Decision::Blocked { wait }) => {
            state.audit.record(
                Event::RateLimitExceeded,
                caller,
                || json!({ "blocked": true }),
            );
            ApiError::from(Code::Blocked).after(wait).into_response()
        }
        Err(error) => {
            log_failure(Err(error));
            ApiError::from(Code::Internal).into_response()
        }
    }
}

/// What an answer means for the one who was let through; true when its place was given back.
async fn settle(
    state: &AppState,
    caller: &Caller,
    error: Option<ApiError>,
    receipt: Receipt,
) -> bool {
    let Some(error) = error else { return false };
    if let Some(offence) = error.offence {
        offend(state, caller, offence).await;
    }
    if error.gives_back {
        log_failure(state.limits.release(receipt).await);
    }
    error.gives_back
}

async fn refuse(
    state: &AppState,
    caller: &Caller,
    standing: &Standing,
    wait: Duration,
) -> Response {
    let details = || json!({ "policy": standing.policy, "limit": standing.rate.limit, "windowMs": millis(standing.rate.window) });
    state
        .audit
        .record(Event::RateLimitExceeded, caller, details);
    offend(state, caller, Offence::RateLimited).await;
    let mut response = ApiError::from(Code::RateLimited)
        .after(wait)
        .into_response();
    tell(response.headers_mut(), standing, state.face.ietf_fields);
    response
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
