//! Owns the way to the writer: bounded, and left by whoever has waited long enough.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for another machine on the real clock until its room takes a Clock"
)]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::database::Fault;
use super::transaction::{Answer, Command};
use super::{RecordsCondition, RecordsError};

/// Most commands that wait for the writer.
pub(super) const LONGEST: usize = 1024;

/// Why nothing can be written, while that is so.
#[derive(Clone, Debug, Default)]
pub(super) struct Status(Arc<Mutex<Option<Fault>>>);

impl Status {
    pub(super) fn set(&self, fault: Option<Fault>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        let fault = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        fault.clone()
    }
}

/// A command on its way to the writer.
pub(super) struct Job {
    pub(super) command: Command,
    /// Who waits for it; nobody does when the writer puts right what it did for somebody who has left.
    pub(super) reply: Option<oneshot::Sender<Result<Answer, Fault>>>,
    /// True when it may have been written by an attempt that failed.
    pub(super) begun: bool,
}

impl Job {
    /// True when nobody waits for it any longer.
    pub(super) fn is_left(&self) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }
}

/// The way to the writer.
pub(super) struct Queue {
    pub(super) sender: mpsc::Sender<Job>,
    pub(super) status: Status,
    pub(super) timeout: Duration,
    pub(super) closing: CancellationToken,
    pub(super) tracker: TaskTracker,
}

impl Queue {
    /// A way to nowhere: everything that is asked for is refused.
    pub(super) fn closed() -> Self {
        Self {
            sender: mpsc::channel(1).0,
            status: Status::default(),
            timeout: Duration::ZERO,
            closing: CancellationToken::new(),
            tracker: TaskTracker::new(),
        }
    }

    /// Has the command carried out. When it does not succeed, or the caller leaves, it has not happened, or it is
    /// taken back.
    pub(super) async fn submit(&self, command: Command) -> Result<Answer, RecordsError> {
        if let Some(fault) = self.status.fault() {
            return Err(fault.into());
        }
        let (reply, mut answer) = oneshot::channel();
        let job = Job {
            command,
            reply: Some(reply),
            begun: false,
        };
        self.sender.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => RecordsError::Full,
            TrySendError::Closed(_) => RecordsError::Closed,
        })?;
        if let Ok(answered) = timeout(self.timeout, &mut answer).await {
            let answered = answered.map_err(|_| RecordsError::Closed)?;
            return answered.map_err(RecordsError::from);
        }
        // Either it is there by now, or the writer learns that nobody waits.
        answer.close();
        let answered = answer.try_recv().map_err(|_| RecordsError::TimedOut)?;
        answered.map_err(RecordsError::from)
    }

    /// A writer that is gone although nobody let it finish is as bad as a database that is.
    pub(super) fn condition(&self) -> RecordsCondition {
        let is_dead = self.sender.is_closed() && !self.closing.is_cancelled();
        match self.status.fault() {
            None if !is_dead => RecordsCondition::Operational,
            None | Some(_) => RecordsCondition::Down,
        }
    }

    /// Lets the writer finish.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_writer_is_down_and_one_that_was_let_finish_is_not() {
        let (sender, receiver) = mpsc::channel(1);
        let queue = Queue {
            sender,
            ..Queue::closed()
        };
        assert_eq!(queue.condition(), RecordsCondition::Operational);
        drop(receiver);
        assert_eq!(queue.condition(), RecordsCondition::Down);
        queue.close().await;
        assert_eq!(queue.condition(), RecordsCondition::Operational);
    }
}
