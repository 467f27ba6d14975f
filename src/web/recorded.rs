//! Reads the upload of a recording as it comes: as the body, or as a part of a form with fields beside it.

use std::collections::VecDeque;

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;

use super::multipart::{Scanner, Step};
use super::offered::quotable;
use crate::broker::{Part, Upload, UploadError};
use crate::domain::Format;
use crate::provider::transcription_part;

/// Most bytes of all fields beside the recording.
const MAX_FIELDS: usize = 64 * 1024;

/// A recording as the body.
pub(super) struct Raw {
    /// The parts before the bytes.
    pub(super) parts: VecDeque<Part>,
    pub(super) body: Body,
}

#[async_trait]
impl Upload for Raw {
    async fn next(&mut self) -> Result<Option<Part>, UploadError> {
        match self.parts.pop_front() {
            Some(part) => Ok(Some(part)),
            None => Ok(read(&mut self.body).await?.map(Part::Audio)),
        }
    }
}

/// A recording in a form.
pub(super) struct Form {
    scanner: Scanner,
    body: Body,
    /// The field that has begun, and its value so far.
    field: Option<(String, Vec<u8>)>,
    /// The bytes of all fields so far.
    bytes: usize,
}

impl Form {
    pub(super) fn new(scanner: Scanner, body: Body) -> Self {
        Self {
            scanner,
            body,
            field: None,
            bytes: 0,
        }
    }

    /// Takes a step of the form in. Returns a part when one is ready.
    fn step(&mut self, step: Step) -> Result<Option<Part>, UploadError> {
        match step {
            Step::Part(head) if head.name == "file" => {
                let (name, media_type) = (head.filename.as_deref(), head.media_type.as_deref());
                let format = Format::of(name, media_type).ok_or(UploadError::Format)?;
                Ok(Some(Part::File(format)))
            }
            Step::Part(head) => {
                self.field = Some((head.name, Vec::new()));
                Ok(None)
            }
            Step::Content(bytes) => {
                let Some((name, value)) = &mut self.field else {
                    return Ok(Some(Part::Audio(bytes)));
                };
                self.bytes += bytes.len();
                if self.bytes > MAX_FIELDS {
                    return Err(UploadError::At(quotable(name).into()));
                }
                value.extend_from_slice(&bytes);
                Ok(None)
            }
            Step::End => self.field.take().map(field).transpose(),
            Step::More | Step::Done => Ok(None),
        }
    }
}

/// Returns a field that has come whole.
fn field((name, value): (String, Vec<u8>)) -> Result<Part, UploadError> {
    let value = String::from_utf8(value).ok();
    let known = value.and_then(|value| {
        let name = transcription_part(&name, &value)?;
        Some(Part::Field(name, value.into()))
    });
    known.ok_or_else(|| UploadError::At(quotable(&name).into()))
}

#[async_trait]
impl Upload for Form {
    async fn next(&mut self) -> Result<Option<Part>, UploadError> {
        let malformed = || UploadError::At("body".into());
        loop {
            let step = self.scanner.next().map_err(|_| malformed())?;
            match step {
                Step::Done => return Ok(None),
                Step::More => {
                    let bytes = read(&mut self.body).await?;
                    self.scanner.takes(&bytes.ok_or_else(malformed)?);
                }
                step => {
                    if let Some(part) = self.step(step)? {
                        return Ok(Some(part));
                    }
                }
            }
        }
    }
}

/// Returns the next bytes of a body; `None` at its end.
async fn read(body: &mut Body) -> Result<Option<Bytes>, UploadError> {
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame.map_err(|_| UploadError::Cut)?.into_data() {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}
