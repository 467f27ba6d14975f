//! Owns the host guard: one `Host`, and one that this server answers for.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use tower::Service;

use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::state::Face;

/// Routes that answer for our own hosts only.
#[derive(Clone)]
pub(super) struct Hosted {
    face: Arc<Face>,
    routes: Router,
}

impl Hosted {
    /// `routes`, for the hosts that `face` knows.
    pub(super) const fn new(face: Arc<Face>, routes: Router) -> Self {
        Self { face, routes }
    }
}

/// Refuses requests without a host or with several (RFC 9112 §3.2; hyper lets both pass), and requests for a host that
/// is not ours, which is how a rebound name would reach a broker on localhost.
impl Service<Request> for Hosted {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // axum's routers are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match check(request.uri(), request.headers(), &self.face.server.hosts) {
            Ok(()) => Box::pin(self.routes.call(request)),
            Err(code) => Box::pin(ready(Ok(ApiError::from(code).into_response()))),
        }
    }
}

fn check(uri: &Uri, headers: &HeaderMap, ours: &[String]) -> Result<(), Code> {
    let mut sent = headers.get_all(HOST).iter();
    let (Some(only), None) = (sent.next(), sent.next()) else {
        return Err(Code::BadRequest);
    };
    let host = only
        .to_str()
        .map_err(|_| Code::BadRequest)?
        .to_ascii_lowercase();
    // A request line may name a host too, which then counts (RFC 9112 §3.2.2): two that differ are two readings.
    if uri
        .authority()
        .is_some_and(|other| !other.as_str().eq_ignore_ascii_case(&host))
    {
        return Err(Code::BadRequest);
    }
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host.as_str(), |(name, _)| name);
    let known = ours.is_empty() || ours.iter().any(|ours| *ours == host || ours == name);
    known.then_some(()).ok_or(Code::Misdirected)
}
