//! The same mint in other wire shapes: OpenAI's own, and the oldest one.
//!
//! Clients of these shapes send session settings, like a model or a voice. All are ignored: the
//! operator's persona decides.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::header::ALLOW;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::granted::{ClientSecretAnswer, Granted, OldSession, Shape};
use super::token::{TokenRequest, mint};
use crate::broker::MintRequest;
use crate::web::code::Code;
use crate::web::error::{ApiError, Failure};
use crate::web::extract::Body;
use crate::web::layers::paid::Admitted;
use crate::web::openapi::Refusals;
use crate::web::state::AppState;

/// The request of OpenAI's SDKs. Other fields, like `session`, are ignored.
#[derive(Default, Deserialize, ToSchema)]
pub struct ClientSecretRequest {
    /// Requested lifetime. It can shorten the configured lifetime, never extend it.
    expires_after: Option<ExpiresAfter>,
}

/// The request of the oldest clients. Other fields, like `model` and `voice`, are ignored.
#[derive(Default, Deserialize, ToSchema)]
pub struct OldRequest {
    /// Name of a persona. Omit this field to use the default persona.
    #[schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9_-]+$")]
    persona: Option<String>,
    /// Role by which a public persona is chosen. Ignored for callers with a verified role.
    #[serde(rename = "userRole")]
    user_role: Option<String>,
    /// Language, as in `POST /token`.
    #[schema(
        min_length = 1,
        max_length = 35,
        pattern = "^[A-Za-z0-9_-]+([.@][A-Za-z0-9_.@-]*)?$"
    )]
    language: Option<String>,
}

impl From<OldRequest> for TokenRequest {
    fn from(asked: OldRequest) -> Self {
        Self {
            persona: asked.persona,
            user_role: asked.user_role,
            language: asked.language,
        }
    }
}

/// A requested lifetime of a client secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExpiresAfter {
    /// Start of the lifetime: the creation of the secret.
    #[serde(default)]
    #[expect(dead_code, reason = "reading the only anchor refuses any other")]
    anchor: Anchor,
    /// Seconds, 10 to 7200.
    #[schema(minimum = 10, maximum = 7200)]
    seconds: Option<u64>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Anchor {
    #[default]
    CreatedAt,
}

impl ClientSecretRequest {
    fn lifetime(&self) -> Result<Option<Duration>, ApiError> {
        match self.expires_after.as_ref().and_then(|after| after.seconds) {
            None => Ok(None),
            Some(seconds @ 10..=7200) => Ok(Some(Duration::from_secs(seconds))),
            Some(_) => Err(ApiError::malformed(
                Code::BadRequest,
                Some("expires_after.seconds".to_owned()),
            )),
        }
    }
}

/// Mint in OpenAI's wire shape. An OpenAI SDK works when its base URL is set to the broker.
#[utoipa::path(
    post,
    path = "/v1/realtime/client_secrets",
    tag = "compatibility",
    request_body(content = Option<ClientSecretRequest>, description = "Optional."),
    responses(
        (status = 200, description = "A client secret.", body = ClientSecretAnswer),
        Refusals,
    )
)]
pub async fn client_secrets(
    State(state): State<AppState>,
    Extension(admitted): Extension<Admitted>,
    Body(asked): Body<ClientSecretRequest>,
) -> Result<Response, ApiError> {
    let request = MintRequest {
        persona: None,
        role: None,
        language: None,
        lifetime: asked.lifetime()?,
        refreshable: false,
    };
    mint(&state, admitted, (request, Shape::OpenAi)).await
}

/// Mint in the oldest shape that pages still read.
#[utoipa::path(
    post,
    path = "/session",
    tag = "compatibility",
    request_body(content = Option<OldRequest>, description = "Optional."),
    responses(
        (status = 200, description = "A client secret.", body = OldSession),
        (status = 422, description = "No persona has that name.", body = Failure<'static>),
        Refusals,
    )
)]
pub async fn old_session(
    State(state): State<AppState>,
    Extension(admitted): Extension<Admitted>,
    Body(asked): Body<OldRequest>,
) -> Result<Response, ApiError> {
    let request = TokenRequest::from(asked).try_into()?;
    mint(&state, admitted, (request, Shape::Old)).await
}

/// Mint for samples that can only GET. Served when `compat.get_token` is set.
#[utoipa::path(
    get,
    path = "/token",
    tag = "compatibility",
    responses(
        (status = 200, description = "A client secret, and the session under which it can be refreshed.", body = Granted),
        Refusals,
    )
)]
pub async fn get_token(
    State(state): State<AppState>,
    Extension(admitted): Extension<Admitted>,
) -> Result<Response, ApiError> {
    let request = TokenRequest::default().try_into()?;
    mint(&state, admitted, (request, Shape::Ours)).await
}

/// Refuses `HEAD /token`.
pub async fn no_head() -> impl IntoResponse {
    (
        [(ALLOW, "GET,POST")],
        ApiError::from(Code::MethodNotAllowed),
    )
}
