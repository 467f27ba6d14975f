//! The one writer: commits the commands that wait in one transaction (group commit), and then answers their callers.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for a database on the real clock, whatever clock the records are dated by"
)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::command::{Applied, Batched, Command};
use super::database::{Base, Connection, Fault, Severity};
use super::maintenance::Single;
use super::queue::{Job, LONGEST, Queue, Status, Task};
use crate::clock::Clock;
use crate::domain::Settlement;

/// Most commands of one transaction.
const BATCH: usize = 200;

/// Interval between attempts to reach a database that failed.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Most retries of a transaction that other writers were in the way of.
const CONFLICTS: usize = 5;

/// Most settlements that wait for a database that is down. Beyond them the oldest reservations stay counted.
const OWED: usize = 10_000;

/// The writer. It runs until the queue is closed or dropped.
pub(super) struct Writer {
    base: Box<dyn Base>,
    connection: Option<Box<dyn Connection>>,
    queue: mpsc::Receiver<Job>,
    status: Status,
    /// Settlements of reservations whose caller already received an error. They are written when the database is
    /// reachable again.
    owed: VecDeque<Settlement>,
    try_again: Interval,
    closing: CancellationToken,
    clock: Arc<dyn Clock>,
}

impl Writer {
    /// Starts a writer to `base` over `connection`. Callers wait at most `timeout`.
    pub(super) fn start(
        base: Box<dyn Base>,
        connection: Box<dyn Connection>,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Queue {
        let (sender, queue) = mpsc::channel(LONGEST);
        let (status, closing) = (Status::default(), CancellationToken::new());
        let mut try_again = interval(TRY_AGAIN);
        try_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let writer = Self {
            base,
            connection: Some(connection),
            queue,
            status: status.clone(),
            owed: VecDeque::new(),
            try_again,
            closing: closing.clone(),
            clock,
        };
        let tracker = TaskTracker::new();
        tracker.spawn(writer.run());
        Queue {
            sender,
            status,
            timeout,
            closing,
            tracker,
        }
    }

    async fn run(mut self) {
        while let Some(jobs) = self.next().await {
            let (mut batch, mut others) = (Vec::new(), Vec::new());
            for job in jobs {
                match job {
                    Job::Batched(task) => batch.push(task),
                    Job::Single(task) => others.push(task),
                }
            }
            if !batch.is_empty() {
                self.write(batch).await;
            }
            for task in others {
                self.write::<Single>(vec![task]).await;
            }
        }
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }

    /// Waits for the next jobs. Settlements that are owed come first, and then the jobs that wait.
    async fn next(&mut self) -> Option<Vec<Job>> {
        let mut jobs = Vec::new();
        loop {
            if self.connection.is_some() && !self.owed.is_empty() {
                let owed = self.owed.drain(..self.owed.len().min(BATCH));
                jobs.extend(owed.map(unasked));
                while jobs.len() < BATCH
                    && let Ok(job) = self.queue.try_recv()
                {
                    jobs.push(job);
                }
                return Some(jobs);
            }
            tokio::select! {
                biased;
                number = self.queue.recv_many(&mut jobs, BATCH) => return (number > 0).then_some(jobs),
                () = self.closing.cancelled(), if !self.queue.is_closed() => self.queue.close(),
                _ = self.try_again.tick(), if self.connection.is_none() => self.reopen().await,
            }
        }
    }

    /// Writes the tasks and answers their callers.
    async fn write<C: Command>(&mut self, mut tasks: Vec<Task<C>>) {
        let mut conflicts = 0;
        let mut reopened = false;
        loop {
            let fault = match self.attempt(&mut tasks).await {
                Ok(applied) => return self.complete(tasks, applied).await,
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
                }
                Severity::Lost | Severity::Conflict | Severity::Broken => {
                    return self.go_down(tasks, &fault);
                }
            }
        }
    }

    /// Writes the tasks one by one, so that only those fail that cannot be written.
    async fn write_singly<C: Command>(&mut self, tasks: Vec<Task<C>>) {
        for task in tasks {
            Box::pin(self.write(vec![task])).await;
        }
    }

    /// Runs one transaction. Answers nobody yet.
    async fn attempt<C: Command>(
        &mut self,
        tasks: &mut Vec<Task<C>>,
    ) -> Result<Applied<C::Answer>, Fault> {
        let Some(connection) = self.connection.as_deref_mut() else {
            let down = || Fault::new(Severity::Broken, "the database is out of reach");
            return Err(self.status.fault().unwrap_or_else(down));
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
        let commands: Vec<_> = tasks.iter().map(|task| &task.command).collect();
        if commands.is_empty() {
            connection.rollback().await?;
            let (answers, rows) = (Vec::new(), 0);
            return Ok(Applied { answers, rows });
        }
        let applied = C::apply(connection, &commands, now).await;
        for task in tasks.iter_mut() {
            task.begun = true;
        }
        match applied {
            Ok(applied) => connection.commit().await.map(|()| applied),
            Err(fault) if matches!(fault.severity, Severity::Command | Severity::Conflict) => {
                connection.rollback().await.and(Err(fault))
            }
            Err(fault) => Err(fault),
        }
    }

    async fn complete<C: Command>(&mut self, tasks: Vec<Task<C>>, applied: Applied<C::Answer>) {
        for (task, answer) in tasks.into_iter().zip(applied.answers) {
            let Some(reply) = task.reply else { continue };
            if let Err(Ok(answer)) = reply.send(Ok(answer))
                && C::is_written(&answer)
            {
                self.owed.extend(task.command.withdrawal(self.clock.now()));
            }
        }
        if let Some(connection) = self.connection.as_deref_mut()
            && let Err(fault) = connection.tidy(applied.rows).await
        {
            self.go_down::<Batched>(Vec::new(), &fault);
        }
    }

    /// Stops writing until the database has been opened again.
    fn go_down<C: Command>(&mut self, tasks: Vec<Task<C>>, fault: &Fault) {
        if self.status.fault().is_none() {
            tracing::error!(
                cause = %fault,
                "the database cannot be written: no client secret is minted until it can be (see ledger.url)"
            );
        }
        self.connection = None;
        self.status.set(Some(fault.clone()));
        for task in &tasks {
            if let (Some(settlement), None) = (task.command.owed(), &task.reply) {
                self.owed.push_back(settlement.clone());
            } else if task.begun {
                self.owed.extend(task.command.withdrawal(self.clock.now()));
            }
        }
        let too_many = self.owed.len().saturating_sub(OWED);
        self.owed.drain(..too_many);
        refuse(tasks, fault);
    }

    async fn reopen(&mut self) {
        match self.base.connect().await {
            Ok(connection) => {
                if self.status.fault().is_some() {
                    tracing::info!("the database can be written again");
                }
                self.connection = Some(connection);
                self.status.set(None);
            }
            Err(fault) => self.go_down::<Batched>(Vec::new(), &fault),
        }
    }
}

/// Answers all callers with the error.
fn refuse<C: Command>(tasks: Vec<Task<C>>, fault: &Fault) {
    for reply in tasks.into_iter().filter_map(|task| task.reply) {
        // A caller who has left needs no answer.
        let _ = reply.send(Err(fault.clone()));
    }
}

/// Returns the job of a settlement that nobody waits for.
fn unasked(settlement: Settlement) -> Job {
    Job::Batched(Task {
        command: Batched::Settle(Box::new(settlement)),
        reply: None,
        begun: false,
    })
}
