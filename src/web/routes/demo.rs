//! The demo page at `/demo`: its files, which are compiled in, and what the broker tells it.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::State;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderName, HeaderValue, IF_NONE_MATCH, ORIGIN, VARY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use serde_json::{Value, json};

use super::granted::Connect;
use crate::config::DemoPerson;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::layers::origin::sent_by_foreign_page;
use crate::web::state::{AppState, Face};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Allows nothing from third parties and nothing inline. The origins that may be called follow.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; connect-src 'self'";
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

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

/// Returns the routes of the page, which may call the broker and the provider that `connect` names.
pub fn routes(connect: &Connect) -> Router<AppState> {
    let policy = HeaderValue::try_from(format!("{POLICY} {}", connect.origin));
    // An origin is plain ASCII.
    let policy = policy.unwrap_or(HeaderValue::from_static(POLICY));
    let file = |file: File| {
        let own = [
            (CONTENT_SECURITY_POLICY, policy.clone()),
            (ETAG, file.etag()),
        ];
        get(async move |headers: HeaderMap| file.answer(own.clone(), &headers))
    };
    Router::new()
        .route("/demo", file(built!("index.html", HTML)))
        .route("/demo/style.css", file(built!("style.css", CSS)))
        .route("/demo/app.js", file(built!("app.js", SCRIPT)))
        .route("/demo/sdk.js", file(built!("sdk.js", SCRIPT)))
        .route("/demo/relay.js", file(built!("relay.js", SCRIPT)))
        .route("/demo/about", get(about))
}

impl File {
    /// Returns the validator: equal for equal content, whatever version of the broker serves it.
    /// The validator is weak, because the compressed and the plain form share it.
    fn etag(self) -> HeaderValue {
        let hash = STANDARD.encode(digest(&SHA256, self.plain));
        // Base64 is plain ASCII.
        HeaderValue::try_from(format!("W/\"{hash}\"")).unwrap_or(HeaderValue::from_static("W/\"\""))
    }

    /// Returns the file, compressed for a browser that asks for that, or 304 when the browser has it.
    fn answer(self, own: [(HeaderName, HeaderValue); 2], asked: &HeaderMap) -> Response {
        let says = |name, word: &[u8]| {
            let values = asked.get_all(name).iter().map(HeaderValue::as_bytes);
            let mut parts = values.flat_map(|value| value.split(|byte| *byte == b','));
            parts.any(|part| part.trim_ascii() == word)
        };
        let is_known = says(IF_NONE_MATCH, own[1].1.as_bytes());
        // Revalidated on every visit, so that a new broker never runs an old page.
        let always = [
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (VARY, HeaderValue::from_static("accept-encoding, origin")),
        ];
        if is_known {
            return (StatusCode::NOT_MODIFIED, always, own).into_response();
        }
        let of_page = [
            (CONTENT_TYPE, HeaderValue::from_static(self.kind)),
            (
                PERMISSIONS_POLICY,
                HeaderValue::from_static("microphone=(self)"),
            ),
        ];
        if says(ACCEPT_ENCODING, b"gzip") {
            (
                always,
                own,
                of_page,
                [(CONTENT_ENCODING, "gzip")],
                self.gzip,
            )
                .into_response()
        } else {
            (always, own, of_page, self.plain).into_response()
        }
    }
}

/// Answers what the page has to know of the broker. Answers the page itself only: the answer may hold credentials, which
/// no other page may read, not even one on localhost.
async fn about(State(face): State<Arc<Face>>, headers: HeaderMap) -> Result<Json<Value>, ApiError> {
    if sent_by_foreign_page(&headers) || headers.contains_key(ORIGIN) {
        return Err(Code::OriginNotAllowed.into());
    }
    let demo = face.demo.as_ref();
    // Credentials are shown only to a user of this machine.
    let is_private = face.server.listen.ip().is_loopback();
    let people = demo.filter(|_| is_private).map(|demo| &demo.people);
    let visitor = |person: &DemoPerson| json!({ "name": person.name, "role": person.role, "bearer": person.bearer });
    let people: Vec<_> = people.into_iter().flatten().map(visitor).collect();
    Ok(Json(json!({
        "mode": if people.is_empty() { "serve" } else { "dev" },
        "simulated": demo.is_some_and(|demo| demo.simulated),
        "version": env!("CARGO_PKG_VERSION"),
        "refresh_interval_seconds": face.refresh_interval.as_secs_f64(),
        "call_persona": demo.and_then(|demo| demo.calls.as_ref()).map(|calls| calls.persona),
        "people": people,
    })))
}
