//! The one writer: commits the commands that wait in one transaction (group commit), and then answers their callers.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for a database on the real clock, whatever clock the records are dated by"
)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout_at};
use tokio_util::sync::CancellationToken;

use super::OpenError;
use super::command::{self, Answer, Command, Paid};
use super::database::{Base, Connection, Fault, Severity};
use super::queue::{Done, Queue, Status, Task};
use super::sums::Numbered;
use crate::clock::Clock;
use crate::domain::Settlement;

/// Bound of the queue, in commands.
const LONGEST: usize = 1024;

/// Most commands of one transaction.
const BATCH: usize = 200;

/// Interval between attempts to reach a database that failed, and between looks at one that did not.
const LOOK: Duration = Duration::from_secs(1);

/// Transactions of commands that can all wait begin so far apart, at least. Each transaction costs milliseconds of processor
/// time however many commands it carries, and thousands of calls are counted in a second.
const PACE: Duration = Duration::from_millis(100);

/// Most retries of a transaction that other writers were in the way of.
const CONFLICTS: usize = 5;

/// Most settlements that wait for a database that is down. Beyond them the oldest reservations stay counted.
const OWED: usize = 10_000;

/// The writer. It runs until the queue is closed or dropped.
pub(super) struct Writer {
    base: Box<dyn Base>,
    connection: Option<Box<dyn Connection>>,
    queue: mpsc::Receiver<Task>,
    status: Status,
    done: Arc<Done>,
    /// Settlements of reservations whose caller already received an error. They are written when the database is
    /// reachable again.
    owed: VecDeque<Settlement>,
    numbered: Numbered,
    look: Interval,
    /// When the last transaction of commands that can all wait began.
    paced: Instant,
    closing: CancellationToken,
    clock: Arc<dyn Clock>,
}

impl Writer {
    /// Starts a writer to `base`. Callers wait at most `timeout`.
    pub(super) async fn start(
        base: impl Base + 'static,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Result<Queue, OpenError> {
        let unusable = |fault: Fault| sqlx::Error::Configuration(fault.into());
        let connection = base.connect().await.map_err(unusable)?;
        let (sender, receiver) = mpsc::channel(LONGEST);
        let queue = Queue::new(sender, timeout);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let writer = Self {
            base: Box::new(base),
            connection: Some(connection),
            queue: receiver,
            status: Arc::clone(&queue.status),
            done: Arc::clone(&queue.done),
            owed: VecDeque::new(),
            numbered: Numbered::default(),
            look,
            paced: Instant::now(),
            closing: queue.closing.clone(),
            clock,
        };
        queue.tracker.spawn(writer.run());
        Ok(queue)
    }

    async fn run(mut self) {
        while let Some(tasks) = self.next().await {
            let is_paid = |task: &Task| matches!(task.command, Command::Paid(_));
            let (batch, alone): (Vec<_>, Vec<_>) = tasks.into_iter().partition(is_paid);
            if !batch.is_empty() {
                self.write(batch).await;
            }
            self.write_singly(alone).await;
        }
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }

    /// Waits for the next tasks. Settlements that are owed come first, and then the tasks that wait.
    async fn next(&mut self) -> Option<Vec<Task>> {
        let mut tasks = Vec::new();
        loop {
            if self.connection.is_some() && !self.owed.is_empty() {
                let owed = self.owed.drain(..self.owed.len().min(BATCH));
                tasks.extend(owed.map(unasked));
                while tasks.len() < BATCH
                    && let Ok(task) = self.queue.try_recv()
                {
                    tasks.push(task);
                }
                return Some(tasks);
            }
            tokio::select! {
                biased;
                number = self.queue.recv_many(&mut tasks, BATCH) => {
                    self.gather(&mut tasks).await;
                    return (number > 0).then_some(tasks);
                }
                () = self.closing.cancelled(), if !self.queue.is_closed() => self.queue.close(),
                _ = self.look.tick() => self.look().await,
            }
        }
    }

