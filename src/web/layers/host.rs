//! Owns the host guard: one `Host`, and one that this server answers for.

use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::{HeaderMap, Uri};

use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::state::Face;

/// Refuses requests without a host or with several (RFC 9112 §3.2; hyper lets both pass), and requests for a host that
/// is not ours, which is how a rebound name would reach a broker on localhost.
pub(super) fn guard(face: &Face, request: &Request) -> Result<(), ApiError> {
    check(request.uri(), request.headers(), &face.server.hosts).map_err(ApiError::from)
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
