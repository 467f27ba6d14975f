//! The demo page at `/demo`: its files, which are compiled in, and what the broker tells it.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::State;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, IF_NONE_MATCH, ORIGIN, VARY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use serde::Serialize;

use crate::config::DemoPerson;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::state::{AppState, Face};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Allows nothing from third parties and nothing inline. Only the provider may be called beside the broker.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; \
     connect-src 'self' https://api.openai.com; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const PERMISSIONS: HeaderValue = HeaderValue::from_static("microphone=(self)");

/// What the broker tells the page about itself.
#[derive(Serialize)]
struct About {
    mode: &'static str,
    simulated: bool,
    version: &'static str,
    /// The minimum interval between two refreshes of one session.
    refresh_interval_seconds: f64,
    people: Vec<Visitor>,
}

/// A user that a visitor may act as.
#[derive(Serialize)]
struct Visitor {
    name: &'static str,
    role: &'static str,
    bearer: String,
}

/// One file of the page, as built and compressed by `scripts/demo-build.sh`.
#[derive(Clone, Copy)]
struct File {
    kind: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

macro_rules! built {
    ($name:literal, $kind:expr) => {
        File {
            kind: $kind,
            plain: include_bytes!(concat!("../../../demo/built/", $name)),
            gzip: include_bytes!(concat!("../../../demo/built/", $name, ".gz")),
        }
    };
}

/// Returns the routes of the page.
pub fn routes() -> Router<AppState> {
    let file = |file: File| {
        let etag = file.etag();
        get(move |headers: HeaderMap| async move { file.answer(etag, &headers) })
    };
    Router::new()
        .route("/demo", file(built!("index.html", HTML)))
        .route("/demo/style.css", file(built!("style.css", CSS)))
        .route("/demo/app.js", file(built!("app.js", SCRIPT)))
        .route("/demo/sdk.js", file(built!("sdk.js", SCRIPT)))
        .route("/demo/about", get(about))
}

impl File {
    /// Returns the validator: equal for equal content, whatever version of the broker serves it.
    /// It is weak, because the compressed and the plain form share it.
    fn etag(self) -> Option<HeaderValue> {
        let hash = STANDARD.encode(digest(&SHA256, self.plain));
        HeaderValue::try_from(format!("W/\"{hash}\"")).ok()
    }

    /// Returns the file, compressed for a browser that asks for that, or 304 when the browser has it.
    fn answer(self, etag: Option<HeaderValue>, asked: &HeaderMap) -> Response {
        let says = |name, word: &str| {
            let values = asked.get_all(name).iter();
            values.filter_map(|value| value.to_str().ok()).any(|value| {
                let mut parts = value.split(',');
                parts.any(|part| part.trim() == word)
            })
        };
        let mut answer = Response::default();
        let headers = answer.headers_mut();
        // Revalidated on every visit, so that a new broker never runs an old page.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, POLICY);
        headers.insert(VARY, HeaderValue::from_static("accept-encoding, origin"));
        if let Some(etag) = etag {
            let is_known = etag.to_str().is_ok_and(|etag| says(IF_NONE_MATCH, etag));
            headers.insert(ETAG, etag);
            if is_known {
                *answer.status_mut() = StatusCode::NOT_MODIFIED;
                return answer;
            }
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(HeaderName::from_static("permissions-policy"), PERMISSIONS);
        let body = if says(ACCEPT_ENCODING, "gzip") {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            self.gzip
        } else {
            self.plain
        };
        *answer.body_mut() = body.into();
        answer
    }
}

/// Answers the page itself only: the answer may hold credentials, which no other page may read,
/// not even one on localhost.
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
    // Credentials are shown only to a user of this machine.
    let is_private = face.server.listen.ip().is_loopback();
    let people = demo.filter(|_| is_private).map(|demo| &demo.people);
    let people: Vec<_> = people.into_iter().flatten().map(visitor).collect();
    Ok(Json(About {
        mode: if people.is_empty() { "serve" } else { "dev" },
        simulated: demo.is_some_and(|demo| demo.simulated),
        version: env!("CARGO_PKG_VERSION"),
        refresh_interval_seconds: face.refresh_interval.as_secs_f64(),
        people,
    }))
}
