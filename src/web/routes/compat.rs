//! The same mint in other wire shapes: OpenAI's own, and the oldest one.
//!
//! Clients of these shapes send session settings, like a model or a voice. All are ignored: the
//! operator's persona decides.

use std::time::Duration;

use axum::Extension;
use axum::extract::{FromRequest, Request, State};
use axum::http::header::{ALLOW, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::calls::exchange;
use super::granted::{ClientSecretAnswer, Granted, OldSession, Shape};
use super::token::{mint, session};
use super::wanted::Wanted;
use crate::broker::{Choice, MintRequest};
use crate::provider::Dialect;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::extract::Paid;
use crate::web::layers::identity::REFUSAL;
use crate::web::layers::paid::Admitted;
use crate::web::offered::is_offer;
use crate::web::openapi::{CallRefusals, Refusals};
use crate::web::state::AppState;

/// The request of OpenAI's SDKs. Other fields, like `session`, are ignored.
#[derive(Deserialize, ToSchema)]
pub struct ClientSecretRequest {
    /// Requested lifetime. It can shorten the configured lifetime, never extend it.
    expires_after: Option<ExpiresAfter>,
}

/// A requested lifetime of a client secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExpiresAfter {
    /// Start of the lifetime: the creation of the secret.
    #[serde(default)]
    #[expect(dead_code, reason = "reading the only anchor refuses any other")]
    anchor: Anchor,
    /// Whole seconds, 10 to 7200. `60.0` is a whole number, too (JSON Schema).
    #[schema(value_type = Option<u64>, minimum = 10, maximum = 7200)]
    seconds: Option<f64>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Anchor {
    #[default]
    CreatedAt,
}

/// Mint in OpenAI's wire shape. An OpenAI SDK works when its base URL is set to the broker.
#[utoipa::path(
    post,
    path = "/v1/realtime/client_secrets",
    tag = "compatibility",
    request_body(content = Option<ClientSecretRequest>, description = "Optional."),
    responses(
        (status = 200, description = "A client secret, or a ticket in its place.", body = ClientSecretAnswer<'static>),
        Refusals,
    )
)]
pub async fn client_secrets(paid: Paid<ClientSecretRequest>) -> Result<Response, ApiError> {
    let seconds = paid.asked.expires_after.and_then(|after| after.seconds);
    let fits = |seconds: f64| (10.0..=7200.0).contains(&seconds) && seconds.fract() == 0.0;
    if !seconds.is_none_or(fits) {
        return Err(ApiError::at("expires_after.seconds"));
    }
    let request = MintRequest {
        choice: Choice::default(),
        connect: None,
        lifetime: seconds.map(Duration::from_secs_f64),
        refreshable: false,
        dialect: Some(Dialect::Realtime),
    };
    mint(&paid.state, paid.admitted, request, Shape::OpenAi).await
}

/// Mint in the oldest shape that pages still read. With an offer as `application/sdp`, exchange it for an answer as
/// `POST /calls` does: OpenAI's unified sample works so.
#[utoipa::path(
    post,
    path = "/session",
    tag = "compatibility",
    request_body(content(
        (Option<Wanted> = "application/json"),
        (String = "application/sdp"),
    )),
    responses(
        (status = 200, description = "A client secret, or a ticket in its place.", body = OldSession<'static>),
        (status = 201, description = "The answer to an offer. `Location` names the call.", body = String, content_type = "application/sdp"),
        CallRefusals,
        Refusals,
    )
)]
pub async fn old_session(
    State(state): State<AppState>,
    Extension(admitted): Extension<Admitted>,
    request: Request,
) -> Result<Response, ApiError> {
    if is_offer(request.headers()) {
        let wanted = Wanted::of(&request)?;
        return exchange(&state, admitted, (wanted, None), request).await;
    }
    // A ticket opens a call and nothing else.
    if admitted.ticket.is_some() {
        let error = ApiError::from(Code::Unauthorized);
        return Ok(([(WWW_AUTHENTICATE, REFUSAL)], error).into_response());
    }
    let Paid { asked, .. } = Paid::<Wanted>::from_request(request, &state).await?;
    let request = session(asked)?;
    mint(&state, admitted, request, Shape::Old).await
}

/// Mint for samples that can only GET. Served when `compat.get_token` is set.
#[utoipa::path(
    get,
    path = "/token",
    tag = "compatibility",
    responses(
        (status = 200, description = "A client secret or a ticket, and the session under which it can be refreshed.", body = Granted<'static>),
        Refusals,
    )
)]
pub async fn get_token(
    State(state): State<AppState>,
    Extension(admitted): Extension<Admitted>,
) -> Result<Response, ApiError> {
    let request = session(Wanted::default())?;
    mint(&state, admitted, request, Shape::Ours).await
}

/// Refuses `HEAD /token`.
pub async fn no_head() -> impl IntoResponse {
    let error = ApiError::from(Code::MethodNotAllowed);
    ([(ALLOW, "GET,POST")], error)
}
