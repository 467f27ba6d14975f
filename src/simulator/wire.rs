//! Builds broken answers.

use std::convert::Infallible;
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Start of every broken answer that looks complete.
const BEGIN: &[u8] =
    br#"{"value":"ek_sim_broken","expires_at":4102444800,"session":{"type":"realtime","padding":""#;
const END: &[u8] = br#""}}"#;

/// Marks an answer that is not written: the connection closes instead.
#[derive(Clone, Copy)]
pub(super) struct Disconnect;

/// Closes the connection without an answer.
pub(super) fn disconnect() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Disconnect);
    response
}

/// Returns an answer that begins and never ends.
pub(super) fn hang_mid_body() -> Response {
    answer(Broken {
        chunks: Box::new(iter::once(Bytes::from_static(BEGIN))),
        ending: Ending::Hang,
    })
}

/// Returns an answer that ends before its announced length.
pub(super) fn truncated() -> Response {
    let mut response = answer(Broken {
        chunks: Box::new(iter::once(Bytes::from_static(BEGIN))),
        ending: Ending::Cut,
    });
    let announced = HeaderValue::from(BEGIN.len() + 1000);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, announced);
    response
}

/// Returns a little more than 10 MB of valid JSON that looks like an answer.
pub(super) fn huge() -> Response {
    const CHUNK: &[u8] = &[b'a'; 65_536];
    let padding = iter::repeat_n(Bytes::from_static(CHUNK), 160);
    let begin = iter::once(Bytes::from_static(BEGIN));
    answer(Broken {
        chunks: Box::new(
            begin
                .chain(padding)
                .chain(iter::once(Bytes::from_static(END))),
        ),
        ending: Ending::Whole,
    })
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

/// Redirects the caller, with its key, elsewhere.
pub(super) fn redirect(target: &str) -> Response {
    let target = HeaderValue::from_str(target).unwrap_or(HeaderValue::from_static("/"));
    let headers = [(header::LOCATION, target)];
    (StatusCode::TEMPORARY_REDIRECT, headers).into_response()
}

fn answer(body: Broken) -> Response {
    ([(header::CONTENT_TYPE, JSON)], Body::new(body)).into_response()
}

/// A body in pieces, with a regular or a broken end.
struct Broken {
    chunks: Box<dyn Iterator<Item = Bytes> + Send>,
    ending: Ending,
}

#[derive(Clone, Copy)]
enum Ending {
    /// Regular.
    Whole,
    /// Broken after a pause: hyper sends nothing of an answer that breaks at once.
    Cut,
    /// Never ends.
    Hang,
}

impl hyper::body::Body for Broken {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(chunk) = self.chunks.next() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match self.ending {
            Ending::Whole => Poll::Ready(None),
            Ending::Cut => {
                self.ending = Ending::Whole;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            // Nobody wakes this again: the connection ends when the caller leaves, or the simulator.
            Ending::Hang => Poll::Pending,
        }
    }
}
