//! Owns the one writer: what waits is written at once, in one transaction, and then everybody is answered.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for another machine on the real clock until its room takes a Clock"
)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::database::{Base, Connection, Fault, Severity};
use super::queue::{Job, LONGEST, Queue, Status};
use super::transaction::{Answer, Applied, Command, apply};
use crate::clock::Clock;
use crate::domain::{EntryId, Outcome, Settlement};

/// Most commands of one transaction.
const BATCH: usize = 200;

/// How often a database that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How often a transaction is tried that others were in the way of.
const CONFLICTS: usize = 5;

/// Most reservations that are remembered for being given back; beyond them the oldest stay counted.
const OWED: usize = 10_000;

/// The code of reservations that nobody waited for any longer.
const ABANDONED: &str = "abandoned";

/// Writes until the queue is closed or forgotten.
pub(super) struct Writer {
    base: Box<dyn Base>,
    connection: Option<Box<dyn Connection>>,
    queue: mpsc::Receiver<Job>,
    status: Status,
    /// What was reserved, or may have been, for somebody who was told otherwise.
    owed: VecDeque<Settlement>,
    try_again: Interval,
    closing: CancellationToken,
    clock: Arc<dyn Clock>,
}

impl Writer {
    /// Starts writing to `base`, where `connection` leads; callers wait at most `timeout`.
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
            let (frequent, others): (Vec<_>, Vec<_>) =
                jobs.into_iter().partition(|job| job.command.is_frequent());
            if !frequent.is_empty() {
                self.write(frequent).await;
            }
            for job in others {
                self.write(vec![job]).await;
            }
        }
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }

    /// What is to be written next: what waits now, or else what comes first.
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

    /// Writes the jobs and answers them.
    async fn write(&mut self, mut jobs: Vec<Job>) {
        let mut conflicts = 0;
        let mut reopened = false;
        loop {
            let fault = match self.attempt(&mut jobs).await {
                Ok(applied) => return self.complete(jobs, applied).await,
                Err(fault) => fault,
            };
            match fault.severity {
                Severity::Conflict if conflicts < CONFLICTS => conflicts += 1,
                Severity::Command if jobs.len() > 1 => return self.write_singly(jobs).await,
                Severity::Command => return refuse(jobs, &fault),
                Severity::Lost if !reopened => {
                    reopened = true;
                    self.connection = None;
                    self.reopen().await;
                }
                Severity::Lost | Severity::Conflict | Severity::Broken => {
                    return self.go_down(jobs, &fault);
                }
            }
        }
    }

    /// One by one, so that only those fail that cannot be written.
    async fn write_singly(&mut self, jobs: Vec<Job>) {
        for job in jobs {
            Box::pin(self.write(vec![job])).await;
        }
    }

    /// One transaction. Nobody is answered yet.
    async fn attempt(&mut self, jobs: &mut Vec<Job>) -> Result<Applied, Fault> {
        let Some(connection) = self.connection.as_deref_mut() else {
            let down = || Fault::new(Severity::Broken, "the database is out of reach");
            return Err(self.status.fault().unwrap_or_else(down));
        };
        connection.begin().await?;
        // Only now: this may have waited for somebody else's transaction.
        jobs.retain(|job| {
            let left = job.is_left();
            if left && job.begun {
                self.owed.extend(withdrawal(job, &*self.clock));
            }
            !left
        });
        let commands: Vec<_> = jobs.iter().map(|job| &job.command).collect();
        if commands.is_empty() {
            connection.rollback().await?;
            let (answers, rows) = (Vec::new(), 0);
            return Ok(Applied { answers, rows });
        }
        let applied = apply(connection, &commands, self.clock.now()).await;
        for job in jobs.iter_mut() {
            job.begun = true;
        }
        match applied {
            Ok(applied) => connection.commit().await.map(|()| applied),
            Err(fault) if matches!(fault.severity, Severity::Command | Severity::Conflict) => {
                connection.rollback().await.and(Err(fault))
            }
            Err(fault) => Err(fault),
        }
    }

    async fn complete(&mut self, jobs: Vec<Job>, applied: Applied) {
        for (job, answer) in jobs.into_iter().zip(applied.answers) {
            let withdrawal = withdrawal(&job, &*self.clock);
            let Some(reply) = job.reply else { continue };
            if reply.send(Ok(answer)).is_err() && answer == Answer::Done {
                self.owed.extend(withdrawal);
            }
        }
        if let Some(connection) = self.connection.as_deref_mut()
            && let Err(fault) = connection.tidy(applied.rows).await
        {
            self.go_down(Vec::new(), &fault);
        }
    }

    /// Nothing is written any longer until the database has been opened afresh.
    fn go_down(&mut self, jobs: Vec<Job>, fault: &Fault) {
        if self.status.fault().is_none() {
            tracing::error!(cause = %fault, "the ledger cannot be written");
        }
        self.connection = None;
        self.status.set(Some(fault.clone()));
        for job in &jobs {
            if let (Command::Settle(settlement), None) = (&job.command, &job.reply) {
                self.owed.push_back(settlement.clone());
            } else if job.begun {
                self.owed.extend(withdrawal(job, &*self.clock));
            }
        }
        let too_many = self.owed.len().saturating_sub(OWED);
        self.owed.drain(..too_many);
        refuse(jobs, fault);
    }

    async fn reopen(&mut self) {
        match self.base.connect().await {
            Ok(connection) => {
                if self.status.fault().is_some() {
                    tracing::info!("the ledger can be written again");
                }
                self.connection = Some(connection);
                self.status.set(None);
            }
            Err(fault) => self.go_down(Vec::new(), &fault),
        }
    }
}

/// Everybody learns what went wrong.
fn refuse(jobs: Vec<Job>, fault: &Fault) {
    for reply in jobs.into_iter().filter_map(|job| job.reply) {
        // Whoever has left need not know.
        let _ = reply.send(Err(fault.clone()));
    }
}

/// A settlement that nobody waits for.
fn unasked(settlement: Settlement) -> Job {
    Job {
        command: Command::Settle(settlement),
        reply: None,
        begun: false,
    }
}

/// What takes a reservation back.
fn withdrawal(job: &Job, clock: &dyn Clock) -> Option<Settlement> {
    let Command::Reserve(intent) = &job.command else {
        return None;
    };
    Some(given_back(intent.id, clock))
}

fn given_back(id: EntryId, clock: &dyn Clock) -> Settlement {
    Settlement {
        id,
        at: clock.now(),
        took: Duration::ZERO,
        outcome: Outcome::Failed { code: ABANDONED },
    }
}