    /// While all tasks can wait and the last such transaction was a moment ago, waits for more tasks. The first command that
    /// cannot wait is written at once, with all that waits.
    async fn gather(&mut self, tasks: &mut Vec<Task>) {
        let next = self.paced + PACE;
        let mut known = 0;
        while tasks[known..].iter().all(Task::can_wait) {
            known = tasks.len();
            let room = BATCH.saturating_sub(known);
            let more = timeout_at(next, self.queue.recv_many(tasks, room)).await;
            if !matches!(more, Ok(1..)) {
                self.paced = Instant::now();
                return;
            }
        }
    }

    /// Writes the tasks and answers their callers.
    async fn write(&mut self, mut tasks: Vec<Task>) {
        let mut conflicts = 0;
        let mut reopened = false;
        loop {
            let fault = match self.attempt(&mut tasks).await {
                Ok(answers) => return self.complete(tasks, answers),
                Err(fault) => fault,
            };
            match fault.severity {
                Severity::Conflict if conflicts < CONFLICTS => conflicts += 1,
                Severity::Command if tasks.len() > 1 => return self.write_singly(tasks).await,
                Severity::Command => return refuse(tasks, &fault),
                Severity::Lost if !reopened => {
                    reopened = true;
                    self.connection = None;
                    self.reopen().await;
                    // Calls that were claimed are not listed again, so that the caller has to look for them.
                    if tasks.iter().any(Task::claims) {
                        return refuse(tasks, &fault);
                    }
                }
                Severity::Lost | Severity::Conflict | Severity::Broken => {
                    return self.go_down(tasks, &fault);
                }
            }
        }
    }

    /// Writes the tasks one by one, so that only those fail that cannot be written.
    async fn write_singly(&mut self, tasks: Vec<Task>) {
        for task in tasks {
            Box::pin(self.write(vec![task])).await;
        }
    }

    /// Runs one transaction. Answers nobody yet.
    async fn attempt(&mut self, tasks: &mut Vec<Task>) -> Result<Vec<Answer>, Fault> {
        let Some(connection) = self.connection.as_deref_mut() else {
            let down = || Fault::new(Severity::Broken, "the database is out of reach");
            return Err(self.status.lock().clone().unwrap_or_else(down));
        };
        let now = connection.begin().await?;
        // Only now: `begin` may have waited for another process' transaction.
        tasks.retain(|task| {
            let left = task.is_left();
            if left && task.begun {
                self.owed.extend(task.command.withdrawal(self.clock.now()));
            }
            !left
        });
        if tasks.is_empty() {
            connection.rollback().await?;
            return Ok(Vec::new());
        }
        let commands: Vec<_> = tasks.iter().map(|task| &task.command).collect();
        let is_first = !tasks.iter().any(|task| task.begun);
        let first = is_first.then_some(&mut self.numbered);
        let carried_out = command::carry_out(connection, &commands, now, first).await;
        for task in tasks.iter_mut() {
            task.begun = true;
        }
        match carried_out {
            Ok(answers) => {
                connection.commit().await?;
                self.done.commits.fetch_add(1, Relaxed);
                self.done.written.fetch_add(answers.len() as u64, Relaxed);
                Ok(answers)
            }
            Err(fault) if matches!(fault.severity, Severity::Command | Severity::Conflict) => {
                connection.rollback().await.and(Err(fault))
            }
            Err(fault) => Err(fault),
        }
    }

    /// Answers the callers. What was written for a caller who has left is taken back.
    fn complete(&mut self, tasks: Vec<Task>, answers: Vec<Answer>) {
        for (task, answer) in tasks.into_iter().zip(answers) {
            let Some(reply) = task.reply else { continue };
            if let Err(Ok(Ok(_))) = reply.send(Ok(answer)) {
                self.owed.extend(task.command.withdrawal(self.clock.now()));
            }
        }
    }

