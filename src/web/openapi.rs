//! Completes the `OpenAPI` document that is generated from the routes.

use std::collections::BTreeMap;

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, Ref, RefOr, Server};
use utoipa::{IntoResponses, OpenApi};

use super::error::Failure;

#[derive(OpenApi)]
#[openapi(
    components(schemas(Failure<'static>)),
    info(
        title = "Realtime token broker",
        description = "Mints short-lived OpenAI Realtime client secrets for browsers, so that the API key never leaves the server.",
        license(name = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "mint", description = "Open a session and mint client secrets under it."),
        (name = "compatibility", description = "The same mint in other wire shapes."),
        (name = "health", description = "Status of the service.")
    )
)]
struct Introduction;

/// Returns the document without routes.
pub(super) fn introduction() -> Document {
    Introduction::openapi()
}

/// Returns the document as it is served under `base_path`.
pub(super) fn complete(mut document: Document, base_path: &str) -> Document {
    let url = if base_path.is_empty() { "/" } else { base_path };
    document.servers = Some(vec![Server::new(url)]);
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "A token of an issuer that the operator trusts; see auth.mode.",
        ))
        .build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    // Optional here: whether a token is required is the operator's setting.
    let with = SecurityRequirement::new("bearer", Vec::<String>::new());
    document.security = Some(vec![SecurityRequirement::default(), with]);
    document
}

/// The failures of a paid request, for the description of its route.
pub(super) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let table = [
            (400, "The request is malformed; `param` names the field."),
            (
                401,
                "The bearer token is missing or not valid; see `WWW-Authenticate`.",
            ),
            (
                403,
                "The page's origin is not allowed, or the persona is for other roles.",
            ),
            (413, "The body is larger than 16 KiB."),
            (415, "The body is not JSON in UTF-8, or is compressed."),
            (421, "This server does not serve that host."),
            (
                429,
                "A limit or a quota is exceeded, or the caller is blocked; see `Retry-After`.",
            ),
            (500, "Internal error."),
            (502, "The provider's answer is not usable."),
            (503, "Temporarily unavailable; see `Retry-After`."),
            (504, "The provider did not answer in time."),
        ];
        let failure = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Failure")))
            .build();
        let described = |(status, text): (u16, &str)| {
            let response = ResponseBuilder::new()
                .description(text)
                .content("application/json", failure.clone());
            (status.to_string(), response.build().into())
        };
        table.into_iter().map(described).collect()
    }
}
