//! Completes the `OpenAPI` document that is generated from the routes.

use std::mem;
use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, RefOr, Required, Server};
use utoipa::{IntoResponses, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use super::error::Failure;
use super::routes::webhook;
use super::state::AppState;
use super::{ANSWER_ALIKE, AS_OPENAI, described};
use crate::config::AuthMode;

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
        (name = "calls", description = "Calls that the broker watches, meters and ends at their limits."),
        (name = "relay", description = "Sessions over a WebSocket through the broker, which checks every event, meters, and ends them at their limits."),
        (name = "transcription", description = "Recordings turned into text, metered and limited."),
        (name = "compatibility", description = "The same mint in OpenAI's formats."),
        (name = "health", description = "Status of the service.")
    )
)]
struct Introduction;

/// The document, without webhooks and with them.
type Written = [Bytes; 2];

/// Answers with the document. It is made for its first reader, because that takes megabytes of memory.
pub(super) fn contract() -> MethodRouter<AppState> {
    let made: Arc<OnceLock<Written>> = Arc::default();
    get(async move |State(state): State<AppState>| {
        let [without, with] = made.get_or_init(|| write(&state));
        let takes_webhooks = state.broker.webhook_keys().is_some();
        let text = if takes_webhooks { with } else { without };
        ([(CONTENT_TYPE, "application/json")], text.clone())
    })
}

fn write(state: &AppState) -> Written {
    let introduction = introduction(&state.face.server.base_path, state.face.auth_mode);
    let mut routes = OpenApiRouter::with_openapi(introduction);
    described(state, &mut |route| {
        routes = mem::take(&mut routes).routes(route);
    });
    let mut document = routes.into_openapi();
    make_optional(&mut document, "/session");
    for (path, openais) in AS_OPENAI {
        describe_as(&mut document, path, openais);
    }
    for (path, other) in ANSWER_ALIKE {
        answers_as(&mut document, path, other);
    }
    // Nothing in it can fail to be written.
    let text = |document: &Document| serde_json::to_vec(document).unwrap_or_default().into();
    let with = text(&document);
    document.paths.paths.remove(webhook::PATH);
    [text(&document), with]
}

/// Returns the document without routes, for a service under `base_path` that asks callers for credentials as `mode` says.
fn introduction(base_path: &str, mode: AuthMode) -> Document {
    let mut document = Introduction::openapi();
    let url = if base_path.is_empty() { "/" } else { base_path };
    document.servers = Some(vec![Server::new(url)]);
    let signed_in = SecurityRequirement::new("bearer", [""; 0]);
    document.security = match mode {
        AuthMode::Off => None,
        AuthMode::Optional => Some(vec![SecurityRequirement::default(), signed_in]),
        AuthMode::Required => Some(vec![signed_in]),
    };
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "A token of an issuer that the operator trusts; see auth.mode.",
        ));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
    document
}

/// Says that the body of `POST path` may be missing. A body of several content types counts as required otherwise.
fn make_optional(document: &mut Document, path: &str) {
    let item = document.paths.paths.get_mut(path);
    let post = item.and_then(|item| item.post.as_mut());
    if let Some(RefOr::T(body)) = post.and_then(|post| post.request_body.as_mut()) {
        body.required = Some(Required::False);
    }
}

/// Describes `other` as `path` is described. Names of operations must differ.
fn describe_as(document: &mut Document, path: &str, other: &str) {
    let Some(mut item) = document.paths.paths.get(path).cloned() else {
        return;
    };
    let suffix = if other.contains("/live/") {
        "_as_live"
    } else {
        "_as_openai"
    };
    let operations = [&mut item.get, &mut item.post].into_iter().flatten();
    for name in operations.filter_map(|operation| operation.operation_id.as_mut()) {
        name.push_str(suffix);
    }
    document.paths.paths.insert(other.to_owned(), item);
}

/// Says that `POST other` answers as `POST path` does.
fn answers_as(document: &mut Document, path: &str, other: &str) {
    let paths = &mut document.paths.paths;
    let post = paths.get(path).and_then(|item| item.post.as_ref());
    let responses = post.map(|post| post.responses.clone());
    let other = paths.get_mut(other).and_then(|item| item.post.as_mut());
    if let (Some(responses), Some(other)) = (responses, other) {
        other.responses = responses;
    }
}

/// The failures of a request that opens a call, beside [`Refusals`].
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers that other code writes")]
pub(super) enum CallRefusals {
    /// The money for calls is used up; `limit` names it. See `Retry-After`.
    #[response(status = 402)]
    MoneyExhausted(Failure<'static>),
    /// The ticket was used before, a call with the same `Idempotency-Key` was opened before, or the call was ended while it was dialled.
    #[response(status = 409)]
    CallRepeated(Failure<'static>),
    /// No persona has that name, or it may not be used for such calls.
    #[response(status = 422)]
    ModeNotAllowed(Failure<'static>),
}

/// The failures of a paid request, for the description of its route.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers that the layers write")]
pub(super) enum Refusals {
    /// The request is malformed; `param` names the field.
    #[response(status = 400)]
    Malformed(Failure<'static>),
    /// The bearer token is missing or not valid; see `WWW-Authenticate`.
    #[response(status = 401)]
    Unauthorized(Failure<'static>),
    /// The page's origin is not allowed, or the persona is for other roles.
    #[response(status = 403)]
    Forbidden(Failure<'static>),
    /// The body is larger than 16 KiB, or the offer than 64 KiB.
    #[response(status = 413)]
    TooLarge(Failure<'static>),
    /// The body is not JSON in UTF-8, or is compressed.
    #[response(status = 415)]
    NotJson(Failure<'static>),
    /// This server does not serve that host.
    #[response(status = 421)]
    Misdirected(Failure<'static>),
    /// A limit or a quota is exceeded, or the caller is blocked; see `Retry-After`.
    #[response(status = 429)]
    Limited(Failure<'static>),
    /// Internal error.
    #[response(status = 500)]
    Internal(Failure<'static>),
    /// The provider refused the request, or its answer is not usable.
    #[response(status = 502)]
    UpstreamInvalid(Failure<'static>),
    /// Temporarily unavailable; see `Retry-After`.
    #[response(status = 503)]
    Unavailable(Failure<'static>),
    /// The provider did not answer in time.
    #[response(status = 504)]
    UpstreamTimeout(Failure<'static>),
}
