//! Transcriptions of OpenAI's Audio API: the form that is sent piece by piece, and the answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::stream;
use hyper::body::{Body, Frame};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use tokio::sync::mpsc::Receiver;

use super::calls::cut;
use super::{OpenAi, SAFETY_IDENTIFIER, refusal, request_id};
use crate::domain::{KeyFingerprint, random_bytes};
use crate::upstream::UpstreamError;
use crate::upstream::calls::Pending;
use crate::upstream::transcription::{Piece, Transcription, TranscriptionOrder, media_type};

/// A form whose pieces come one by one. The caller's own form is never passed on: the provider reads only what is written
/// here.
struct Form {
    pieces: Receiver<Piece>,
    boundary: String,
    has_begun: bool,
    has_ended: bool,
}

/// Error for a form that ends before its last piece. It cuts the request, so that the provider does nothing.
#[derive(Debug, thiserror::Error)]
#[error("the recording was cut")]
struct Cut;

impl Form {
    /// Returns the bytes of a piece.
    fn write(&mut self, piece: Piece) -> Bytes {
        let head = match piece {
            Piece::Audio(bytes) => return bytes,
            Piece::End => {
                self.has_ended = true;
                return format!("\r\n--{}--\r\n", self.boundary).into();
            }
            Piece::Field(name, value) => format!("name=\"{name}\"\r\n\r\n{value}"),
            Piece::File(format) => format!(
                "name=\"file\"; filename=\"recording.{}\"\r\nContent-Type: {}\r\n\r\n",
                format.ending, format.media_type
            ),
        };
        let line = if std::mem::replace(&mut self.has_begun, true) {
            "\r\n"
        } else {
            ""
        };
        let boundary = &self.boundary;
        format!("{line}--{boundary}\r\nContent-Disposition: form-data; {head}").into()
    }
}

impl Body for Form {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let piece = ready!(self.pieces.poll_recv(context));
        let written = piece.ok_or(Cut).map(|piece| Frame::data(self.write(piece)));
        Poll::Ready(Some(written))
    }
}

impl OpenAi {
    pub(super) fn send_recording(
        &self,
        order: TranscriptionOrder,
        key: &KeyFingerprint,
    ) -> Pending<Transcription> {
        // Held until the answer is read.
        let connection = self.connections.take();
        let boundary = URL_SAFE_NO_PAD.encode(random_bytes::<18>());
        let request = connection
            .post(self.transcriptions_url.clone())
            .header(&self.keys.header, &self.keys.choose(key).value)
            .header(
                CONTENT_TYPE,
                format!("multipart/form-data; boundary={boundary}"),
            )
            .header(SAFETY_IDENTIFIER, self.pseudonym(&order.behalf))
            .body(reqwest::Body::wrap(Form {
                pieces: order.pieces,
                boundary,
                has_begun: false,
                has_ended: false,
            }));
        Box::pin(async move {
            let response = request.send().await.map_err(cut)?;
            if response.status() != StatusCode::OK {
                return Err(refusal(response).await);
            }
            let given = response.headers().get(CONTENT_TYPE);
            let given = given.and_then(|given| given.to_str().ok());
            Ok(Transcription {
                media_type: media_type(given),
                upstream_request: request_id(response.headers()),
                answer: Box::pin(stream::try_unfold(
                    (response, connection),
                    async |(mut response, connection)| {
                        let chunk = response.chunk().await.map_err(cut)?;
                        Ok::<_, UpstreamError>(chunk.map(|chunk| (chunk, (response, connection))))
                    },
                )),
            })
        })
    }
}
