//! Builds broken answers.

use std::io;
use std::iter::{once, repeat_n};

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::task::yield_now;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Start of every broken answer that looks complete.
const BEGIN: Bytes = Bytes::from_static(
    br#"{"value":"ek_sim_broken","expires_at":4102444800,"session":{"type":"realtime","padding":""#,
);
const END: Bytes = Bytes::from_static(br#""}}"#);

type Chunk = io::Result<Bytes>;

/// Closes the connection without an answer: hyper sends nothing of an answer whose body fails at once.
pub(super) fn disconnect() -> Response {
    answer(stream::once(async { broken() }))
}

/// Returns an answer that begins and never ends.
pub(super) fn hang_mid_body() -> Response {
    answer(stream::iter([Ok(BEGIN)]).chain(stream::pending()))
}

/// Returns an answer that ends before its announced length.
pub(super) fn truncated() -> Response {
    let end = async {
        // Lets hyper send what it has.
        yield_now().await;
        broken()
    };
    let mut response = answer(stream::iter([Ok(BEGIN)]).chain(stream::once(end)));
    let announced = HeaderValue::from(BEGIN.len() + 1000);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, announced);
    response
}

/// Returns a little more than 10 MB of valid JSON that looks like an answer.
pub(super) fn huge() -> Response {
    const PADDING: &[u8] = &[b'a'; 65_536];
    let padding = repeat_n(Bytes::from_static(PADDING), 160);
    let chunks = once(BEGIN).chain(padding).chain(once(END));
    answer(stream::iter(chunks.map(Ok)))
}

/// Returns an answer that is declared as JSON and is not.
pub(super) fn garbage() -> Response {
    let body = Bytes::from_static(b"\x00\xff}{ not json \xc3\x28");
    ([(header::CONTENT_TYPE, JSON)], body).into_response()
}

/// Returns a web page, as a captive portal or a proxy sends.
pub(super) fn html() -> Response {
    const PAGE: &str = "<!DOCTYPE html><title>Welcome</title><p>Please sign in to this network.";
    axum::response::Html(PAGE).into_response()
}

/// Returns a 429 that is not in the provider's envelope, as a proxy in front of it sends.
pub(super) fn too_many() -> Response {
    (StatusCode::TOO_MANY_REQUESTS, "Too many requests").into_response()
}

fn broken() -> Chunk {
    Err(io::ErrorKind::ConnectionAborted.into())
}

fn answer(body: impl Stream<Item = Chunk> + Send + 'static) -> Response {
    ([(header::CONTENT_TYPE, JSON)], Body::from_stream(body)).into_response()
}
