//! `POST /transcribe` and OpenAI's path for it: turn a recording into text.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use hyper::body::Body as _;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::call_events::BUFFERING;
use crate::broker::{Part, TranscriptionRequest, Upload};
use crate::domain::{Format, LARGEST_RECORDING};
use crate::provider::transcription_part;
use crate::web::code::Code;
use crate::web::error::{ApiError, Failure};
use crate::web::extract::is_coded;
use crate::web::layers::paid::Admitted;
use crate::web::layers::trace::UpstreamTook;
use crate::web::multipart::Scanner;
use crate::web::openapi::Refusals;
use crate::web::recorded::{Form, Raw};
use crate::web::state::AppState;

/// Most bytes of a form beside the recording: the fields, and the heads of parts.
const MAX_BESIDE: u64 = 128 * 1024;

/// The options that a query may have. Words that name the recording, like a prompt, are sent in a form only: addresses are
/// logged by others.
const OPTIONS: [&str; 4] = ["model", "language", "response_format", "stream"];

/// Options of a transcription. All are optional.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a query that is read option by option")]
pub struct TranscribeOptions {
    /// One of the models that the operator allows. Omit it to use the default one.
    #[param(max_length = 128, min_length = 1)]
    model: Option<String>,
    /// The language that is spoken, as ISO 639-1: `es`.
    #[param(max_length = 35, pattern = "^[A-Za-z-]+$")]
    language: Option<String>,
    /// The form of the answer. The model must have it.
    #[param(inline)]
    response_format: Option<ResponseFormat>,
    /// True for an answer in pieces (server-sent events), as the text is written.
    stream: Option<bool>,
}

/// The forms of an answer.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ResponseFormat {
    Json,
    Text,
    Srt,
    VerboseJson,
    Vtt,
    DiarizedJson,
}

/// A recording with fields beside it, as OpenAI's SDKs send it. The parts may come in any order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a form that is read part by part")]
pub struct RecordingForm {
    /// The recording, at most 25 MiB, with a file name that ends in its format, or with its media type.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
    /// One of the models that the operator allows. Omit it to use the default one.
    model: Option<String>,
    /// The language that is spoken, as ISO 639-1: `es`.
    #[schema(max_length = 35, pattern = "^[A-Za-z-]+$")]
    language: Option<String>,
    /// Words that are likely in the recording.
    prompt: Option<String>,
    /// The form of the answer. The model must have it.
    #[schema(inline)]
    response_format: Option<ResponseFormat>,
    /// How freely the model chooses its words.
    #[schema(minimum = 0, maximum = 1)]
    temperature: Option<f64>,
    /// True for an answer in pieces (server-sent events), as the text is written.
    stream: Option<bool>,
}

/// A transcript, as the provider writes it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes an answer that is passed on")]
pub struct TranscriptAnswer {
    /// The transcript.
    text: String,
    /// The use of the transcription, as the provider reports it.
    usage: Option<serde_json::Value>,
}

/// Turn a recording into text. The recording is the body. Its content type is that of a flac, m4a, mp3, mp4, mpeg, mpga, oga, ogg,
/// wav or webm file, like the two that are listed.
#[utoipa::path(
    post,
    path = "/transcribe",
    tag = "transcription",
    params(TranscribeOptions),
    request_body(content((serde_json::Value = "audio/webm"), (serde_json::Value = "audio/wav"))),
    responses(
        (status = 200, description = "The transcript: JSON, text, or events while it is written (`transcript.text.delta`, then `transcript.text.done`).", content(
            (TranscriptAnswer = "application/json"), (String = "text/plain"), (serde_json::Value = "text/event-stream"), (String = "text/vtt"),
            (String = "application/x-subrip"),
        )),
        (status = 402, description = "The money for calls and transcriptions is used up; `limit` names it. See `Retry-After`.", body = Failure<'static>),
        (status = 403, description = "The page's origin is not allowed, or the model is not.", body = Failure<'static>),
        (status = 408, description = "The recording did not arrive in time.", body = Failure<'static>),
        (status = 413, description = "The recording is larger than 25 MiB.", body = Failure<'static>),
        (status = 415, description = "The format of the recording is not known, the body is compressed, or it is not the form that OpenAI's path expects.", body = Failure<'static>),
        (status = 422, description = "The provider refuses the recording, or a field beside it.", body = Failure<'static>),
        Refusals,
    )
)]
pub async fn transcribe(
    State(state): State<AppState>,
    Extension(admitted): Extension<Admitted>,
    Query(options): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let media_type = content_type(&head.headers).ok_or(Code::UnsupportedRecording)?;
    let format = Format::of(None, Some(media_type)).ok_or(Code::UnsupportedRecording)?;
    let announced = announced(&body, LARGEST_RECORDING)?;
    let parts = options.into_iter().map(option);
    let parts = parts.chain([Ok(Part::File(format))]);
    let parts = parts.collect::<Result<_, _>>()?;
    let upload = Raw { parts, body };
    answer(&state, admitted, (announced, Box::new(upload))).await
}

/// Turn a recording into text, in OpenAI's shape. An OpenAI SDK works when its base URL is set to the broker.
#[utoipa::path(
    post,
    path = "/v1/audio/transcriptions",
    tag = "transcription",
    request_body(content = RecordingForm, content_type = "multipart/form-data"),
)]
pub async fn transcribe_form(
    State(state): State<AppState>,
    Extension(admitted): Extension<Admitted>,
    request: Request,
) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let content_type = content_type(&head.headers).ok_or(Code::UnsupportedRecording)?;
    let scanner = Scanner::of(content_type).ok_or(Code::UnsupportedRecording)?;
    let announced = announced(&body, LARGEST_RECORDING + MAX_BESIDE)?;
    let upload = Form::new(scanner, body);
    answer(&state, admitted, (announced, Box::new(upload))).await
}

/// Returns an option of a query as a field of a form.
fn option((name, value): (String, String)) -> Result<Part, ApiError> {
    let known = OPTIONS.contains(&&*name);
    let known = known.then(|| transcription_part(&name, &value)).flatten();
    match known {
        Some(known) => Ok(Part::Field(known, value.into())),
        None => Err(ApiError::at(name)),
    }
}

/// Returns the one content type of a body that is not compressed.
fn content_type(headers: &HeaderMap) -> Option<&str> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return None;
    };
    only.to_str().ok().filter(|_| !is_coded(headers))
}

/// Returns the bytes that a body announces. A body of more than `most` is refused before it comes.
fn announced(body: &Body, most: u64) -> Result<Option<u64>, ApiError> {
    let announced = body.size_hint().exact();
    if announced.is_some_and(|bytes| bytes > most) {
        return Err(Code::RecordingTooLarge.into());
    }
    Ok(announced)
}

/// Has the recording transcribed, and passes the answer on as it comes.
async fn answer(
    state: &AppState,
    Admitted { caller, pass, .. }: Admitted,
    (announced, upload): (Option<u64>, Box<dyn Upload>),
) -> Result<Response, ApiError> {
    let asked = TranscriptionRequest { announced, upload };
    let transcribed = state.broker.transcribe(caller, asked, pass).await?;
    let pieces = transcribed.take().ok_or(Code::Internal)?;
    let headers = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static(transcribed.media_type),
        ),
        (BUFFERING, HeaderValue::from_static("no")),
    ];
    let mut response = (headers, Body::from_stream(pieces)).into_response();
    let took = UpstreamTook(transcribed.upstream_took);
    response.extensions_mut().insert(took);
    Ok(response)
}
