//! Refuses requests of pages whose origin is not allowed, before anything is spent.

use axum::http::HeaderMap;
use axum::http::header::{
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE,
    ORIGIN,
};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::denied::offend;
use crate::audit::Event;
use crate::domain::{Caller, Origin, Origins};
use crate::limit::Offence;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::layers::cors;
use crate::web::state::{AppState, Face};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Most names of headers that a preflight may ask for. Monitoring adds a handful.
const MOST_NAMES: usize = 32;
/// Most bytes of all these names.
const MOST_NAME_BYTES: usize = 2048;

/// Returns the origin of a request that may go on, if it has one. Fails with the answer to a request that a page may not
/// send. The CORS layer of tower-http alone refuses no request: it only omits its headers.
pub(super) async fn guard(
    state: &AppState,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<Option<Origin>, Response> {
    let face = &state.face;
    match admit(headers, &face.origins, face.server.require_origin) {
        Ok(origin) => Ok(origin),
        Err(error) => {
            note_refusal(state, caller, headers).await;
            Err(error.into_response())
        }
    }
}

/// Records that a request was refused. Scores it, unless a page may have made an innocent browser send it.
async fn note_refusal(state: &AppState, caller: &Caller, headers: &HeaderMap) {
    let from_page = sent_by_foreign_page(headers);
    let details = || json!({ "origin": shown(headers), "cross_site": from_page });
    state.audit.record(Event::OriginRefused, caller, details);
    let reason = if from_page { "page" } else { "program" };
    state.face.vitals.series.origin_rejected.add([reason], 1);
    let from_browser = headers.contains_key(SEC_FETCH_SITE);
    if !from_browser && is_beyond_pages(headers) {
        offend(state, caller, Offence::WrongOrigin).await;
    }
}

/// Refuses preflights whose request would be refused, before the CORS layer answers them all alike.
pub(super) fn preflight(face: &Face, headers: &HeaderMap) -> Result<(), ApiError> {
    let method = headers.get(ACCESS_CONTROL_REQUEST_METHOD);
    if let Some(method) = method {
        admit(headers, &face.origins, true)?;
        let mut methods = cors::METHODS.iter();
        let is_known = methods.any(|known| method == known.as_str());
        is_known.then_some(()).ok_or(Code::Forbidden)?;
    }
    can_be_mirrored(headers)
        .then_some(())
        .ok_or_else(|| Code::Forbidden.into())
}

fn admit(
    headers: &HeaderMap,
    origins: &Origins,
    required: bool,
) -> Result<Option<Origin>, ApiError> {
    let mut sent = headers.get_all(ORIGIN).iter();
    let refused = || ApiError::from(Code::OriginNotAllowed);
    match (sent.next(), sent.next()) {
        (None, _) if required || sent_by_foreign_page(headers) => Err(refused()),
        (None, _) => Ok(None),
        (Some(only), None) => {
            let origin = origins.admit(only.as_bytes());
            origin.map(Some).ok_or_else(refused)
        }
        (Some(_), Some(_)) => Err(refused()),
    }
}

/// Returns whether the request carries what a page can make a browser send only after a preflight, which
/// is refused for a wrong origin: a credential, or a content type that no form has. Old browsers send no
/// fetch metadata, so nothing else tells their requests from those of a program.
fn is_beyond_pages(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || !is_of_forms(headers)
}

/// Returns whether a form of any page may have made a browser send the request, judged by its content type
/// (Fetch standard, CORS-safelisted request headers). Such a request says nothing about its caller.
pub(in crate::web) fn is_of_forms(headers: &HeaderMap) -> bool {
    const OF_FORMS: [&str; 3] = [
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/plain",
    ];
    headers.get_all(CONTENT_TYPE).iter().all(|value| {
        let text = value.to_str().unwrap_or_default();
        let essence = text.split(';').next().unwrap_or_default().trim();
        OF_FORMS
            .iter()
            .any(|known| essence.eq_ignore_ascii_case(known))
    })
}

/// Returns the origin of the page that sent the request, if the request names one and no more.
pub(in crate::web) fn only_origin(headers: &HeaderMap) -> Option<&str> {
    let mut sent = headers.get_all(ORIGIN).iter();
    let only = sent.next().filter(|_| sent.next().is_none());
    only?.to_str().ok()
}

/// Returns whether a browser says that a page elsewhere made it send the request: a link, an image, a form.
pub(in crate::web) fn sent_by_foreign_page(headers: &HeaderMap) -> bool {
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    site.is_some_and(|site| site != b"same-origin" && site != b"none")
}

/// Returns whether a browser says that a page of this very origin made it send the request.
pub(in crate::web) fn sent_by_own_page(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    sites.next().is_some_and(|site| site == "same-origin") && sites.next().is_none()
}

/// Returns whether the answer may repeat the names of headers that a page wants to send.
fn can_be_mirrored(headers: &HeaderMap) -> bool {
    let line = headers.get(ACCESS_CONTROL_REQUEST_HEADERS);
    let line = line.map(HeaderValue::as_bytes).unwrap_or_default();
    let names = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let mut names = names.filter(|name| !name.is_empty());
    let are_names = names
        .by_ref()
        .take(MOST_NAMES)
        .all(|name| HeaderName::from_bytes(name).is_ok());
    line.len() <= MOST_NAME_BYTES && are_names && names.next().is_none()
}

/// Returns the origin as sent, cut short, for the record.
fn shown(headers: &HeaderMap) -> Option<String> {
    let sent = String::from_utf8_lossy(headers.get(ORIGIN)?.as_bytes());
    Some(sent.chars().take(128).collect())
}
