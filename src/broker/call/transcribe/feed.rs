//! Sends an upload on, part by part, as far as the operator's rules allow.

use tokio::sync::mpsc;

use super::{Part, Upload, UploadError};
use crate::broker::BrokerError;
use crate::domain::{LARGEST_RECORDING, Recording};
use crate::upstream::Piece;

/// What is known about an upload while it is passed on.
pub(super) struct Sending {
    /// The models that callers may name.
    models: Vec<Box<str>>,
    /// The model that the caller named.
    model: Option<Box<str>>,
    /// The fields that came, those that may come more than once left out.
    seen: Vec<&'static str>,
    has_file: bool,
    is_complete: bool,
    pub(super) recording: Recording,
}

impl From<UploadError> for BrokerError {
    fn from(error: UploadError) -> Self {
        Self::Upload(error)
    }
}

impl Sending {
    pub(super) fn new(models: &[Box<str>]) -> Self {
        Self {
            models: models.to_vec(),
            model: None,
            seen: Vec::new(),
            has_file: false,
            is_complete: false,
            recording: Recording::default(),
        }
    }

    /// Returns the model that transcribes: the one that the caller named, or else the first one.
    pub(super) fn model(&self) -> &str {
        let model = self.model.as_ref().or(self.models.first());
        model.map(|model| &**model).unwrap_or_default()
    }

    /// True when the provider has the whole form.
    pub(super) const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Sends the parts of `upload` on. The end of the form is sent only when all parts may pass.
    pub(super) async fn feed(
        &mut self,
        mut upload: Box<dyn Upload>,
        pieces: &mpsc::Sender<Piece>,
    ) -> Result<(), BrokerError> {
        while let Some(part) = upload.next().await? {
            let piece = self.admit(part)?;
            send(pieces, piece).await;
        }
        if self.recording.bytes() == 0 {
            return Err(UploadError::At("file".into()).into());
        }
        if self.model.is_none() {
            send(pieces, Piece::Field("model", self.model().into())).await;
        }
        self.is_complete = true;
        send(pieces, Piece::End).await;
        Ok(())
    }

    fn admit(&mut self, part: Part) -> Result<Piece, BrokerError> {
        match part {
            Part::Field(name, value) => {
                if self.seen.contains(&name) {
                    return Err(UploadError::At(name.into()).into());
                }
                if !name.ends_with("[]") {
                    self.seen.push(name);
                }
                if name == "model" {
                    if !self.models.contains(&value) {
                        return Err(BrokerError::ModelNotAllowed);
                    }
                    self.model = Some(value.clone());
                }
                Ok(Piece::Field(name, value))
            }
            Part::File(format) => {
                if std::mem::replace(&mut self.has_file, true) {
                    return Err(UploadError::At("file".into()).into());
                }
                Ok(Piece::File(format))
            }
            Part::Audio(bytes) => {
                self.recording.takes(&bytes);
                if self.recording.bytes() > LARGEST_RECORDING {
                    return Err(UploadError::TooLarge.into());
                }
                Ok(Piece::Audio(bytes))
            }
        }
    }
}

/// Sends a piece. Waits for ever when the provider reads no more: the task that waits for its answer then drops this future.
async fn send(pieces: &mpsc::Sender<Piece>, piece: Piece) {
    if pieces.send(piece).await.is_err() {
        std::future::pending::<()>().await;
    }
}
