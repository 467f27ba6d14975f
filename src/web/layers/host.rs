//! Enters the routes: checks the `Host` of requests, and which requests are probes.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, Version};

use super::trace;
use crate::config::Server;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::state::Face;

/// Paths that orchestrators and balancers probe, often by address.
const PROBES: [&str; 3] = ["/livez", "/readyz", "/health"];

/// A request's extension: the broker is full, and the connection was accepted for probes only.
#[derive(Clone, Copy)]
pub(in crate::web) struct ProbesOnly;

/// Lets a request in whose host is right.
pub(super) async fn enter(
    State(face): State<Arc<Face>>,
    request: Request,
) -> Result<Request, ApiError> {
    trace::note_route(&request);
    check(&request, &face.server)?;
    Ok(request)
}

/// Rejects requests without one well-formed host (RFC 9112 §3.2; hyper lets them pass), and requests for a foreign host,
/// which is how a rebound name would reach a broker on localhost. Probes are answered under any name.
fn check(request: &Request, settings: &Server) -> Result<(), Code> {
    let path = request.uri().path().strip_prefix(&*settings.base_path);
    let is_probe = path.is_some_and(|path| PROBES.contains(&path));
    if !is_probe && request.extensions().get::<ProbesOnly>().is_some() {
        return Err(Code::Overloaded);
    }
    let host = host(request.version(), request.uri(), request.headers())?;
    let ours = &settings.hosts;
    let Some(host) = host.filter(|_| !ours.is_empty() && !is_probe) else {
        // HTTP/1.0 needs no host, and only probes are sent with it.
        return (is_probe || ours.is_empty())
            .then_some(())
            .ok_or(Code::Misdirected);
    };
    is_among(&host, ours).then_some(()).ok_or(Code::Misdirected)
}

/// True when `ours` has the name of `host`, with or without its port.
pub(in crate::web) fn is_among(host: &Authority, ours: &[String]) -> bool {
    let names = [host.host(), host.as_str()];
    let is_ours = |ours: &String| names.iter().any(|name| name.eq_ignore_ascii_case(ours));
    ours.iter().any(is_ours)
}

/// Returns the host that a request names. `None` in HTTP/1.0 without a `Host`.
pub(in crate::web) fn host(
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Option<Authority>, Code> {
    let mut sent = headers.get_all(HOST).iter();
    let only = match (sent.next(), sent.next()) {
        (None, None) if version == Version::HTTP_10 => return Ok(uri.authority().cloned()),
        (Some(only), None) => only,
        _ => return Err(Code::BadRequest),
    };
    let host = Authority::try_from(only.as_bytes()).map_err(|_| Code::BadRequest)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~[]:".contains(&byte);
    let is_port = |rest: &str| matches!(rest, "" | ":") || host.port_u16().is_some();
    let rest = &host.as_str()[host.host().len().min(host.as_str().len())..];
    if host.host().is_empty() || !host.as_str().bytes().all(is_plain) || !is_port(rest) {
        return Err(Code::BadRequest);
    }
    // A request line may name a host as well, which takes precedence (RFC 9112 §3.2.2). Two that differ are ambiguous.
    let differs = |other: &Authority| !other.as_str().eq_ignore_ascii_case(host.as_str());
    if uri.authority().is_some_and(differs) {
        return Err(Code::BadRequest);
    }
    Ok(Some(host))
}
