//! `POST /token`: opens a session and mints its first client secret.

use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::granted::{Granted, Shape, answer};
use super::wanted::Wanted;
use crate::broker::MintRequest;
use crate::domain::ConnectMode;
use crate::web::error::{ApiError, Failure};
use crate::web::extract::Paid;
use crate::web::layers::paid::Admitted;
use crate::web::openapi::Refusals;
use crate::web::state::AppState;

/// Options of a new session. All are optional.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Name of a persona. Omit this field to use the default persona.
    #[schema(max_length = 64, pattern = "^[a-z0-9_-]+$")]
    persona: Option<String>,
    /// Role by which a public persona is chosen. Ignored for callers with a verified role.
    #[serde(rename = "userRole")]
    user_role: Option<String>,
    /// Language by which a persona is chosen, and in which it speaks: a tag like `es-MX` (BCP 47), or
    /// the name of a locale like `es_MX` or `pt_BR.UTF-8`.
    #[schema(max_length = 35, pattern = "^[A-Za-z0-9_-]+([.@][A-Za-z0-9_.@-]*)?$")]
    language: Option<String>,
    /// How the page wants to connect. Omit this field to use the mode of the persona.
    #[schema(value_type = Option<Mode>)]
    connect: Option<ConnectMode>,
}

/// The ways in which a page may connect.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "describes ConnectMode")]
enum Mode {
    Direct,
    Call,
    Relay,
}

/// Open a session and mint its first client secret. In call mode it is a ticket, which opens one call.
#[utoipa::path(
    post,
    path = "/token",
    tag = "mint",
    request_body(content = Option<TokenRequest>, description = "Optional."),
    responses(
        (status = 200, description = "A client secret or a ticket, and the session under which it can be refreshed.", body = Granted<'static>),
        (status = 403, description = "The persona is for other roles.", body = Failure<'static>),
        (status = 422, description = "No persona has that name, or it may not be used in the mode of `connect`.", body = Failure<'static>),
        Refusals,
    )
)]
pub async fn open(paid: Paid<TokenRequest>) -> Result<Response, ApiError> {
    let TokenRequest {
        persona,
        user_role,
        language,
        connect,
    } = paid.asked;
    let wanted = Wanted {
        persona,
        user_role,
        language,
    };
    let request = MintRequest {
        connect,
        ..session(wanted)?
    };
    mint(&paid.state, paid.admitted, request, Shape::Ours).await
}

/// Returns the request for a session of the persona that is `wanted`.
pub(super) fn session(wanted: Wanted) -> Result<MintRequest, ApiError> {
    Ok(MintRequest {
        choice: wanted.choice()?,
        connect: None,
        lifetime: None,
        refreshable: true,
        dialect: None,
    })
}

/// Mints as `request` says. Returns the answer in the given shape.
pub(super) async fn mint(
    state: &AppState,
    admitted: Admitted,
    request: MintRequest,
    shape: Shape,
) -> Result<Response, ApiError> {
    let Admitted {
        caller, pass, here, ..
    } = admitted;
    let grant = state.broker.mint(caller, request, pass).await?;
    Ok(answer(&grant, shape, (&state.face, &here)))
}
