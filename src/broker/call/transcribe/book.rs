//! Carries a provider's answer to its caller, and books what the transcription used.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::mpsc;

use super::Job;
use crate::audit::Event;
use crate::broker::Inner;
use crate::clock::{millis, seconds_up};
use crate::domain::{CallStep, CallUse, Mark, Outcome, SessionChange, Usage};
use crate::provider::{Heard, Transcript, UsageReport};
use crate::records::RecordsError;
use crate::upstream::{Answer, Transcription};

/// How long the answer is still read after its caller has left, because the end of the answer has the figures.
const AFTER_CALLER: Duration = Duration::from_secs(1);
/// The name of the one use of an entry.
const USE: &str = "transcription";
/// The waits, in seconds, between the attempts to book a use.
const WAITS: [u64; 5] = [1, 5, 15, 30, 60];

type Tell = mpsc::Sender<Option<Bytes>>;

impl Inner {
    /// Carries the answer to the caller, and books the use at its end, however it ends.
    pub(super) async fn carry_answer(&self, job: Job, begun: Transcription, tell: Tell) {
        let mut transcript = Transcript::of(begun.media_type);
        let limit = self.rules.transcription.timeout;
        let left = limit.saturating_sub(self.parts.clock.tick().since(job.start));
        let carrying = self.carry(begun.answer, (&mut transcript, &tell));
        // Without its end, the caller gets a cut answer.
        let _ = self.parts.clock.timeout(left, carrying).await;
        drop(tell);
        let outcome = Outcome::Minted {
            expires_at: self.parts.clock.now(),
            model: Some(job.sending.model().into()),
            upstream_request: begun.upstream_request,
        };
        self.book(&job, Some(transcript.ends()), outcome).await;
    }

    /// Carries the answer until it ends or breaks off, or a moment longer than its caller stays.
    async fn carry(&self, mut answer: Answer, (transcript, tell): (&mut Transcript, &Tell)) {
        let reading = async {
            while let Some(piece) = answer.next().await {
                let Ok(piece) = piece else {
                    return;
                };
                transcript.hears(&piece);
                // A caller that has left is noticed below.
                let _ = tell.send(Some(piece)).await;
            }
            let _ = tell.send(None).await;
        };
        let leaving = async {
            tell.closed().await;
            self.parts.clock.sleep(AFTER_CALLER).await;
        };
        tokio::select! {
            biased;
            () = reading => {}
            () = leaving => {}
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
        let role = job.caller.role().unwrap_or_default();
        self.count_use(&used, role, Some(job.turn.key()));
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
        let prices = &self.agreement().money.prices;
        let card = prices.card(job.sending.model(), self.parts.clock.now());
        // A second of speech may be followed by minutes of silence, which the times of subtitles do not show.
        let recording = &job.sending.recording;
        let length = match length {
            Some(said) => said.max(recording.exact_length().unwrap_or_default()),
            None => recording.length(),
        };
        let usage = Usage::of_recording(&card.copied().unwrap_or_default(), length, letters);
        (usage, Mark::Estimated)
    }
}
