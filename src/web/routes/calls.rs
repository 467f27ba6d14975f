//! `POST /calls` and its kin: exchange an offer for an answer, look at a call, hang it up.

use std::sync::Arc;

use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::wanted::Wanted;
use crate::auth::bearer;
use crate::broker::{Answered, CallRequest};
use crate::clock::Timestamp;
use crate::domain::{Call, Caller, EndReason, Offer, Ticket, UpstreamCallId, hash};
use crate::provider::Dialect;
use crate::web::code::Code;
use crate::web::error::{ApiError, Failure};
use crate::web::layers::paid::Admitted;
use crate::web::layers::trace::{JoinTook, UpstreamTook};
use crate::web::offered::Offered;
use crate::web::openapi::{CallRefusals, Refusals};
use crate::web::state::AppState;

/// When the call ends, in milliseconds since the Unix epoch.
pub const CALL_ENDS_AT: HeaderName = HeaderName::from_static("x-call-ends-at");
/// Names a request, so that a repeated one gets the same answer.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest `Idempotency-Key`, in bytes.
const MAX_KEY_LENGTH: usize = 255;
/// The bearer token with which a caller without identity and ticket sees its call and hangs it up.
pub const CALL_TOKEN: HeaderName = HeaderName::from_static("x-call-token");
const SDP: HeaderValue = HeaderValue::from_static("application/sdp");

/// Exchange the offer of a WebRTC call for an answer. The call is metered and has limits; media flows between the page and
/// the provider.
#[utoipa::path(
    post,
    path = "/calls",
    tag = "calls",
    params(Wanted),
    request_body(content(
        (String = "application/sdp"),
        (OfferForm = "multipart/form-data"),
    )),
    responses(
        (status = 201, description = "The answer. `Location` names the call.", body = String, content_type = "application/sdp"),
        CallRefusals,
        Refusals,
    )
)]
pub async fn open(
    State(state): State<AppState>,
    Extension(admitted): Extension<Admitted>,
    Query(wanted): Query<Wanted>,
    request: Request,
) -> Result<Response, ApiError> {
    exchange(&state, admitted, (wanted, None), request).await
}

/// The same, under OpenAI's path, for clients that speak the Realtime API.
pub async fn open_as_openai(
    State(state): State<AppState>,
    Extension(admitted): Extension<Admitted>,
    Query(wanted): Query<Wanted>,
    request: Request,
) -> Result<Response, ApiError> {
    let realtime = Some(Dialect::Realtime);
    exchange(&state, admitted, (wanted, realtime), request).await
}

/// An offer as a form, as OpenAI's unified sample sends it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form that is read part by part")]
pub struct OfferForm {
    /// The offer (RFC 8866), at most 64 KiB.
    sdp: String,
    /// Settings of the session. Fields that the persona pins must be absent or have the persona's value; other fields are ignored.
    session: Option<serde_json::Value>,
}

/// Reads the offer, has it exchanged, writes the answer.
pub(super) async fn exchange(
    state: &AppState,
    admitted: Admitted,
    (wanted, dialect): (Wanted, Option<Dialect>),
    request: Request,
) -> Result<Response, ApiError> {
    let key = idempotency_key(request.headers())?;
    let offered = Offered::from_request(request, state).await?;
    let answered = dial(state, admitted, (wanted, dialect), (key, offered)).await?;
    let calls = if dialect.is_some() {
        "/v1/realtime/calls"
    } else {
        "/calls"
    };
    let body = ([(CONTENT_TYPE, SDP)], answered.sdp.clone());
    answer(state, &answered, (calls, body.into_response()))
}

/// Has an offer exchanged.
pub(super) async fn dial(
    state: &AppState,
    Admitted {
        caller,
        pass,
        ticket,
        ..
    }: Admitted,
    (wanted, dialect): (Wanted, Option<Dialect>),
    (key, offered): (Option<String>, Offered),
) -> Result<Arc<Answered>, ApiError> {
    let offer = Offer::parse(&offered.sdp)?;
    let idempotency = key.map(|key| own(&key, &caller, &offered.sdp));
    let asked = CallRequest {
        choice: wanted.choice()?,
        offer,
        session: offered.session,
        idempotency,
        ticket,
        dialect,
    };
    Ok(state.broker.call(caller, asked, pass).await?)
}

/// Returns the `Idempotency-Key`.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    let is_key = |key: &&str| (1..=MAX_KEY_LENGTH).contains(&key.len());
    let key = key.to_str().ok().filter(is_key);
    let (Some(key), None) = (key, keys.next()) else {
        return Err(ApiError::at("Idempotency-Key"));
    };
    Ok(Some(key.to_owned()))
}

