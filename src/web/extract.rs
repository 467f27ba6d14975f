//! Reads JSON bodies within bounds.

use std::time::Duration;

use axum::extract::{FromRef, FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, TRANSFER_ENCODING};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::code::Code;
use super::error::ApiError;
use super::layers::origin::is_of_forms;
use super::layers::paid::Admitted;
use super::state::AppState;
use crate::clock::Clock;
use crate::limit::Offence;

/// Largest accepted body.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// Longest field name that an answer quotes.
const MAX_PARAM_LENGTH: usize = 64;

/// A JSON object as body. An empty body and `null` are the default.
pub struct Body<T>(pub T);

impl<T, S> FromRequest<S> for Body<T>
where
    T: DeserializeOwned + Default,
    S: Send + Sync,
    AppState: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let face = AppState::from_ref(state).face;
        let (parts, body) = request.into_parts();
        if is_coded(&parts.headers) {
            return Err(ApiError::malformed(Code::UnsupportedMediaType, None));
        }
        let bytes = read(body, &*face.clock, face.server.body_timeout).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        let note_offence = || {
            if let Some(admitted) = parts.extensions.get::<Admitted>() {
                admitted.pass.note_offence(Offence::Malformed);
            }
        };
        if !is_json(&parts.headers) {
            if !is_of_forms(&parts.headers) {
                note_offence();
            }
            return Err(ApiError::malformed(Code::UnsupportedMediaType, None));
        }
        parse(&bytes).map(Self).map_err(|(error, is_json)| {
            if !is_json {
                note_offence();
            }
            error
        })
    }
}

async fn read(
    body: axum::body::Body,
    clock: &dyn Clock,
    limit: Duration,
) -> Result<bytes::Bytes, ApiError> {
    // An announced length is judged before the body arrives.
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(ApiError::malformed(Code::PayloadTooLarge, None));
    }
    let whole = clock
        .timeout(limit, Limited::new(body, MAX_BODY_BYTES).collect())
        .await;
    match whole {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(ApiError::malformed(Code::PayloadTooLarge, None))
        }
        Ok(Err(_)) | Err(_) => Err(ApiError::malformed(Code::BadRequest, None)),
    }
}

/// Returns true for a body that would have to be decoded first. Chunked bodies are decoded already.
fn is_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    headers.contains_key(CONTENT_ENCODING)
        || codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return false;
    };
    let mut parts = only.to_str().unwrap_or_default().split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    // JSON is UTF-8 (RFC 8259 §8.1). Whoever declares another charset may mean it.
    let mut charsets = parts
        .filter_map(|part| part.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, value)| value.trim().trim_matches('"'));
    essence.eq_ignore_ascii_case("application/json")
        && charsets.all(|charset| charset.eq_ignore_ascii_case("utf-8"))
}

/// Parses a body. An error says beside it whether the body is JSON at all: a body that is not is an
/// offence, while a JSON document with a mistake is what honest clients send.
fn parse<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, (ApiError, bool)> {
    let text = bytes.trim_ascii();
    if text == b"null" {
        return Ok(T::default());
    }
    // serde reads an array as a struct, field by field.
    if text.first() == Some(&b'[') {
        return Err((ApiError::malformed(Code::BadRequest, None), true));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let unknown = unknown_field(&error.inner().to_string());
        let param = name(&error.path().to_string(), unknown.as_deref());
        let is_json = error.inner().classify() == Category::Data;
        (ApiError::malformed(Code::BadRequest, param), is_json)
    })?;
    reader
        .end()
        .map_err(|_| (ApiError::malformed(Code::BadRequest, None), false))?;
    Ok(value)
}

/// Returns the unknown, repeated or missing field, which serde's path does not include.
fn unknown_field(message: &str) -> Option<String> {
    let rest = ["unknown field `", "duplicate field `", "missing field `"]
        .iter()
        .find_map(|start| message.strip_prefix(start))?;
    rest.split('`').next().map(str::to_owned)
}

/// Returns the dotted path of the field at fault, if it can be quoted.
fn name(path: &str, field: Option<&str>) -> Option<String> {
    let around = if path == "." { "" } else { path };
    let full = match field {
        Some(field)
            if around.is_empty() || around == field || around.ends_with(&format!(".{field}")) =>
        {
            if around.is_empty() {
                field.to_owned()
            } else {
                around.to_owned()
            }
        }
        Some(field) => format!("{around}.{field}"),
        None => around.to_owned(),
    };
    let plain = full
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte));
    (plain && (1..=MAX_PARAM_LENGTH).contains(&full.len())).then_some(full)
}
