//! `/v1/live/sessions` and `POST /api/session`: the exchange of a GPT-Live call, in the shapes of OpenAI's API and sample.

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::calls::{answer, dial, idempotency_key};
use super::relay::hand_over;
use super::wanted::Wanted;
use crate::broker::BrokerError;
use crate::domain::UpstreamCallId;
use crate::gate::Used;
use crate::provider::Dialect;
use crate::web::code::Code;
use crate::web::error::{ApiError, Failure};
use crate::web::extract::read_json;
use crate::web::layers::paid::Admitted;
use crate::web::offered::{MAX_FORM_BYTES, Offered};
use crate::web::openapi::{CallRefusals, Refusals};
use crate::web::state::AppState;
use crate::web::upgrade::Upgrade;

/// The header by which OpenAI's SDKs learn whether to repeat a request. They repeat those that fail twice, and each session that
/// is created costs 15 s.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// The request of OpenAI's SDKs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionRequest {
    /// Must be absent or empty: the persona is the session.
    #[serde(default)]
    #[schema(value_type = Object)]
    session: Map<String, Value>,
    transport: Transport,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Transport {
    #[serde(rename = "type")]
    #[expect(dead_code, reason = "reading the only type refuses any other")]
    kind: TransportKind,
    /// The offer (RFC 8866), at most 64 KiB.
    sdp: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum TransportKind {
    WebRtc,
}

/// The request of OpenAI's sample for browsers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferRequest {
    /// The offer (RFC 8866), at most 64 KiB.
    sdp: String,
}

/// A session, and the answer to its offer.
#[derive(Serialize, ToSchema)]
pub struct SessionAnswer<'a> {
    session: Named<'a>,
    transport: AnswerTransport<'a>,
}

#[derive(Serialize, ToSchema)]
struct Named<'a> {
    /// The session's id, by which `/calls/{id}` knows it, too.
    id: &'a str,
}

#[derive(Serialize, ToSchema)]
struct AnswerTransport<'a> {
    /// Always `webrtc`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The answer (RFC 8866).
    sdp: &'a str,
}

/// Exchange the offer of a GPT-Live call for an answer, in OpenAI's shape. An OpenAI SDK works when its base URL is set to
/// the broker.
#[utoipa::path(
    post,
    path = "/v1/live/sessions",
    tag = "calls",
    params(Wanted),
    request_body = SessionRequest,
    responses(
        (status = 201, description = "The answer. `Location` names the call.", body = SessionAnswer<'static>),
        CallRefusals,
        Refusals,
    )
)]
pub async fn create(
    State(state): State<AppState>,
    Extension(admitted): Extension<Admitted>,
    Query(wanted): Query<Wanted>,
    request: Request,
) -> Result<Response, ApiError> {
    let key = idempotency_key(request.headers())?;
    let asked: SessionRequest = read_json(request, MAX_FORM_BYTES, &state.face).await?;
    let offered = Offered {
        sdp: asked.transport.sdp.into(),
        session: asked.session,
    };
    let answered = exchange(&state, admitted, wanted, (key, offered)).await;
    match answered {
        Err(error) if !is_worth_repeating(&error) => {
            let mut response = error.into_response();
            let headers = response.headers_mut();
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
            Ok(response)
        }
        answered => answered,
    }
}

/// True when the same request may succeed, and has used up nothing: no session can exist.
fn is_worth_repeating(error: &ApiError) -> bool {
    let cause = error.cause.as_ref().and_then(|cause| cause.downcast_ref());
    cause.is_none_or(|error: &BrokerError| error.used() == Used::Nothing)
}

/// The same, as OpenAI's sample for browsers asks for it.
#[utoipa::path(
    post,
    path = "/api/session",
    tag = "compatibility",
    params(Wanted),
    request_body = OfferRequest,
)]
pub async fn create_for_sample(
    State(state): State<AppState>,
    Extension(admitted): Extension<Admitted>,
    Query(wanted): Query<Wanted>,
    request: Request,
) -> Result<Response, ApiError> {
    let key = idempotency_key(request.headers())?;
    let asked: OfferRequest = read_json(request, MAX_FORM_BYTES, &state.face).await?;
    let offered = Offered {
        sdp: asked.sdp.into(),
        session: Map::new(),
    };
    exchange(&state, admitted, wanted, (key, offered)).await
}

/// Attach a program to a GPT-Live call of its own, over a WebSocket. Events on the lists of the call's persona pass, both ways.
/// Programs need a role of `live.attach_roles`.
#[utoipa::path(
    get,
    path = "/v1/live/sessions/{id}/attach",
    tag = "calls",
    params(("id" = String, Path, description = "The session's id.")),
    responses(
        (status = 101, description = "The connection is a WebSocket with the provider's events."),
        (status = 404, description = "No running call of this caller has that id.", body = Failure<'static>),
        Refusals,
    )
)]
pub async fn attach(
    State(state): State<AppState>,
    Extension(admitted): Extension<Admitted>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let upgrade = Upgrade::of(request)?;
    let id = UpstreamCallId::parse(&id).ok_or(Code::UnknownCall)?;
    let line = state.broker.attach(&admitted.caller, &id).await?;
    let (connection, response) = upgrade.grant();
    state.broker.carry_on(hand_over(line, connection));
    Ok(response)
}

/// Has the offer exchanged, writes the answer.
async fn exchange(
    state: &AppState,
    admitted: Admitted,
    wanted: Wanted,
    (key, offered): (Option<String>, Offered),
) -> Result<Response, ApiError> {
    let wanted = (wanted, Some(Dialect::Live));
    let answered = dial(state, admitted, wanted, (key, offered)).await?;
    let body = Json(SessionAnswer {
        session: Named {
            id: answered.call.id.as_str(),
        },
        transport: AnswerTransport {
            kind: "webrtc",
            sdp: &answered.sdp,
        },
    });
    answer(state, &answered, ("/calls", body.into_response()))
}