/// Returns the hash of an `Idempotency-Key`, which is the caller's own: two callers may choose the same. Callers without identity
/// share addresses, so theirs holds for the offer that it came with.
fn own(key: &str, caller: &Caller, offer: &[u8]) -> Box<str> {
    let party = caller.party().to_text();
    if caller.identity.is_some() {
        hash(&format!("{party} {key}"))
    } else {
        hash(&format!("{party} {key} {}", String::from_utf8_lossy(offer)))
    }
}

/// Completes the answer to an offer. Calls stand below the path `calls`.
pub(super) fn answer(
    state: &AppState,
    answered: &Answered,
    (calls, mut response): (&str, Response),
) -> Result<Response, ApiError> {
    let broken = |_| ApiError::from(Code::Internal);
    *response.status_mut() = StatusCode::CREATED;
    let base = &state.face.server.base_path;
    let location = format!("{base}{calls}/{}", answered.call.id.as_str());
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::try_from(location).map_err(broken)?);
    headers.insert(CALL_ENDS_AT, answered.ends_at.as_millis().into());
    if let Some(ticket) = &answered.ticket {
        let mut value = HeaderValue::try_from(ticket.expose()).map_err(broken)?;
        value.set_sensitive(true);
        headers.insert(CALL_TOKEN, value);
    }
    let took = UpstreamTook(answered.upstream_took);
    response.extensions_mut().insert(took);
    let join = JoinTook(answered.join_took);
    response.extensions_mut().insert(join);
    Ok(response)
}

/// Where a call stands.
#[derive(Serialize, ToSchema)]
pub struct CallView {
    /// The call's id.
    pub id: String,
    /// `dialling`, `open`, `ending` (the hang-up is not confirmed yet), `ended`.
    pub state: &'static str,
    /// Grows with every change.
    pub revision: u64,
    /// Seconds until the call ends; zero once it does not run.
    pub seconds_left: u64,
    /// True once little time is left.
    pub warning: bool,
    /// Answers of the model so far.
    pub turns: u64,
    /// Tokens so far, input and output together.
    pub tokens: u64,
    /// Price so far in US dollars, like `0.010296`.
    pub cost: String,
    /// The estimated part of the cost, in US dollars.
    pub estimated_cost: String,
    /// Why the call ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl CallView {
    /// Returns what a page may see of `call` at `now`.
    pub fn of(call: &Call, now: Timestamp) -> Self {
        Self {
            id: call
                .upstream
                .as_ref()
                .map_or_else(String::new, |upstream| upstream.id.as_str().into()),
            state: call.state.as_str(),
            revision: call.revision,
            seconds_left: call.seconds_left(now),
            warning: call.is_warned,
            turns: call.used.turns,
            tokens: call.used.usage.tokens(),
            cost: call.used.cost.to_string(),
            estimated_cost: call.used.estimated.to_string(),
            reason: call.end_reason.map(EndReason::as_str),
        }
    }
}

/// Returns the state of a call to the caller who opened it.
#[utoipa::path(
    get,
    path = "/calls/{id}",
    tag = "calls",
    params(("id" = String, Path, description = "The id from `Location`.")),
    responses(
        (status = 200, description = "The state of the call.", body = CallView),
        (status = 404, description = "No call of this caller has that id.", body = Failure<'static>),
        Refusals,
    )
)]
pub async fn look(
    State(state): State<AppState>,
    Extension(Admitted { caller, .. }): Extension<Admitted>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<CallView>, ApiError> {
    let id = UpstreamCallId::parse(&id).ok_or(Code::UnknownCall)?;
    view(&state, (&caller, ticket(&headers)), &id).await
}

/// Hang a call up. Doing so twice is fine.
#[utoipa::path(
    post,
    path = "/calls/{id}/hangup",
    tag = "calls",
    params(("id" = String, Path, description = "The id from `Location`.")),
    responses(
        (status = 200, description = "The call has ended, or ends as soon as the provider confirms it.", body = CallView),
        (status = 404, description = "No call of this caller has that id.", body = Failure<'static>),
        Refusals,
    )
)]
pub async fn hang_up(
    State(state): State<AppState>,
    Extension(Admitted { caller, .. }): Extension<Admitted>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<CallView>, ApiError> {
    let id = UpstreamCallId::parse(&id).ok_or(Code::UnknownCall)?;
    let ticket = ticket(&headers);
    state
        .broker
        .hang_up_call(&caller, ticket.as_ref(), &id)
        .await?;
    view(&state, (&caller, ticket), &id).await
}

async fn view(
    state: &AppState,
    (caller, ticket): (&Caller, Option<Ticket>),
    id: &UpstreamCallId,
) -> Result<Json<CallView>, ApiError> {
    let call = state.broker.call_of(caller, ticket.as_ref(), id).await?;
    Ok(Json(CallView::of(&call, state.face.clock.now())))
}

/// Returns the ticket that the request shows as bearer token.
pub(in crate::web) fn ticket(headers: &HeaderMap) -> Option<Ticket> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (lines.next(), lines.next()) else {
        return None;
    };
    Ticket::parse(bearer(only.as_bytes())?)
}
