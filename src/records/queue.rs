//! The bounded queue to the writer. A caller who has waited long enough leaves it.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for a database on the real clock, whatever clock the records are dated by"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::command::{Answer, Command, Upkeep};
use super::database::Fault;
use super::{Figures, RecordsCondition, RecordsError};
use crate::spans::spanned;

/// The reason why nothing can be written at present, if nothing can.
pub(super) type Status = Arc<Mutex<Option<Fault>>>;

/// What the writer did since the start.
#[derive(Default)]
pub(super) struct Done {
    pub(super) commits: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) failures: AtomicU64,
}

/// A command on its way to the writer.
pub(super) struct Task {
    pub(super) command: Command,
    /// The caller who waits; `None` when the writer takes back what it did for a caller who has left.
    pub(super) reply: Option<oneshot::Sender<Result<Answer, Fault>>>,
    /// True when an attempt that failed may have written it.
    pub(super) begun: bool,
}

impl Task {
    /// True when the caller has left.
    pub(super) fn is_left(&self) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// True when the command claims calls: repeated, it lists others.
    pub(super) const fn claims(&self) -> bool {
        matches!(self.command, Command::Upkeep(Upkeep::Claim(..)))
    }

    /// True when no caller waits for the command, so that it may wait for others.
    pub(super) fn can_wait(&self) -> bool {
        matches!(&self.command, Command::Paid(command) if command.can_wait())
    }
}

/// The queue to the writer.
pub(super) struct Queue {
    pub(super) sender: mpsc::Sender<Task>,
    pub(super) status: Status,
    pub(super) done: Arc<Done>,
    pub(super) timeout: Duration,
    pub(super) closing: CancellationToken,
    pub(super) tracker: TaskTracker,
}

impl Queue {
    /// Returns a queue that refuses every command.
    pub(super) fn closed() -> Self {
        Self::new(mpsc::channel(1).0, Duration::ZERO)
    }

    /// Returns a queue whose callers wait at most `timeout`.
    pub(super) fn new(sender: mpsc::Sender<Task>, timeout: Duration) -> Self {
        Self {
            sender,
            status: Status::default(),
            done: Arc::default(),
            timeout,
            closing: CancellationToken::new(),
            tracker: TaskTracker::new(),
        }
    }

    /// Carries the command out. When this fails, or the caller leaves, the command has not happened or is taken back.
    pub(super) async fn submit(&self, command: Command) -> Result<Answer, RecordsError> {
        let operation = command.operation();
        spanned(operation, self.carry_out(command), RecordsError::code).await
    }

    async fn carry_out(&self, command: Command) -> Result<Answer, RecordsError> {
        if let Some(fault) = self.status.lock().clone() {
            return Err(fault.into());
        }
        let (reply, mut answer) = oneshot::channel();
        let (reply, begun) = (Some(reply), false);
        let task = Task {
            command,
            reply,
            begun,
        };
        self.sender.try_send(task).map_err(|error| match error {
            TrySendError::Full(_) => RecordsError::Full,
            TrySendError::Closed(_) => RecordsError::Closed,
        })?;
        if let Ok(answered) = timeout(self.timeout, &mut answer).await {
            let answered = answered.map_err(|_| RecordsError::Closed)?;
            return answered.map_err(RecordsError::from);
        }
        // Either the answer is there by now, or the writer sees that the caller has left.
        answer.close();
        let answered = answer.try_recv().map_err(|_| RecordsError::TimedOut)?;
        answered.map_err(RecordsError::from)
    }

    /// Returns whether anything can be written. A writer that is gone before it was closed is as bad as a database
    /// that is gone.
    pub(super) fn condition(&self) -> RecordsCondition {
        let is_dead = self.sender.is_closed() && !self.closing.is_cancelled();
        if is_dead || self.status.lock().is_some() {
            RecordsCondition::Down
        } else {
            RecordsCondition::Operational
        }
    }

    /// Returns what waits, and what the writer did.
    pub(super) fn figures(&self) -> Figures {
        Figures {
            waiting: self.sender.max_capacity() - self.sender.capacity(),
            commits: self.done.commits.load(Relaxed),
            written: self.done.written.load(Relaxed),
            dropped: self.done.dropped.load(Relaxed),
            failures: self.done.failures.load(Relaxed),
        }
    }

    /// Lets the writer finish, and waits for it.
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
    async fn a_writer_that_died_is_down_and_a_writer_that_was_closed_is_not() {
        let (sender, receiver) = mpsc::channel(1);
        let queue = Queue::new(sender, Duration::ZERO);
        assert_eq!(queue.condition(), RecordsCondition::Operational);
        drop(receiver);
        assert_eq!(queue.condition(), RecordsCondition::Down);
        queue.close().await;
        assert_eq!(queue.condition(), RecordsCondition::Operational);
    }
}
