//! `POST /token`: opens a session and mints its first client secret.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::granted::{Granted, Shape, answer};
use crate::broker::MintRequest;
use crate::domain::Language;
use crate::web::code::Code;
use crate::web::error::{ApiError, Failure};
use crate::web::extract::Body;
use crate::web::layers::paid::Admitted;
use crate::web::openapi::Refusals;
use crate::web::state::AppState;

/// Options of a new session. All are optional.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Name of a persona. Omit this field to use the default persona.
    #[schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9_-]+$")]
    pub(super) persona: Option<String>,
    /// Role by which a public persona is chosen. Ignored for callers with a verified role.
    #[serde(rename = "userRole")]
    pub(super) user_role: Option<String>,
    /// Language by which a persona is chosen, and in which it speaks: a tag like `es-MX` (BCP 47), or
    /// the name of a locale like `es_MX` or `pt_BR.UTF-8`.
    #[schema(
        min_length = 1,
        max_length = 35,
        pattern = "^[A-Za-z0-9_-]+([.@][A-Za-z0-9_.@-]*)?$"
    )]
    pub(super) language: Option<String>,
}

impl TryFrom<TokenRequest> for MintRequest {
    type Error = ApiError;

    fn try_from(asked: TokenRequest) -> Result<Self, ApiError> {
        let language = asked.language.as_deref().map(Language::parse).transpose();
        let malformed = |_| ApiError::malformed(Code::BadRequest, Some("language".to_owned()));
        Ok(Self {
            persona: asked.persona,
            role: asked.user_role,
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
    request_body(content = Option<TokenRequest>, description = "Optional."),
    responses(
        (status = 200, description = "A client secret, and the session under which it can be refreshed.", body = Granted),
        (status = 403, description = "The persona is for other roles.", body = Failure<'static>),
        (status = 422, description = "No persona has that name.", body = Failure<'static>),
        Refusals,
    )
)]
pub async fn open(
    State(state): State<AppState>,
    Extension(admitted): Extension<Admitted>,
    Body(asked): Body<TokenRequest>,
) -> Result<Response, ApiError> {
    mint(&state, admitted, (asked.try_into()?, Shape::Ours)).await
}

/// Mints as `request` asks, and answers in this shape.
pub(super) async fn mint(
    state: &AppState,
    Admitted { caller, pass }: Admitted,
    (request, shape): (MintRequest, Shape),
) -> Result<Response, ApiError> {
    let grant = state.broker.mint(caller, request, pass).await?;
    Ok(answer(&grant, shape, state.face.clock.tick()))
}
