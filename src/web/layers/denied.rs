//! Renders what the gate decides: the answers of denied requests, rate-limit headers, audit events.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::audit::Event;
use crate::clock::{millis, seconds_up};
use crate::domain::{Caller, Forwards, Party, Rate};
use crate::gate::windows::Standing;
use crate::gate::{Denied, Pass};
use crate::limit::{Block, Offence};
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::state::AppState;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const IETF_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const IETF_FIELD: HeaderName = HeaderName::from_static("ratelimit");

/// The setting that paces verifications, as refusals name it.
const UNVERIFIED: &str = "failed_verifications";
/// The wait of callers while the windows cannot be asked.
const OUTAGE_WAIT: Duration = Duration::from_secs(5);

/// Returns the answer to a denied request, and records the refusal.
pub(super) fn answer(state: &AppState, caller: &Caller, denied: &Denied) -> Response {
    let note = |details: fn() -> Value| {
        state
            .audit
            .record(Event::RateLimitExceeded, caller, details);
    };
    match denied {
        Denied::Limited { standing, earned } => {
            let response = limited(state, caller, standing);
            if let Some(block) = earned {
                note_block(state, caller, Offence::RateLimited, block);
            }
            response
        }
        Denied::Blocked { wait } => {
            note(|| json!({ "blocked": true }));
            let error = ApiError::from(Code::Blocked).after(*wait);
            error.under("block").into_response()
        }
        Denied::Unverified => {
            note(|| json!({ "policy": UNVERIFIED }));
            let error = ApiError::from(Code::RateLimited);
            error.under(UNVERIFIED).into_response()
        }
        // Logged once, where the outage is noticed.
        Denied::Unavailable(_) => {
            let error = ApiError::from(Code::Overloaded);
            error.after(OUTAGE_WAIT).into_response()
        }
    }
}

fn limited(state: &AppState, caller: &Caller, standing: &Standing) -> Response {
    let row = standing.limit.row();
    note_untrusted_proxy(state, caller);
    let (event, code) = if row.is_budget() {
        (Event::QuotaExceeded, Code::QuotaExceeded)
    } else {
        (Event::RateLimitExceeded, Code::RateLimited)
    };
    let Rate { limit, window } = standing.rate;
    let details = || json!({ "policy": row.setting, "limit": limit, "window_ms": millis(window) });
    state.audit.record(event, caller, details);
    let error = ApiError::from(code).under(row.setting);
    let mut response = error.after(standing.resets_in).into_response();
    if row.is_told() {
        tell(response.headers_mut(), standing, state.face.ietf_fields);
    }
    response
}

/// Names a proxy that is not trusted: all callers behind it share one allowance.
fn note_untrusted_proxy(state: &AppState, caller: &Caller) {
    if caller.forwards == Forwards::Untrusted && caller.identity.is_none() {
        let details = || {
            json!({
                "setting": "server.trusted_proxies",
                "address": caller.address(),
                "warning": "this address forwards requests but is not trusted, so all callers behind it share \
                            one allowance. If it is your proxy, add it to server.trusted_proxies",
            })
        };
        state.audit.record(Event::ConfigWarning, caller, details);
    }
}

/// Settles the pass of a request that was answered: gives back what was not used up, scores an offence,
/// and tells the caller how much allowance is left.
pub(super) async fn settle(
    state: &AppState,
    caller: &Caller,
    pass: &Pass,
    response: &mut Response,
) {
    let settled = pass.settle().await;
    if let Some(offence) = settled.offence {
        offend(state, caller, offence).await;
    }
    let code = response.extensions().get::<ApiError>();
    let code = code.map(|error| error.code);
    // A caller that shows a used ticket in a loop meets the limit of refused credentials.
    if code == Some(Code::TicketUsed)
        && let Err(denied) = state.gate.refuse_credential(caller).await
    {
        *response = answer(state, caller, &denied);
        return;
    }
    // On an exhausted quota the headers would describe the wrong limit.
    let is_quota = code == Some(Code::QuotaExceeded);
    if let Some(standing) = settled.standing.filter(|_| !is_quota) {
        tell(response.headers_mut(), &standing, state.face.ietf_fields);
    }
}

/// Adds an offence to the caller's score, and records the offence or the block that it earned.
pub(super) async fn offend(state: &AppState, caller: &Caller, offence: Offence) {
    let anomalies = &state.face.vitals.series.anomalies;
    anomalies.add([offence.as_str()], 1);
    match state.gate.offend(caller, offence).await {
        Ok(Some(block)) => note_block(state, caller, offence, &block),
        // A wrong origin has an event of its own.
        Ok(None) if offence == Offence::WrongOrigin => {}
        Ok(None) => {
            let details = || json!({ "offence": offence });
            let event = Event::SuspiciousActivity;
            state.audit.record(event, caller, details);
        }
        // Logged once, where the outage is noticed.
        Err(_) => {}
    }
}

fn note_block(state: &AppState, caller: &Caller, offence: Offence, block: &Block) {
    let blocks = &state.face.vitals.series.blocks;
    blocks.add([offence.as_str()], 1);
    let network = match block.party {
        Party::Network(network) => Some(network.to_string()),
        Party::Identity(_) => None,
    };
    let details = || {
        json!({
            "offence": offence,
            "network": network,
            "seconds": block.lasts.as_secs(),
            "repetition": block.repetition,
        })
    };
    state.audit.record(Event::ClientBlocked, caller, details);
}

/// Writes how much allowance is left, and in how many seconds there is more.
fn tell(headers: &mut HeaderMap, standing: &Standing, ietf: bool) {
    let reset = seconds_up(standing.resets_in);
    headers.insert(LIMIT, standing.rate.limit.into());
    headers.insert(REMAINING, standing.remaining.into());
    headers.insert(RESET, reset.into());
    if ietf {
        // draft-ietf-httpapi-ratelimit-headers-10: structured fields (RFC 9651).
        let name = standing.limit.row().setting;
        let (limit, window) = (standing.rate.limit, standing.rate.window.as_secs());
        let policy = HeaderValue::try_from(format!("\"{name}\";q={limit};w={window}"));
        let field = HeaderValue::try_from(format!("\"{name}\";r={};t={reset}", standing.remaining));
        for (name, value) in [(IETF_POLICY, policy), (IETF_FIELD, field)] {
            if let Ok(value) = value {
                headers.insert(name, value);
            }
        }
    }
}
