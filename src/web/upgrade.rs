//! Takes requests for a WebSocket in (RFC 6455 §4.2), with the credential that browsers put among the subprotocols.

use axum::body::Body;
use axum::http::header::{
    AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;

use super::error::ApiError;
use crate::websocket::derive_accept_key;

/// How a subprotocol begins that is a credential: browsers cannot send headers with a WebSocket.
const CREDENTIAL: &str = "openai-insecure-api-key.";
/// The subprotocol of events.
const REALTIME: &str = "realtime";
/// How the subprotocol of an SDK begins.
const SDK: &str = "openai-agents-sdk.";
/// The length of the key of a request: 16 bytes in base64.
const KEY_LENGTH: usize = 24;

/// A request for a WebSocket, which can be granted.
pub(super) struct Upgrade {
    /// The connection, once the answer is sent.
    connection: OnUpgrade,
    accept: HeaderValue,
    protocol: Option<HeaderValue>,
}

impl Upgrade {
    /// Reads a request. An error names the header at fault.
    pub(super) fn of(mut request: Request<Body>) -> Result<Self, ApiError> {
        let headers = request.headers();
        let is_upgrade = request.method() == Method::GET
            && holds(headers, &CONNECTION, "upgrade")
            && holds(headers, &UPGRADE, "websocket");
        if !is_upgrade {
            return Err(ApiError::at("Upgrade"));
        }
        if headers
            .get(SEC_WEBSOCKET_VERSION)
            .is_none_or(|version| version != "13")
        {
            return Err(ApiError::at("Sec-WebSocket-Version"));
        }
        let key = headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
        let key = key.filter(|key| key.len() == KEY_LENGTH);
        let key = key.ok_or_else(|| ApiError::at("Sec-WebSocket-Key"))?;
        let accept = HeaderValue::try_from(derive_accept_key(key));
        let accept = accept.map_err(|_| ApiError::at("Sec-WebSocket-Key"))?;
        let protocol = chosen(headers)?;
        let connection = request.extensions_mut().remove::<OnUpgrade>();
        Ok(Self {
            connection: connection.ok_or_else(|| ApiError::at("Upgrade"))?,
            accept,
            protocol,
        })
    }

    /// Returns the answer that grants the request, and the connection that comes of it.
    pub(super) fn grant(self) -> (OnUpgrade, Response) {
        let headers = [
            (CONNECTION, HeaderValue::from_static("Upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_ACCEPT, self.accept),
        ];
        let mut response = (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
        let protocol = self.protocol.map(|name| (SEC_WEBSOCKET_PROTOCOL, name));
        response.headers_mut().extend(protocol);
        (self.connection, response)
    }
}

/// Moves a credential from the subprotocols to `Authorization`, where it belongs. A request that has both shows two.
pub(super) fn move_credential(headers: &mut HeaderMap) {
    let offered: Vec<_> = protocols(headers).map(str::to_owned).collect();
    let credentials = offered
        .iter()
        .filter_map(|name| name.strip_prefix(CREDENTIAL));
    let credentials: Vec<_> = credentials.collect();
    if credentials.is_empty() {
        return;
    }
    for credential in credentials {
        if let Ok(mut value) = HeaderValue::try_from(format!("Bearer {credential}")) {
            value.set_sensitive(true);
            headers.append(AUTHORIZATION, value);
        }
    }
    let others = offered.iter().filter(|name| !name.starts_with(CREDENTIAL));
    let others: Vec<_> = others.map(String::as_str).collect();
    let others = HeaderValue::try_from(others.join(", "));
    headers.insert(
        SEC_WEBSOCKET_PROTOCOL,
        others.unwrap_or(HeaderValue::from_static("")),
    );
}

/// Returns the subprotocol of the answer: one that the client offered, and never a credential. Browsers fail when they
/// offered some and get none.
fn chosen(headers: &HeaderMap) -> Result<Option<HeaderValue>, ApiError> {
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Ok(None);
    }
    let mut offered = protocols(headers);
    let chosen = protocols(headers).find(|name| *name == REALTIME);
    let chosen = chosen.or_else(|| offered.find(|name| name.starts_with(SDK)));
    let refused = || ApiError::at("Sec-WebSocket-Protocol: realtime");
    let chosen = chosen.and_then(|name| HeaderValue::try_from(name).ok());
    chosen.map(Some).ok_or_else(refused)
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    elements(headers, &SEC_WEBSOCKET_PROTOCOL)
}

fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

fn holds(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    elements(headers, name).any(|element| element.eq_ignore_ascii_case(wanted))
}
