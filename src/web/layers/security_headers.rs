//! Sets the security headers of every answer, refusals included.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::response::Response;

/// The headers that the OWASP Secure Headers project recommends for an API. HSTS is set where TLS ends.
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

/// Sets the headers. Only a file of a page, recognised by its own policy, keeps that policy and
/// its own caching and referrer policy.
pub(super) fn put_on(response: &mut Response, is_preflight: bool) {
    let headers = response.headers_mut();
    let policy = headers.remove(CONTENT_SECURITY_POLICY);
    let caching = headers.remove(CACHE_CONTROL);
    let referrer = headers.remove(REFERRER_POLICY);
    for (name, value) in &ALWAYS {
        headers.insert(name, value.clone());
    }
    if let Some(policy) = policy {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        if let Some(caching) = caching {
            headers.insert(CACHE_CONTROL, caching);
        }
        if let Some(referrer) = referrer {
            headers.insert(REFERRER_POLICY, referrer);
        }
    }
    // Caches need this on every answer.
    let vary = HeaderValue::from_static(if is_preflight {
        "origin, access-control-request-headers"
    } else {
        "origin"
    });
    headers.entry(VARY).or_insert(vary);
}
