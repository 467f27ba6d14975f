//! Transcriptions: the recording and the answer are streamed through the broker, and the use is booked.
//!
//! A transcription holds a place, minutes and money as a call does, from before its recording is read until its use is
//! booked.

mod book;
mod feed;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, stream};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::Instrument;

use self::feed::Sending;
use crate::audit::Event;
use crate::broker::audited::Delivery;
use crate::broker::{Broker, BrokerError, Inner};
use crate::clock::{Tick, seconds_up};
use crate::domain::{
    Amount, Caller, Card, Dial, EntryId, Format, Kind, Money, Outcome, PersonaName, Unpriced,
    Usage, held_length,
};
use crate::gate::Pass;
use crate::upstream::{Transcription, TranscriptionOrder, Trouble, Turn, UpstreamError};

/// Pieces of a form that wait for the provider.
const PIECES: usize = 4;
/// Pieces of an answer that wait for the caller.
const CHUNKS: usize = 16;
/// Longest time after the end to book the use. Then the hold is given up.
const BOOKING: Duration = Duration::from_mins(3);

/// A part of a caller's upload.
pub enum Part {
    /// A field of a name that the provider knows, and its value.
    Field(&'static str, Box<str>),
    /// The recording begins.
    File(Format),
    /// Bytes of the recording.
    Audio(Bytes),
}

/// Why an upload cannot be sent on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UploadError {
    /// The recording is larger than the provider accepts.
    #[error("the recording is too large")]
    TooLarge,
    /// A part is unknown, missing, repeated or wrong.
    #[error("the upload is wrong at {0}")]
    At(Cow<'static, str>),
    /// Neither the file's name nor its media type is of a format that the provider reads.
    #[error("the format of the recording is not known")]
    Format,
    /// The upload did not arrive in time.
    #[error("the upload took too long")]
    Slow,
    /// The connection of the upload broke.
    #[error("the upload was cut")]
    Cut,
}

/// An upload as it comes.
#[async_trait]
pub trait Upload: Send {
    /// Returns the next part; `None` at the end.
    async fn next(&mut self) -> Result<Option<Part>, UploadError>;
}

/// A caller's request for a transcription.
pub struct TranscriptionRequest {
    /// The bytes that the request announces, if it does.
    pub announced: Option<u64>,
    /// The recording, and the fields beside it.
    pub upload: Box<dyn Upload>,
}

/// The pieces of an answer. `None` is its end: pieces that stop without one were cut.
type Pieces = mpsc::Receiver<Option<Bytes>>;

/// The answer was cut, and must not look complete.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the provider's answer was cut")]
pub struct AnswerCut;

/// An answer that has begun. Hides itself: it holds what somebody said.
pub struct Transcribed {
    /// The media type.
    pub media_type: &'static str,
    /// The time until the answer began.
    pub upstream_took: Duration,
    pieces: Mutex<Option<Pieces>>,
}

impl Transcribed {
    /// Returns the pieces of the answer, once. An error cuts it.
    pub fn take(&self) -> Option<impl Stream<Item = Result<Bytes, AnswerCut>> + Send + use<>> {
        let pieces = self.pieces.lock().take()?;
        Some(stream::unfold(Some(pieces), async |pieces| {
            let mut pieces = pieces?;
            match pieces.recv().await {
                Some(piece) => Some((Ok(piece?), Some(pieces))),
                None => Some((Err(AnswerCut), None)),
            }
        }))
    }
}

impl fmt::Debug for Transcribed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Transcribed({})", self.media_type)
    }
}

impl Delivery for Transcribed {
    fn event(&self, _origin: Option<&str>) -> Option<(Event, Value)> {
        // Written when the use is known.
        None
    }

    async fn undelivered(&self, _inner: &Inner) {
        drop(self.take());
    }
}

/// A transcription under way.
struct Job {
    entry: EntryId,
    caller: Arc<Caller>,
    turn: Turn,
    start: Tick,
    sending: Sending,
}

impl Broker {
    /// Transcribes a recording. The caller gets the answer as the provider writes it.
    pub async fn transcribe(
        &self,
        caller: Arc<Caller>,
        asked: TranscriptionRequest,
        pass: Pass,
    ) -> Result<Arc<Transcribed>, BrokerError> {
        let (inner, owner) = (Arc::clone(&self.0), Arc::clone(&caller));
        let work = Box::pin(async move { inner.transcribe(&owner, asked).await });
        self.carry_through(caller, work, pass).await
    }
}

