//! Owns the blocks and the sliding windows in front of the paid routes.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::audit::Event;
use crate::clock::{millis, seconds_up};
use crate::domain::{Caller, Network};
use crate::limit::{Claim, Decision, Key, LimitError, Offence, PolicyId, Standing};
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
    fn claims(self, caller: &Caller) -> [Claim; 2] {
        [
            Claim {
                policy: self.narrow,
                key: Key::from(Network::of(caller.address)),
            },
            Claim {
                policy: self.wide,
                key: Key::from(Network::around(caller.address)),
            },
        ]
    }
}

/// Lets a request through if its address is not blocked and has allowance left. Afterwards: what the request did wrong
/// is added to the address's score, and what it did not use is given back.
pub async fn limit(
    State((state, pair)): State<(AppState, Pair)>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Response {
    match state
        .limits
        .decide(caller.address, &pair.claims(&caller))
        .await
    {
        Ok(Decision::Admitted {
            mut tightest,
            receipt,
        }) => {
            let mut response = next.run(request).await;
            let error = response.extensions().get::<ApiError>().cloned();
            if error.as_ref().is_some_and(|error| error.gives_back) {
                log_failure(state.limits.release(receipt).await);
                tightest = tightest.map(|standing| Standing {
                    remaining: standing.remaining + 1,
                    ..standing
                });
            }
            if let Some(offence) = error.and_then(|error| error.offence) {
                offend(&state, &caller, offence).await;
            }
            if let Some(standing) = tightest {
                tell(response.headers_mut(), &standing, state.face.ietf_fields);
            }
            response
        }
        Ok(Decision::Refused { standing, wait }) => refuse(&state, &caller, &standing, wait).await,
        Ok(Decision::Blocked { wait }) => {
            state.audit.record(
                Event::RateLimitExceeded,
                &caller,
                &json!({ "blocked": true }),
            );
            ApiError::from(Code::Blocked).after(wait).into_response()
        }
        Err(error) => {
            log_failure(Err(error));
            ApiError::from(Code::Internal).into_response()
        }
    }
}

async fn refuse(
    state: &AppState,
    caller: &Caller,
    standing: &Standing,
    wait: Duration,
) -> Response {
    let details = json!({ "policy": standing.policy, "limit": standing.rate.limit, "windowMs": millis(standing.rate.window) });
    state
        .audit
        .record(Event::RateLimitExceeded, caller, &details);
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
                &json!({ "offence": offence.as_str() }),
            );
        }
        Ok(Some(block)) => {
            let details = json!({
                "offence": offence.as_str(), "network": block.network.to_string(),
                "seconds": block.lasts.as_secs(), "repetition": block.repetition,
            });
            state.audit.record(Event::ClientBlocked, caller, &details);
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
