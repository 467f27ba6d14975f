//! Reads JSON bodies within bounds.

use axum::extract::{FromRef, FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, TRANSFER_ENCODING};
use axum::http::request::Parts;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::code::Code;
use super::error::ApiError;
use super::intake::Intake;
use super::layers::origin::is_of_forms;
use super::layers::paid::Admitted;
use super::state::{AppState, Face};
use crate::limit::Offence;

/// Upper bound on the bytes of a body.
pub(super) const MAX_BODY_BYTES: usize = 16 * 1024;
/// Longest field name that an answer quotes, in bytes.
const MAX_PARAM_LENGTH: usize = 64;

/// A JSON object as body. An empty body and `null` count as an empty object.
pub struct Body<T>(pub T);

impl<T, S> FromRequest<S> for Body<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
    AppState: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let face = AppState::from_ref(state).face;
        read_json(request, MAX_BODY_BYTES, &face).await.map(Self)
    }
}

/// Reads a JSON object of at most `most` bytes. An empty body and `null` count as an empty object.
pub(super) async fn read_json<T: DeserializeOwned>(
    request: Request,
    most: usize,
    face: &Face,
) -> Result<T, ApiError> {
    if is_coded(request.headers()) {
        return Err(Code::UnsupportedMediaType.into());
    }
    let (parts, bytes) = read(request, most, face).await?;
    let note_offence = || {
        if let Some(admitted) = parts.extensions.get::<Admitted>() {
            admitted.pass.note_offence(Offence::Malformed);
        }
    };
    if !bytes.is_empty() && !is_json(&parts.headers) {
        if !is_of_forms(&parts.headers) {
            note_offence();
        }
        return Err(Code::UnsupportedMediaType.into());
    }
    parse(&bytes).map_err(|(error, is_json)| {
        if !is_json {
            note_offence();
        }
        error
    })
}

/// An admitted request of a paid route, with its body.
pub struct Paid<T> {
    /// What every request can reach.
    pub state: AppState,
    /// The caller, and what the request may use up.
    pub admitted: Admitted,
    /// The body.
    pub asked: T,
}

impl<T: DeserializeOwned> FromRequest<AppState> for Paid<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let admitted = request.extensions().get::<Admitted>().cloned();
        let Body(asked) = Body::from_request(request, state).await?;
        Ok(Self {
            state: state.clone(),
            admitted: admitted.ok_or(Code::Internal)?,
            asked,
        })
    }
}

/// Reads a body of at most `most` bytes, which has to arrive within `server.body_timeout`.
pub(super) async fn read(
    request: Request,
    most: usize,
    face: &Face,
) -> Result<(Parts, Bytes), ApiError> {
    let (parts, body) = request.into_parts();
    let announced = body.size_hint();
    let intake = parts.extensions.get::<Intake>();
    let intake = intake.filter(|_| !body.is_end_stream());
    // An announced length is judged before the body arrives.
    if announced.lower() > most as u64 {
        return Err(Code::PayloadTooLarge.into());
    }
    let reading = Limited::new(body, most).collect();
    let reading = face.clock.timeout(face.server.body_timeout, reading);
    let whole = match intake {
        Some(intake) => {
            let bytes = announced.upper().map(usize::try_from);
            let bytes = bytes.and_then(Result::ok).unwrap_or(most);
            let caller = parts.extensions.get::<Admitted>();
            let caller = caller.map(|admitted| &*admitted.caller);
            let admitted = intake.admit(caller, bytes, reading).await;
            admitted.ok_or(Code::Overloaded)?
        }
        None => reading.await,
    };
    match whole {
        Ok(Ok(collected)) => Ok((parts, collected.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Code::PayloadTooLarge.into()),
        Ok(Err(_)) | Err(_) => Err(Code::BadRequest.into()),
    }
}

/// Returns true for a body that would have to be decoded first. Chunked bodies are decoded already.
pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    headers.contains_key(CONTENT_ENCODING)
        || codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return false;
    };
    let text = only.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    // JSON is UTF-8 (RFC 8259 §8.1). Whoever declares another charset may mean it.
    let utf8 = ["charset=utf-8", "charset=\"utf-8\""];
    let is_fine = |part: &str| !part.starts_with("charset") || utf8.contains(&part);
    parts.next() == Some("application/json") && parts.all(is_fine)
}

/// Parses a body. An error says beside it whether the body is JSON at all: a body that is not is an
/// offence, while a JSON document with a mistake is what honest clients send.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, (ApiError, bool)> {
    let text: &[u8] = match bytes.trim_ascii() {
        b"" | b"null" => b"{}",
        // serde reads an array as a struct, field by field.
        [b'[', ..] => return Err((Code::BadRequest.into(), true)),
        _ => bytes,
    };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let param = param(&error.path().to_string(), &error.inner().to_string());
        let failure = ApiError::from(Code::BadRequest);
        let is_json = error.inner().classify() == Category::Data;
        (param.into_iter().fold(failure, ApiError::naming), is_json)
    })?;
    let not_json = |_| (Code::BadRequest.into(), false);
    reader.end().map_err(not_json).map(|()| value)
}

/// Returns the dotted path of the field at fault, if it can be quoted. The path of serde lacks an unknown or a missing
/// field, which only the message names.
fn param(path: &str, message: &str) -> Option<String> {
    let field = ["unknown field `", "duplicate field `", "missing field `"]
        .iter()
        .find_map(|start| message.strip_prefix(start)?.split('`').next());
    let full = match field {
        Some(field) if path == "." => field.to_owned(),
        Some(field) if path.rsplit('.').next() != Some(field) => format!("{path}.{field}"),
        _ => path.to_owned(),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte);
    let is_quotable = full != "." && full.len() <= MAX_PARAM_LENGTH && full.bytes().all(is_plain);
    (is_quotable && !full.is_empty()).then_some(full)
}
