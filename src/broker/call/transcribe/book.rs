//! Carries a provider's answer to its caller, and books what the transcription used.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::mpsc;

use super::{AnswerCut, Job};
use crate::audit::Event;
use crate::broker::Inner;
use crate::clock::{millis, seconds_up};
use crate::domain::{CallStep, CallUse, Mark, Outcome, SessionChange, Usage};
use crate::provider::{Heard, Transcript, UsageReport};
use crate::records::RecordsError;
use crate::upstream::{Answer, Transcription};

/// The answer is read on for so long after its caller has left: its end has the figures.
const AFTER_CALLER: Duration = Duration::from_secs(1);
/// The name of the one use of an entry.
const USE: &str = "transcription";
/// The waits, in seconds, before a use is booked again that could not be.
const WAITS: [u64; 5] = [1, 5, 15, 30, 60];

type Tell = mpsc::Sender<Result<Bytes, AnswerCut>>;

impl Inner {
    /// Carries the answer to the caller, and books the use at its end, however it ends.
    pub(super) async fn carry_answer(&self, job: Job, begun: Transcription, tell: Tell) {
        let mut transcript = Transcript::of(begun.media_type);
        let limit = self.rules.transcription.timeout;
        let left = limit.saturating_sub(self.parts.clock.tick().since(job.start));
        let carrying = self.carry(begun.answer, (&mut transcript, &tell));
        let carried = self.parts.clock.timeout(left, carrying).await;
        if carried.is_err() || carried.is_ok_and(|carried| carried.is_err()) {
            // A caller that reads no more is cut off with the connection.
            let _ = tell.try_send(Err(AnswerCut));
        }
        drop(tell);
        let outcome = Outcome::Minted {
            expires_at: self.parts.clock.now(),
            model: Some(job.sending.model().into()),
            upstream_request: begun.upstream_request,
        };
        self.book(&job, Some(transcript.ends()), outcome).await;
    }

    /// Carries the answer until it ends, or a moment longer than its caller stays.
    async fn carry(
        &self,
        mut answer: Answer,
        (transcript, tell): (&mut Transcript, &Tell),
    ) -> Result<(), AnswerCut> {
        let reading = async {
            while let Some(piece) = answer.next().await {
                let piece = piece.map_err(|_| AnswerCut)?;
                transcript.hears(&piece);
                // Whoever has left is noticed below.
                let _ = tell.send(Ok(piece)).await;
            }
            Ok(())
        };
        let leaving = async {
            tell.closed().await;
            self.parts.clock.sleep(AFTER_CALLER).await;
        };
        tokio::select! {
            biased;
            read = reading => read,
            () = leaving => Err(AnswerCut),
        }
    }

    /// Books the use of a transcription: the provider's figures, or else an estimate. `heard` is `None` when no answer came.
    pub(super) async fn book(&self, job: &Job, heard: Option<Heard>, outcome: Outcome) {
        let (model, took) = (
            job.sending.model(),
            self.parts.clock.tick().since(job.start),
        );
        let (usage, mark) = self.figures(job, heard);
        let length = usage.audio_length();
        let used = CallUse {
            id: USE.into(),
            is_turn: false,
            model: model.into(),
            mark,
            usage,
            cost: self.price(model, &usage),
        };
        let details = json!({
            "model": model,
            "seconds": seconds_up(length),
            "cost": used.cost.to_string(),
            "mark": mark.as_str(),
            "upstream_ms": millis(took),
        });
        self.count_use(&used, job.caller.role().unwrap_or_default());
        let mut waits = WAITS.into_iter();
        while let Err(error) = self.write_use(job, &used, (length, took, &outcome)).await {
            self.note_records(&error);
            let Some(wait) = waits.next() else {
                break;
            };
            self.parts.clock.sleep(Duration::from_secs(wait)).await;
        }
        self.watches.full.remove(&job.caller.crowd());
        self.record(Event::Transcribed, &job.caller, details);
    }

    /// Writes the use, the end of the hold, and the outcome. Repeated, it changes nothing more.
    async fn write_use(
        &self,
        job: &Job,
        used: &CallUse,
        (length, took, outcome): (Duration, Duration, &Outcome),
    ) -> Result<(), RecordsError> {
        let records = &self.parts.records;
        records.use_call(job.entry, used.clone()).await?;
        let end = CallStep::Transcribed(length).by_anybody();
        records.change_call(job.entry, end).await?;
        let effect = (outcome.clone(), SessionChange::Keep, None);
        self.settle(job.entry, took, effect).await.map(drop)
    }

    /// Gives back what was held for a recording of which the provider has done nothing.
    pub(super) async fn give_back(&self, job: &Job, code: &'static str) {
        let took = self.parts.clock.tick().since(job.start);
        let effect = (Outcome::Failed { code }, SessionChange::Keep, None);
        if let Err(error) = self.settle(job.entry, took, effect).await {
            self.note_records(&error);
        }
        self.watches.full.remove(&job.caller.crowd());
    }

    fn figures(&self, job: &Job, heard: Option<Heard>) -> (Usage, Mark) {
        let alarm = |what: &str| {
            let details = json!({ "model": job.sending.model(), "what": what });
            self.parts.audit.note(Event::OddUsage, details);
        };
        let (length, letters) = match &heard {
            Some(heard) => (heard.length, Some(heard.letters)),
            None => (None, None),
        };
        match heard.map(|heard| heard.usage) {
            Some(UsageReport::Figures(said)) => {
                let reading = Usage::of_transcription(&said);
                if !reading.adds_up {
                    alarm("its figures contradict each other; the larger ones are counted");
                }
                return (reading.usage, Mark::Measured);
            }
            Some(UsageReport::Unreadable) => {
                alarm("its figures are no counts; an estimate is counted");
            }
            Some(UsageReport::Missing) | None => {}
        }
        let card = self
            .rules
            .money
            .prices
            .card(job.sending.model(), self.parts.clock.now());
        let length = length.unwrap_or_else(|| job.sending.recording.length());
        let usage = Usage::of_recording(&card.copied().unwrap_or_default(), length, letters);
        (usage, Mark::Estimated)
    }
}