impl Inner {
    async fn transcribe(
        self: Arc<Self>,
        caller: &Arc<Caller>,
        asked: TranscriptionRequest,
    ) -> Result<Arc<Transcribed>, BrokerError> {
        let room = Arc::clone(&self.transcribing).try_acquire_owned();
        let room = room.map_err(|_| BrokerError::Crowded)?;
        if let Some(limit) = self.is_full(caller) {
            return Err(BrokerError::TooManyCalls(limit));
        }
        let dial = self.to_hold(caller, asked.announced)?;
        let name = PersonaName::of_transcriptions();
        let mut turn = self.turn_for(caller, &name).await?;
        // A transcription counts in the pace, but not in the concurrency that mints need: an upload may take a minute.
        turn.leave_room();
        let row = self.write_down((Kind::Transcription, &name), dial).await?;
        let mut job = Job {
            entry: row.entry,
            caller: Arc::clone(caller),
            turn,
            start: self.parts.clock.tick(),
            sending: Sending::new(&self.rules.transcription.models),
        };
        match self.send(&mut job, asked.upload).await {
            Ok(Ok(begun)) => Ok(self.hand_on(job, begun, room)),
            Ok(Err(error)) => Err(self.not_transcribed(job, error).await),
            Err(error) => {
                self.give_back(&job, error.records_code()).await;
                Err(error)
            }
        }
    }

    /// Returns the time and money to hold for a recording whose length is unknown: the longest one of its size, at the most
    /// expensive model that the caller may name. A model that is billed by the minute accepts recordings of any length.
    fn to_hold(&self, caller: &Arc<Caller>, announced: Option<u64>) -> Result<Dial, BrokerError> {
        let settings = &self.rules.transcription;
        let now = self.parts.clock.now();
        let prices = &self.agreement().money.prices;
        let cards = settings.models.iter();
        let cards = cards.map(|model| (model, prices.card(model, now)));
        let is_bounded = |card: &Card| card.minute.is_none();
        let are_bounded = cards.clone().all(|(_, card)| card.is_some_and(is_bounded));
        let length = held_length(announced, are_bounded);
        let budgets = self.budgets(caller.party(), &self.quota(caller));
        let mut money = Money::ZERO;
        if budgets.limit_money() {
            for (model, card) in cards {
                let card = card.ok_or_else(|| BrokerError::NoPrice(Unpriced(model.clone())))?;
                let most = Usage::of_recording(card, length, None);
                money = money.max(card.cost(&most).money);
            }
        }
        Ok(Dial {
            caller: Arc::clone(caller),
            idempotency: None,
            ticket: None,
            uses: 0,
            replica: self.watches.replica.clone(),
            gives_up: settings.timeout + BOOKING,
            want: Amount {
                seconds: seconds_up(length),
                money,
            },
            budgets,
            kin: None,
        })
    }

    /// Sends the recording to the provider until its answer begins. An error of the upload cuts the request, so that the
    /// provider does nothing.
    async fn send(
        &self,
        job: &mut Job,
        upload: Box<dyn Upload>,
    ) -> Result<Result<Transcription, UpstreamError>, BrokerError> {
        let (settings, clock) = (&self.rules.transcription, &self.parts.clock);
        let (pieces, received) = mpsc::channel(PIECES);
        let order = TranscriptionOrder {
            pieces: received,
            behalf: job.caller.party(),
        };
        let upstream = &self.parts.upstream;
        let asked = upstream.transcribe(order, &job.turn, settings.timeout);
        let feeding = job.sending.feed(upload, &pieces);
        let feeding = clock.timeout(settings.upload_timeout, feeding);
        tokio::pin!(asked, feeding);
        let fed = tokio::select! {
            biased;
            begun = &mut asked => return Ok(begun),
            fed = &mut feeding => fed,
        };
        match fed {
            Ok(fed) => fed?,
            // The recording is here, and the provider does not take it.
            Err(_) if pieces.capacity() == 0 => {
                return Ok(Err(self.parts.upstream.stopped_reading(job.start)));
            }
            Err(_) => return Err(UploadError::Slow.into()),
        }
        Ok(asked.await)
    }

    /// Records that the provider gave no answer. What it may have done is booked as an estimate.
    async fn not_transcribed(self: &Arc<Self>, job: Job, error: UpstreamError) -> BrokerError {
        let facts = error.facts_of_transcription();
        let took = self.parts.clock.tick().since(job.start);
        if facts.is_definite || !job.sending.is_complete() {
            self.give_back(&job, facts.code).await;
        } else {
            let (inner, outcome) = (Arc::clone(self), Outcome::Uncertain { code: facts.code });
            let booking = async move { inner.book(&job, None, outcome).await };
            self.work.spawn(booking.in_current_span());
        }
        if facts.trouble == Trouble::Nothing && error.complaint().is_some() {
            return BrokerError::RecordingRefused(error);
        }
        let facts = Box::new(facts);
        BrokerError::Upstream { error, facts, took }
    }

    /// Returns the answer, and starts the task that streams it to the caller.
    fn hand_on(
        self: &Arc<Self>,
        job: Job,
        begun: Transcription,
        room: OwnedSemaphorePermit,
    ) -> Arc<Transcribed> {
        let (tell, told) = mpsc::channel(CHUNKS);
        let transcribed = Transcribed {
            media_type: begun.media_type,
            upstream_took: self.parts.clock.tick().since(job.start),
            pieces: Mutex::new(Some(told)),
        };
        let inner = Arc::clone(self);
        let carried = async move {
            inner.carry_answer(job, begun, tell).await;
            drop(room);
        };
        self.work.spawn(carried.in_current_span());
        Arc::new(transcribed)
    }
}
