//! Reads the body of a request for a call: an offer alone, or as a part of a form with session settings.

use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::code::Code;
use super::error::ApiError;
use super::extract::{is_coded, read};
use super::multipart::{Scanner, Step};
use super::state::AppState;

/// Upper bound on the bytes of an offer, or of the settings beside one.
const MAX_PART_BYTES: usize = 64 * 1024;
/// Upper bound on the bytes of a form, or of an offer in JSON, which writes line ends as four letters.
pub(super) const MAX_FORM_BYTES: usize = 128 * 1024;

/// An offer, and the session settings that came with it.
pub(super) struct Offered {
    /// The offer: a session description (RFC 8866), not checked yet.
    pub(super) sdp: Bytes,
    /// Settings of the upstream session that the page asks for.
    pub(super) session: Map<String, Value>,
}

/// The forms in which an offer may come.
enum Form {
    Alone,
    Parts,
}

impl FromRequest<AppState> for Offered {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let form = form(request.headers()).ok_or(Code::UnsupportedMediaType)?;
        let most = match form {
            Form::Alone => MAX_PART_BYTES,
            Form::Parts => MAX_FORM_BYTES,
        };
        let (parts, bytes) = read(request, most, &state.face).await?;
        match form {
            Form::Alone => Ok(Self {
                sdp: bytes,
                session: Map::new(),
            }),
            Form::Parts => {
                let content_type = parts.headers.get(CONTENT_TYPE);
                let content_type = content_type.and_then(|line| line.to_str().ok());
                let form = content_type.and_then(Scanner::of);
                let mut form = form.ok_or_else(|| ApiError::at("Content-Type"))?;
                form.takes(&bytes);
                Self::of_parts(form)
            }
        }
    }
}

impl Offered {
    /// Reads the parts `sdp` and `session`, each at most once.
    fn of_parts(mut form: Scanner) -> Result<Self, ApiError> {
        let (mut sdp, mut session) = (None, None);
        loop {
            let name = match form.next() {
                Ok(Step::Part(head)) => head.name,
                Ok(Step::Done) => break,
                _ => return Err(Code::BadRequest.into()),
            };
            let part = match name.as_str() {
                "sdp" => &mut sdp,
                "session" => &mut session,
                _ => return Err(ApiError::at(quotable(&name))),
            };
            if part.replace(content(&mut form)?).is_some() {
                return Err(ApiError::at(name));
            }
        }
        let session = match session {
            Some(text) => serde_json::from_slice(&text).map_err(|_| ApiError::at("session"))?,
            None => Map::new(),
        };
        let sdp = sdp.ok_or_else(|| ApiError::at("sdp"))?;
        Ok(Self { sdp, session })
    }
}

/// Returns the content of the part that has begun.
fn content(form: &mut Scanner) -> Result<Bytes, ApiError> {
    let mut content = Vec::new();
    loop {
        match form.next() {
            Ok(Step::Content(more)) => content.extend_from_slice(&more),
            Ok(Step::End) if content.len() <= MAX_PART_BYTES => return Ok(content.into()),
            Ok(Step::End) => return Err(Code::PayloadTooLarge.into()),
            _ => return Err(Code::BadRequest.into()),
        }
    }
}

/// Returns the name of an unknown part, if an answer can quote it.
pub(super) fn quotable(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(is_plain);
    if fits { name.into() } else { "body".into() }
}

/// True when the body is an offer alone.
pub(super) fn is_offer(headers: &HeaderMap) -> bool {
    matches!(form(headers), Some(Form::Alone))
}

/// Returns the form of the body that the headers announce, or `None` for another content type.
fn form(headers: &HeaderMap) -> Option<Form> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return None;
    };
    let essence = only.to_str().ok()?.split(';').next()?.trim();
    if is_coded(headers) {
        None
    } else if essence.eq_ignore_ascii_case("application/sdp") {
        Some(Form::Alone)
    } else if essence.eq_ignore_ascii_case("multipart/form-data") {
        Some(Form::Parts)
    } else {
        None
    }
}
