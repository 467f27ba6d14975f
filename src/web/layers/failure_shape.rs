//! Owns the shape of failures: ours and our libraries' alike leave as one JSON layout.

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::response::Response;

use crate::domain::RequestId;
use crate::web::code::Code;
use crate::web::error::ApiError;

/// Gives every failure our body.
pub(super) fn shape(response: &mut Response, id: &RequestId) {
    let status = response.status();
    let failed = status.is_client_error() || status.is_server_error();
    // Answers that are statements of health carry their own body.
    if failed && response.extensions().get::<OwnBody>().is_none() {
        reshape(response, id);
    }
}

/// Marks an answer whose status is an error's but whose body is meant as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnBody;

fn reshape(response: &mut Response, id: &RequestId) {
    let status = response.status();
    let error = response
        .extensions()
        .get::<ApiError>()
        .cloned()
        .unwrap_or_else(|| Code::of_status(status).into());
    let body = serde_json::to_vec(&error.body(id)).unwrap_or_default();
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if error.code == Code::PayloadTooLarge {
        // Whoever sends too much is not waited for until the end of it.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    *response.status_mut() = error.code.status();
    *response.body_mut() = Body::from(body);
    response.extensions_mut().insert(error);
}
