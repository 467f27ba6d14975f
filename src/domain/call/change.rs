//! The moves of a call, and the only judge of them.

use std::time::Duration;

use super::{Call, CallState, CallUse, EndReason, UpstreamCall};
use crate::clock::{Timestamp, seconds_up};

/// Time that one attempt to hang up has. Until it is over no other replica tries; then the replica may have crashed, and another
/// one takes over.
const ATTEMPT: Duration = Duration::from_secs(15);
/// The same for a GPT-Live session, which has 15 s to close before it is hung up.
const CLOSE_AND_ATTEMPT: Duration = Duration::from_secs(30);

/// The waits after the first failed hang-ups.
const FIRST_WAITS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// The wait after every later failed hang-up.
const WAIT: Duration = Duration::from_mins(1);

/// How long hang-ups are repeated. The provider itself ends every call within this time.
const LONGEST: Duration = Duration::from_hours(1);
/// The same for a GPT-Live session.
const LONGEST_LIVE: Duration = Duration::from_hours(2);

/// Time after its deadline from which on an open call is taken over whatever its lease says, because its watcher has
/// failed to end it. Longer than a farewell may take.
pub const LATE: Duration = Duration::from_secs(15);

/// A change to a call. All times are counted from the moment of the change, on the database's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallChange {
    /// The epoch of the replica that watches the call. `None` for a change that any replica may make.
    pub epoch: Option<u32>,
    /// The change.
    pub step: CallStep,
}

/// One step of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallStep {
    /// The provider has created the call, under this id. If the end of the call was decided meanwhile, or the call was given up,
    /// it has to be hung up.
    Named(UpstreamCall),
    /// The side channel has joined, and the caller gets the answer. The call may last this long.
    Opened(Duration),
    /// The page has given its first sign of life.
    Joined,
    /// The time left is at most this. A deadline never moves to a later time.
    Shortened(Duration),
    /// The page was warned of the end.
    Warned,
    /// The call has to end: a hang-up is owed. The replica that makes this change tries it at once.
    End(EndReason),
    /// The call has to end, and this change is made where nobody can hang up: in the records, or by `erase`. The hang-up is due
    /// at once, for the replica that claims the call next.
    Disown(EndReason),
    /// A hang-up was tried, and the provider did not confirm it.
    HangUpFailed,
    /// The upstream call is over, or was never created. An earlier reason stays.
    Over(EndReason),
    /// It is unknown whether the provider has created the call. Its place stays taken for this time.
    Lost(Duration),
    /// The recording, which held a place like a call, is transcribed. It counts as a call that lasted this long.
    Transcribed(Duration),
}

impl CallStep {
    /// Returns the change that any replica may make.
    pub fn by_anybody(self) -> CallChange {
        CallChange {
            epoch: None,
            step: self,
        }
    }

    /// Returns the change that only the replica with this epoch may make.
    pub fn by(self, epoch: u32) -> CallChange {
        CallChange {
            epoch: Some(epoch),
            step: self,
        }
    }
}

impl Call {
    /// Judges a change at `now`, on the database's clock. Returns the call after it, or `None` for a change that the call
    /// does not allow or that changes nothing.
    pub fn apply(&self, change: &CallChange, now: Timestamp) -> Option<Self> {
        if change.epoch.is_some_and(|epoch| epoch != self.epoch) {
            return None;
        }
        let mut call = self.clone();
        let is_seen = call.take(&change.step, now)?;
        call.revision += u64::from(is_seen);
        Some(call)
    }

