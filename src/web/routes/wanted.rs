//! The persona that a caller asks for.

use axum::extract::{Query, Request};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::broker::Choice;
use crate::domain::Language;
use crate::web::code::Code;
use crate::web::error::ApiError;

/// The persona that a caller asks for. All fields are optional. Others, like `model`, are ignored: the operator's persona
/// decides.
#[derive(Default, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Name of a persona. Omit it to use the default persona.
    #[param(max_length = 64, pattern = "^[a-z0-9_-]+$")]
    #[schema(max_length = 64, pattern = "^[a-z0-9_-]+$")]
    pub persona: Option<String>,
    /// Role by which a public persona is chosen. Ignored for callers with a verified role.
    #[serde(rename = "userRole")]
    pub user_role: Option<String>,
    /// Language, as in `POST /token`.
    #[param(max_length = 35, pattern = "^[A-Za-z0-9_-]+([.@][A-Za-z0-9_.@-]*)?$")]
    #[schema(max_length = 35, pattern = "^[A-Za-z0-9_-]+([.@][A-Za-z0-9_.@-]*)?$")]
    pub language: Option<String>,
}

impl Wanted {
    /// Reads the query of a request.
    pub(super) fn of(request: &Request) -> Result<Self, ApiError> {
        let read = Query::try_from_uri(request.uri());
        read.map(|Query(wanted)| wanted)
            .map_err(|_| Code::BadRequest.into())
    }

    /// Returns the choice of this persona, or else of one that fits role and language.
    pub(super) fn choice(self) -> Result<Choice, ApiError> {
        let language = self.language.as_deref().map(Language::parse).transpose();
        Ok(Choice {
            persona: self.persona,
            role: self.user_role,
            language: language.map_err(|_| ApiError::at("language"))?,
        })
    }
}
