//! Owns `POST /token`: opens a session and mints its first client secret.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::granted::{Granted, Shape, answer};
use crate::broker::{Broker, BrokerError, Choice, MintRequest};
use crate::domain::Language;
use crate::web::code::Code;
use crate::web::error::{ApiError, Failure};
use crate::web::extract::Body;
use crate::web::layers::paid::Admitted;
use crate::web::openapi::Refusals;
use crate::web::state::Face;

/// What a page may ask for. All of it may be left away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The name of a persona.
    persona: Option<String>,
    /// A role to pick a public persona by.
    #[serde(rename = "userRole")]
    user_role: Option<String>,
    /// A language to pick a persona by, and to be spoken to in: a tag like `es` or `es-MX` (BCP 47).
    #[schema(max_length = 35, pattern = "^[A-Za-z0-9-]+$")]
    language: Option<String>,
}

impl TryFrom<TokenRequest> for MintRequest {
    type Error = ApiError;

    fn try_from(asked: TokenRequest) -> Result<Self, ApiError> {
        let fitting = Choice::Fitting {
            role: asked.user_role,
        };
        let language = asked.language.as_deref().map(Language::parse).transpose();
        let malformed = |_| ApiError::malformed(Code::BadRequest, Some("language".to_owned()));
        Ok(Self {
            choice: asked.persona.map_or(fitting, Choice::Named),
            language: language.map_err(malformed)?,
            lifetime: None,
            refreshable: true,
        })
    }
}

/// Open a session and mint its first client secret.
#[utoipa::path(
    post,
    path = "/token",
    tag = "mint",
    request_body(content = Option<TokenRequest>, description = "May be left away."),
    responses(
        (status = 200, description = "A client secret, and the session to refresh it under.", body = Granted),
        (status = 403, description = "The persona is for other roles.", body = Failure<'static>),
        (status = 422, description = "No persona has that name.", body = Failure<'static>),
        Refusals,
    )
)]
pub async fn open(
    State(broker): State<Broker>,
    State(face): State<Arc<Face>>,
    Extension(Admitted { caller, pass }): Extension<Admitted>,
    Body(asked): Body<TokenRequest>,
) -> Result<Response, ApiError> {
    let minted = broker.mint(caller, asked.try_into()?).await;
    let grant = pass.spend(minted, BrokerError::used)?;
    Ok(answer(&grant, Shape::Ours, face.clock.tick()))
}