    /// Stops writing until the database has been opened again.
    fn go_down(&mut self, tasks: Vec<Task>, fault: &Fault) {
        self.connection = None;
        if self.status.lock().replace(fault.clone()).is_none() {
            self.done.failures.fetch_add(1, Relaxed);
            tracing::error!(
                cause = %fault,
                "the database cannot be written: no client secret is minted until it can be (see ledger.url)"
            );
        }
        for task in &tasks {
            match (&task.command, &task.reply) {
                (Command::Paid(Paid::Settle(settlement)), None) => {
                    self.owed.push_back((**settlement).clone());
                }
                (command, _) if task.begun => {
                    self.owed.extend(command.withdrawal(self.clock.now()));
                }
                _ => {}
            }
        }
        let too_many = self.owed.len().saturating_sub(OWED);
        self.done.dropped.fetch_add(too_many as u64, Relaxed);
        self.owed.drain(..too_many);
        refuse(tasks, fault);
    }

    /// Looks whether the database is still there, or is there again.
    async fn look(&mut self) {
        let Some(connection) = &mut self.connection else {
            return self.reopen().await;
        };
        if let Err(fault) = connection.assert_lasting().await {
            self.go_down(Vec::new(), &fault);
        }
    }

    async fn reopen(&mut self) {
        match self.base.connect().await {
            Ok(connection) => {
                self.connection = Some(connection);
                if self.status.lock().take().is_some() {
                    tracing::info!("the database can be written again");
                }
            }
            Err(fault) => self.go_down(Vec::new(), &fault),
        }
    }
}

/// Answers all callers with the error.
fn refuse(tasks: Vec<Task>, fault: &Fault) {
    for reply in tasks.into_iter().filter_map(|task| task.reply) {
        // A caller who has left needs no answer.
        let _ = reply.send(Err(fault.clone()));
    }
}

/// Returns the task of a settlement that nobody waits for.
fn unasked(settlement: Settlement) -> Task {
    let command = Command::Paid(Paid::Settle(Box::new(settlement)));
    let (reply, begun) = (None, false);
    Task {
        command,
        reply,
        begun,
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use crate::domain::{CallStep, EndReason, EntryId};
    use crate::records::Spending;
    use crate::records::database::Bind;
    use crate::records::statement::Statement;

    const TIMEOUT: Duration = Duration::from_secs(5);
    const MOMENT: Duration = Duration::from_millis(1);

    /// A database that keeps nothing and takes no time.
    struct Empty;

    #[async_trait]
    impl Base for Empty {
        async fn connect(&self) -> Result<Box<dyn Connection>, Fault> {
            Ok(Box::new(Self))
        }
    }

    #[async_trait]
    impl Connection for Empty {
        async fn begin(&mut self) -> Result<Timestamp, Fault> {
            Ok(Timestamp::from_seconds(0))
        }

        async fn commit(&mut self) -> Result<(), Fault> {
            Ok(())
        }

        async fn rollback(&mut self) -> Result<(), Fault> {
            Ok(())
        }

        async fn change(&mut self, _: &'static Statement, _: &[Bind]) -> Result<u64, Fault> {
            Ok(0)
        }

        async fn list(&mut self, _: &'static Statement, _: &[Bind]) -> Result<String, Fault> {
            Ok("[]".to_owned())
        }

        async fn close(self: Box<Self>) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_cannot_wait_is_written_at_once_with_those_that_wait() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(0)));
        let queue = Writer::start(Empty, clock, TIMEOUT).await.unwrap();
        let entry = EntryId::new(Timestamp::from_seconds(0));
        let submit = async |command| {
            let began = Instant::now();
            queue.submit(Command::Paid(command)).await.unwrap().unwrap();
            began.elapsed()
        };
        let spending = Spending {
            can_wait: true,
            ..Spending::default()
        };
        let spend = || submit(Paid::Spend(entry, Box::new(spending.clone())));
        let end = CallStep::End(EndReason::Operator).by_anybody();
        spend().await;
        let alone = spend().await;
        assert!((PACE..PACE + MOMENT * 2).contains(&alone), "{alone:?}");
        let before = queue.figures().commits;
        let (waited, at_once) = tokio::join!(spend(), async {
            tokio::time::sleep(MOMENT * 5).await;
            submit(Paid::ChangeCall(entry, Box::new(end))).await
        });
        assert_eq!(at_once, Duration::ZERO);
        assert_eq!(queue.figures().commits - before, 1);
        assert!(waited < PACE, "{waited:?}");
    }
}