    /// Takes a step. Returns whether a page may see the difference, or `None` when the step is not allowed.
    fn take(&mut self, step: &CallStep, now: Timestamp) -> Option<bool> {
        use CallState::{Dialling, Ended, Ending, Lost, Open};

        match (step, self.state) {
            (CallStep::Named(upstream), state) if self.upstream.is_none() => {
                self.upstream = Some(upstream.clone());
                if state != Dialling {
                    self.end(EndReason::Provider, now);
                }
                Some(self.state != state)
            }
            (CallStep::Opened(lasts), Dialling) if self.upstream.is_some() => {
                self.state = Open;
                self.opened_at = Some(now);
                self.deadline_at = now.plus(*lasts);
                Some(true)
            }
            (CallStep::Joined, Open) if self.joined_at.is_none() => {
                self.joined_at = Some(now);
                Some(true)
            }
            (CallStep::Shortened(left), Open) if now.plus(*left) < self.deadline_at => {
                self.deadline_at = now.plus(*left);
                Some(true)
            }
            (CallStep::Warned, Open) if !self.is_warned => {
                self.is_warned = true;
                Some(true)
            }
            (CallStep::End(reason), Dialling | Open) => {
                self.end(*reason, now);
                Some(true)
            }
            (CallStep::Disown(reason), Dialling | Open) => {
                self.end(*reason, now);
                self.hang_up_due = self.hang_up_due.map(|_| now);
                Some(true)
            }
            (CallStep::HangUpFailed, Ending) if self.upstream.is_some() => {
                self.hang_up_failed(now);
                Some(self.state == Ended)
            }
            (CallStep::Over(reason), Dialling | Open | Ending | Lost) => {
                self.end_reason.get_or_insert(*reason);
                self.is_over(now);
                Some(true)
            }
            (CallStep::Lost(holds), Dialling | Ending) if self.upstream.is_none() => {
                self.state = Lost;
                self.deadline_at = now.plus(*holds);
                Some(true)
            }
            (CallStep::Transcribed(length), Dialling | Ending | Lost) => {
                self.end_reason.get_or_insert(EndReason::Provider);
                self.is_over(now);
                self.used.seconds = seconds_up(*length);
                Some(true)
            }
            _ => None,
        }
    }

    /// Owes a hang-up, to a call that has an id.
    fn end(&mut self, reason: EndReason, now: Timestamp) {
        self.state = CallState::Ending;
        self.end_reason.get_or_insert(reason);
        self.ending_at.get_or_insert(now);
        self.ended_at = None;
        self.hang_up_due = self.attempt().map(|attempt| now.plus(attempt));
    }

    /// Returns the time that one attempt to hang up has before the next one begins; `None` when there is nothing to hang up.
    fn attempt(&self) -> Option<Duration> {
        let upstream = self.upstream.as_ref()?;
        Some(if upstream.id.is_live() {
            CLOSE_AND_ATTEMPT
        } else {
            ATTEMPT
        })
    }

    fn hang_up_failed(&mut self, now: Timestamp) {
        let attempts = usize::try_from(self.hang_up_attempts).unwrap_or(usize::MAX);
        let wait = FIRST_WAITS.get(attempts).copied().unwrap_or(WAIT);
        self.hang_up_attempts = self.hang_up_attempts.saturating_add(1);
        self.hang_up_due = Some(now.plus(wait));
        let tried = self.ending_at.map_or(Duration::ZERO, |at| now.since(at));
        let is_live = self.upstream.as_ref().is_some_and(|call| call.id.is_live());
        if tried >= if is_live { LONGEST_LIVE } else { LONGEST } {
            self.is_over(now);
        }
    }

    fn is_over(&mut self, now: Timestamp) {
        self.state = CallState::Ended;
        self.ended_at = Some(now);
        self.hang_up_due = None;
        // OpenAI bills a session of GPT-Live from its creation on, whoever joins.
        let is_live = self.upstream.as_ref().is_some_and(|call| call.id.is_live());
        let begun = if is_live {
            self.opened_at
        } else {
            self.joined_at
        };
        let lived = begun.map(|begun| now.since(begun));
        self.used.seconds = lived.map_or(0, seconds_up);
    }

    /// Returns the call with the use of one response or transcription in its sums.
    #[must_use]
    pub fn with_use(&self, more: &CallUse) -> Self {
        Self {
            used: self.used.plus(more),
            revision: self.revision + 1,
            ..self.clone()
        }
    }

    /// True when a replica may take the call over at `now`: the lease of its watcher has run out, a hang-up is due, or its
    /// deadline is long over.
    pub fn is_claimable(&self, has_lease: bool, now: Timestamp) -> bool {
        let is_due = match self.state {
            CallState::Dialling | CallState::Open => self.deadline_at.plus(LATE) <= now,
            // A call without an id cannot be hung up, but it has to be written down as ended.
            CallState::Ending => self.hang_up_due.unwrap_or(self.deadline_at.plus(LATE)) <= now,
            CallState::Ended | CallState::Lost => return false,
        };
        is_due || !has_lease
    }

    /// Returns the call as `replica` watches it from `now` on. The replica that watched the call before cannot change it any
    /// more. If the call is ending, the new watcher tries the hang-up at once.
    #[must_use]
    pub fn claimed(&self, replica: &str, now: Timestamp) -> Self {
        let is_anothers = *self.replica != *replica;
        Self {
            watched_until: self
                .watched_until
                .or(self.opened_at)
                .filter(|_| is_anothers),
            replica: replica.into(),
            epoch: self.epoch.wrapping_add(1),
            hang_up_due: self.hang_up_due.map(|_| now.plus(ATTEMPT)),
            ..self.clone()
        }
    }
}
