//! Owns the try-it page at `/demo`: its files, compiled in, and what it is told of this broker.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, ORIGIN};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::config::DemoPerson;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::state::{AppState, Face};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Nothing of a third party's, nothing inline; audio goes to the provider alone.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; \
     connect-src 'self' https://api.openai.com; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const PERMISSIONS: HeaderValue = HeaderValue::from_static("microphone=(self)");

/// What the page is told of this broker.
#[derive(Serialize)]
struct About {
    mode: &'static str,
    simulated: bool,
    version: &'static str,
    people: Vec<Visitor>,
}

/// Whom a visitor may act for.
#[derive(Serialize)]
struct Visitor {
    name: &'static str,
    role: &'static str,
    bearer: String,
}

/// The routes of the page.
pub fn routes() -> Router<AppState> {
    let file = |kind, text: &'static str| get(async move || serve(kind, text));
    Router::new()
        .route(
            "/demo",
            file(HTML, include_str!("../../../demo/index.html")),
        )
        .route(
            "/demo/style.css",
            file(CSS, include_str!("../../../demo/style.css")),
        )
        .route(
            "/demo/app.js",
            file(SCRIPT, include_str!("../../../demo/app.js")),
        )
        .route(
            "/demo/sdk.js",
            file(SCRIPT, include_str!("../../../demo/sdk.js")),
        )
        .route("/demo/about", get(about))
}

fn serve(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CONTENT_SECURITY_POLICY, POLICY),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    ];
    (headers, text).into_response()
}

/// For the page itself: what it is told may hold credentials, which no other page is to read, localhost or not.
async fn about(State(face): State<Arc<Face>>, headers: HeaderMap) -> Result<Json<About>, ApiError> {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let from_elsewhere = site.is_some_and(|site| site != b"same-origin" && site != b"none");
    if from_elsewhere || headers.contains_key(ORIGIN) {
        return Err(Code::OriginNotAllowed.into());
    }
    let demo = face.demo.as_ref();
    let visitor = |person: &DemoPerson| Visitor {
        name: person.name,
        role: person.role,
        bearer: person.bearer.clone(),
    };
    // Credentials are for whoever sits at this machine.
    let is_private = face.server.listen.ip().is_loopback();
    let people = demo.filter(|_| is_private).map(|demo| &demo.people);
    let people: Vec<_> = people.into_iter().flatten().map(visitor).collect();
    Ok(Json(About {
        mode: if people.is_empty() { "serve" } else { "dev" },
        simulated: demo.is_some_and(|demo| demo.simulated),
        version: env!("CARGO_PKG_VERSION"),
        people,
    }))
}
