//! Owns the mint in other people's wire shapes: OpenAI's own, and the oldest one.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::header::ALLOW;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::granted::{ClientSecretAnswer, Granted, OldSession, Shape, answer};
use super::token::TokenRequest;
use crate::broker::{Broker, BrokerError, Choice, MintRequest};
use crate::web::code::Code;
use crate::web::error::{ApiError, Failure};
use crate::web::extract::Body;
use crate::web::layers::paid::Admitted;
use crate::web::openapi::Refusals;
use crate::web::state::Face;

/// What OpenAI's own SDKs send.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientSecretRequest {
    /// How long the secret should live. Only ever shortens what the operator allows.
    expires_after: Option<ExpiresAfter>,
    /// The session settings an SDK sends along. Accepted and not used: the operator's persona decides.
    #[expect(dead_code, reason = "read only so that an SDK may send it")]
    session: Option<Map<String, Value>>,
}

/// How long a client secret should live.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExpiresAfter {
    /// Counted from when the secret is created.
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "there is only one anchor; reading it refuses any other"
    )]
    anchor: Anchor,
    /// 10 to 7200.
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

/// Mint in OpenAI's own wire shape, so that an OpenAI SDK works with nothing but its base URL changed.
#[utoipa::path(
    post,
    path = "/v1/realtime/client_secrets",
    tag = "compatibility",
    request_body(content = Option<ClientSecretRequest>, description = "May be left away."),
    responses(
        (status = 200, description = "A client secret.", body = ClientSecretAnswer),
        Refusals,
    )
)]
pub async fn client_secrets(
    State(broker): State<Broker>,
    State(face): State<Arc<Face>>,
    Extension(Admitted { caller, pass }): Extension<Admitted>,
    Body(asked): Body<ClientSecretRequest>,
) -> Result<Response, ApiError> {
    let request = MintRequest {
        choice: Choice::Fitting { role: None },
        language: None,
        lifetime: asked.lifetime()?,
        refreshable: false,
    };
    let grant = pass.spend(broker.mint(caller, request).await, BrokerError::used)?;
    Ok(answer(&grant, Shape::OpenAi, face.clock.tick()))
}

/// Mint in the oldest shape that pages still read.
#[utoipa::path(
    post,
    path = "/session",
    tag = "compatibility",
    request_body(content = Option<TokenRequest>, description = "May be left away."),
    responses(
        (status = 200, description = "A client secret.", body = OldSession),
        (status = 422, description = "No persona has that name.", body = Failure<'static>),
        Refusals,
    )
)]
pub async fn old_session(
    State(broker): State<Broker>,
    State(face): State<Arc<Face>>,
    Extension(Admitted { caller, pass }): Extension<Admitted>,
    Body(asked): Body<TokenRequest>,
) -> Result<Response, ApiError> {
    let minted = broker.mint(caller, asked.try_into()?).await;
    let grant = pass.spend(minted, BrokerError::used)?;
    Ok(answer(&grant, Shape::Old, face.clock.tick()))
}

/// Mint for samples that can only GET. Served when `compat.get_token` is set.
#[utoipa::path(
    get,
    path = "/token",
    tag = "compatibility",
    responses(
        (status = 200, description = "A client secret, and the session to refresh it under.", body = Granted),
        Refusals,
    )
)]
pub async fn get_token(
    State(broker): State<Broker>,
    State(face): State<Arc<Face>>,
    Extension(Admitted { caller, pass }): Extension<Admitted>,
) -> Result<Response, ApiError> {
    let request = TokenRequest::default().try_into()?;
    let grant = pass.spend(broker.mint(caller, request).await, BrokerError::used)?;
    Ok(answer(&grant, Shape::Ours, face.clock.tick()))
}

/// Refuses `HEAD /token`.
pub async fn no_head() -> impl IntoResponse {
    (
        [(ALLOW, "GET,POST")],
        ApiError::from(Code::MethodNotAllowed),
    )
}
