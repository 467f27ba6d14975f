//! Finds out under which address a request has reached the service.

use axum::http::header::HOST;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::state::Face;
use crate::domain::below;

const LOCAL: HeaderValue = HeaderValue::from_static("localhost");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where a request has reached the service, by its own words: they appear in the answer to the same request only.
#[derive(Clone, Debug)]
pub struct Here {
    /// A program that names no host is on this machine.
    host: HeaderValue,
    scheme: &'static str,
}

impl Here {
    /// Reads the headers of a request.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let is_https = headers
            .get(FORWARDED_PROTO)
            .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
        Self {
            host: headers.get(HOST).cloned().unwrap_or(LOCAL),
            scheme: if is_https { "https" } else { "http" },
        }
    }

    /// Returns the address of the service as pages reach it; `None` for a host that no address can have.
    pub(super) fn base(&self, face: &Face) -> Option<Url> {
        if let Some(url) = &face.public_url {
            return Some(url.clone());
        }
        let host = self.host.to_str().ok()?;
        let root = Url::parse(&format!("{}://{host}", self.scheme)).ok()?;
        Some(below(&root, face.server.base_path.trim_start_matches('/')))
    }
}
