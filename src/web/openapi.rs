//! Owns the words around the contract that is generated from the routes.

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
        (name = "mint", description = "Open a session, and mint under it."),
        (name = "compatibility", description = "The same mint in other wire shapes."),
        (name = "health", description = "How the service is.")
    )
)]
struct Introduction;

/// The document before any route is in it.
pub(super) fn introduction() -> Document {
    Introduction::openapi()
}

/// The document as it is served under `base_path`.
pub(super) fn complete(mut document: Document, base_path: &str) -> Document {
    let url = if base_path.is_empty() { "/" } else { base_path };
    document.servers = Some(vec![Server::new(url)]);
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "A credential of an issuer that the operator believes; see auth.mode.",
        ))
        .build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    // With or without: what an operator asks for stands in no contract.
    let with = SecurityRequirement::new("bearer", Vec::<String>::new());
    document.security = Some(vec![SecurityRequirement::default(), with]);
    document
}

/// How a paid request can fail, for the description of its route.
pub(super) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let table = [
            (
                400,
                "The request cannot be understood; `param` names the field.",
            ),
            (
                401,
                "There is no credential, or it is not good; see `WWW-Authenticate`.",
            ),
            (
                403,
                "Pages of this origin may not call, or the persona is not for the caller's role.",
            ),
            (413, "The body is larger than 16 KiB."),
            (415, "The body is not JSON, or is compressed."),
            (421, "This server does not answer for that host."),
            (
                429,
                "Too many requests, blocked, or an allowance used up; see `Retry-After`.",
            ),
            (500, "Our fault."),
            (502, "The upstream refused, or answered nonsense."),
            (503, "Not right now; see `Retry-After`."),
            (504, "The upstream took too long."),
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
