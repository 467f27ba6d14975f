//! CORS: which origins' pages may read our answers, refusals included.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{DATE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::arrival::X_REQUEST_ID;
use crate::web::routes::calls;
use crate::web::state::Face;

/// Methods a page may use.
pub(super) const METHODS: [Method; 2] = [Method::GET, Method::POST];
/// Headers a page may read.
const EXPOSED: [HeaderName; 12] = [
    RETRY_AFTER,
    LOCATION,
    X_REQUEST_ID,
    DATE,
    calls::CALL_ENDS_AT,
    calls::CALL_TOKEN,
    HeaderName::from_static("server-timing"),
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
];

/// How long a browser may remember a preflight's answer.
const MAX_AGE: Duration = Duration::from_hours(24);

/// Returns the layer. A page may send any header: monitoring adds its own to every request (`origin::preflight` bounds
/// them). Credentials are never allowed: callers show theirs in a header. `security_headers` sets `Vary`.
pub(super) fn layer(face: &Arc<Face>) -> CorsLayer {
    let face = Arc::clone(face);
    let listed = move |origin: &HeaderValue, _: &_| face.origins.admit(origin.as_bytes()).is_some();
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(listed))
        .allow_methods(METHODS)
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .max_age(MAX_AGE)
        .vary([])
}
