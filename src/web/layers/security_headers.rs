//! Owns the headers that every answer carries, refusals included.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::response::Response;

/// What the OWASP Secure Headers project asks of an API. HSTS belongs to whoever ends TLS.
static ALWAYS: [(HeaderName, HeaderValue); 6] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Puts them on. Only a file of the demo page, recognised by its own policy, keeps that policy and
/// may be cached. Everything else is `no-store`.
pub(super) fn put_on(response: &mut Response) {
    let headers = response.headers_mut();
    let policy = headers.remove(CONTENT_SECURITY_POLICY);
    let caching = headers.remove(CACHE_CONTROL);
    for (name, value) in &ALWAYS {
        headers.insert(name, value.clone());
    }
    if let Some(policy) = policy {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        if let Some(caching) = caching {
            headers.insert(CACHE_CONTROL, caching);
        }
    }
    // The CORS layer says so on what passes it; a cache must hear it on everything.
    headers
        .entry(VARY)
        .or_insert(HeaderValue::from_static("origin"));
}
