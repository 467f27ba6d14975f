//! Answers transcriptions. It hears nothing: the transcript says how much was sent.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use axum::Json;
use axum::body::Body;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderName, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Map, Value, json};

use super::edge::Edge;
use super::fault::Twist;
use super::plan::{OfCalls, Operation};
use super::refusal::Refusal;
use crate::clock::Clock;
use crate::domain::{Format, LARGEST_RECORDING};
use crate::provider::{known_transcription_model, transcription_part};

/// Bytes that count as a second, as in a WAV file of 16 kHz and 16 bit.
const RATE: u64 = 32_000;
/// The pace of deltas.
const DELTA: Duration = Duration::from_millis(200);

/// A form as it was received. The recording is not kept.
#[derive(Default)]
struct Asked {
    fields: Map<String, Value>,
    file: Option<Value>,
    bytes: u64,
}

/// `POST /v1/audio/transcriptions`.
pub(super) async fn transcribe(
    State(edge): State<Arc<Edge>>,
    uri: Uri,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Response> {
    edge.admit(&headers)?;
    let asked = Asked::read(request).await?;
    let seen = json!({ "fields": asked.fields, "file": asked.file });
    edge.remember_call(&uri, &headers, seen.to_string().into());
    let twist = edge.suffer(Operation::Call(OfCalls::Transcribe)).await?;
    asked.check()?;
    let is_silent = twist == Some(Twist::NoUsage);
    Ok(asked.answer(Arc::clone(&edge.clock), is_silent))
}

impl Asked {
    async fn read(request: Request) -> Result<Self, Refusal> {
        let wrong = |_| Refusal::new(400, None, "Could not parse multipart form");
        let mut form = Multipart::from_request(request, &()).await.map_err(|_| {
            let message = "Unsupported content type. This API method only accepts 'multipart/form-data' requests.";
            Refusal::new(400, None, message)
        })?;
        let mut asked = Self::default();
        while let Some(field) = form.next_field().await.map_err(wrong)? {
            let name = field.name().unwrap_or_default().to_owned();
            if name == "file" {
                asked.take_file(field).await?;
                continue;
            }
            let value = field.text().await.map_err(wrong)?;
            if transcription_part(&name, &value).is_none() {
                let message = format!("Unrecognized request argument supplied: {name}");
                return Err(Refusal::new(400, "unknown_parameter", message).at(name));
            }
            asked.fields.insert(name, value.into());
        }
        Ok(asked)
    }

    async fn take_file(&mut self, mut field: Field<'_>) -> Result<(), Refusal> {
        let (name, kind) = (field.file_name(), field.content_type());
        if Format::of(name, kind).is_none() {
            let message = "Invalid file format. Supported formats: ['flac', 'm4a', 'mp3', 'mp4', 'mpeg', 'mpga', 'oga', \
                 'ogg', 'wav', 'webm']";
            return Err(Refusal::new(400, None, message));
        }
        let mut file = json!({ "name": name, "type": kind });
        let mut digest = Context::new(&SHA256);
        let cut = |_| Refusal::new(400, None, "Could not parse multipart form");
        while let Some(bytes) = field.chunk().await.map_err(cut)? {
            digest.update(&bytes);
            self.bytes += bytes.len() as u64;
            if self.bytes > LARGEST_RECORDING {
                let message = format!(
                    "Maximum content size limit ({LARGEST_RECORDING}) exceeded ({} bytes read)",
                    self.bytes
                );
                return Err(Refusal::new(413, None, message));
            }
        }
        let digest = STANDARD.encode(digest.finish());
        (file["bytes"], file["sha256"]) = (self.bytes.into(), digest.into());
        self.file = Some(file);
        Ok(())
    }

    /// Refuses what the provider refuses.
    fn check(&self) -> Result<(), Refusal> {
        let missing = |name: &str| {
            let message = format!("you must provide a {name} parameter");
            Refusal::new(400, None, message).at(name)
        };
        if self.file.is_none() {
            return Err(missing("file"));
        }
        let model = self.fields.get("model").ok_or_else(|| missing("model"))?;
        let model = model.as_str().unwrap_or_default();
        if !known_transcription_model(model) {
            return Err(Refusal::no_model(model));
        }
        if self.bytes == 0 {
            let message = "Audio file is too short. Minimum audio length is 0.1 seconds.";
            return Err(Refusal::new(400, "audio_too_short", message).at("file"));
        }
        let format = self.field("response_format");
        let is_whisper = model == "whisper-1";
        let is_served = match format {
            "" | "json" | "text" => true,
            "srt" | "vtt" | "verbose_json" => is_whisper,
            _ => model.ends_with("diarize"),
        };
        if !is_served {
            let message =
                format!("response_format '{format}' is not compatible with model '{model}'.");
            return Err(Refusal::new(400, "unsupported_value", message).at("response_format"));
        }
        Ok(())
    }

    fn field(&self, name: &str) -> &str {
        let value = self.fields.get(name).and_then(Value::as_str);
        value.unwrap_or_default()
    }

    fn seconds(&self) -> u64 {
        self.bytes.div_ceil(RATE)
    }

    fn text(&self) -> String {
        format!("Simulated transcript of {} bytes.", self.bytes)
    }

    fn usage(&self) -> Value {
        let seconds = self.seconds();
        let model = self.field("model");
        if !model.starts_with("gpt-4o") {
            return json!({ "type": "duration", "seconds": seconds });
        }
        let (heard, written) = (seconds * 10, self.text().split(' ').count());
        json!({
            "type": "tokens", "input_tokens": heard, "output_tokens": written, "total_tokens": heard + written as u64,
            "input_token_details": { "text_tokens": 0, "audio_tokens": heard },
        })
    }

    fn answer(&self, clock: Arc<dyn Clock>, is_silent: bool) -> Response {
        let (text, seconds) = (self.text(), self.seconds());
        let mut document = json!({ "text": text, "usage": self.usage() });
        if is_silent {
            document
                .as_object_mut()
                .map(|document| document.remove("usage"));
        }
        if self.field("stream") == "true" && self.field("model") != "whisper-1" {
            return events(&document, is_silent, clock);
        }
        let time = |mark: char| format!("00:{:02}:{:02}{mark}000", seconds / 60, seconds % 60);
        let plain = |text: String, kind: &'static str| {
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        };
        match self.field("response_format") {
            "text" => plain(format!("{text}\n"), "text/plain; charset=utf-8"),
            "srt" => plain(
                format!("1\n00:00:00,000 --> {}\n{text}\n\n", time(',')),
                "text/plain; charset=utf-8",
            ),
            "vtt" => plain(
                format!("WEBVTT\n\n00:00:00.000 --> {}\n{text}\n\n", time('.')),
                "text/vtt; charset=utf-8",
            ),
            "verbose_json" => {
                document["duration"] = json!(seconds);
                document["task"] = "transcribe".into();
                Json(document).into_response()
            }
            _ => Json(document).into_response(),
        }
    }
}

/// Returns the words of the document one by one, and then the document as the last event, unless `is_cut`.
fn events(document: &Value, is_cut: bool, clock: Arc<dyn Clock>) -> Response {
    const EVENTS: [(HeaderName, &str); 1] =
        [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")];
    let words = document["text"].as_str().unwrap_or_default();
    let words = words
        .split_inclusive(' ')
        .map(|word| json!({ "type": "transcript.text.delta", "delta": word }));
    let mut done = document.clone();
    done["type"] = "transcript.text.done".into();
    let events: Vec<_> = words.chain((!is_cut).then_some(done)).collect();
    let events = stream::unfold(events.into_iter().enumerate(), move |mut events| {
        let clock = Arc::clone(&clock);
        async move {
            let (number, event) = events.next()?;
            if number > 0 {
                clock.sleep(DELTA).await;
            }
            let line = Bytes::from(format!("data: {event}\n\n"));
            Some((Ok::<_, std::convert::Infallible>(line), events))
        }
    });
    (EVENTS, Body::from_stream(events)).into_response()
}
