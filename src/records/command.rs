//! The commands of the writer: which of them are written many at once, and what each one does in its transaction.

use async_trait::async_trait;

use super::database::{Connection, Fault};
use super::entries;
use super::plan::Plan;
use super::queue::{Job, Task};
use super::session_row::SessionRow;
use super::sessions::Rows;
use super::{Advance, Dated, Exceeded};
use crate::clock::Timestamp;
use crate::domain::{EntryId, Intent, Outcome, Refusal, SessionChange, SessionKey, Settlement};

/// A command of the writer.
#[async_trait]
pub(super) trait Command: Clone + Send + Sync + Sized + 'static {
    /// The result of one command.
    type Answer: Send;

    /// Returns the job that carries the command to the writer.
    fn job(task: Task<Self>) -> Job;

    /// Carries the commands out in an open transaction that began at `now`, on the database's clock.
    async fn apply(
        connection: &mut dyn Connection,
        commands: &[&Self],
        now: Timestamp,
    ) -> Result<Applied<Self::Answer>, Fault>;

    /// Returns the settlement that takes the command back when its caller has left.
    fn withdrawal(&self, at: Timestamp) -> Option<Settlement>;

    /// True when `answer` says that something was written which a withdrawal takes back.
    fn is_written(answer: &Self::Answer) -> bool;

    /// Returns the settlement that has to be written even if nobody waits for it.
    fn owed(&self) -> Option<&Settlement>;
}

/// The results of a transaction.
#[derive(Debug)]
pub(super) struct Applied<A> {
    /// One for each command.
    pub(super) answers: Vec<A>,
    /// The number of rows written.
    pub(super) rows: usize,
}

/// The code of reservations whose caller has left.
const ABANDONED: &str = "abandoned";

/// A command of the paid path. Many are written in one transaction.
#[derive(Clone, Debug)]
pub(super) enum Batched {
    /// Records an intent.
    Reserve(Box<Intent>),
    /// Records the intent of a refresh, and moves its session on.
    Advance(Box<Intent>, Advance),
    /// Records an outcome, and changes the session along with it.
    Settle(Box<Settlement>),
}

/// The result of a [`Batched`] command.
#[derive(Debug)]
pub(super) enum Answer {
    /// Done. A session that was opened or moved on comes with it.
    Done(Option<Dated>),
    /// The quota has no place left.
    Exceeded(Exceeded),
    /// The session may not be refreshed.
    Refused(Refusal),
    /// There is no such session.
    Unknown,
}

/// The settlement of a reservation whose caller was told that it failed, or has left.
fn abandoned(id: EntryId, at: Timestamp, session: SessionChange) -> Settlement {
    Settlement {
        id,
        at,
        took: std::time::Duration::ZERO,
        outcome: Outcome::Failed { code: ABANDONED },
        session,
    }
}

#[async_trait]
impl Command for Batched {
    type Answer = Answer;

    fn job(task: Task<Self>) -> Job {
        Job::Batched(task)
    }

    async fn apply(
        connection: &mut dyn Connection,
        commands: &[&Self],
        now: Timestamp,
    ) -> Result<Applied<Answer>, Fault> {
        let ids = commands.iter().map(|command| command.entry().to_string());
        let known = entries::read(connection, ids.collect()).await?;
        let mut plan = Plan::over(known);
        entries::read_counters(connection, &mut plan, commands).await?;
        let keys = commands.iter().filter_map(|command| command.session());
        let mut sessions = Rows::read(connection, keys.collect()).await?;
        let answers = commands
            .iter()
            .map(|command| command.decide(&mut plan, &mut sessions, now))
            .collect();
        let rows = plan.added.len() + plan.settled.len();
        entries::write(connection, &plan).await?;
        let rows = rows + sessions.write(connection).await?;
        Ok(Applied { answers, rows })
    }

    fn withdrawal(&self, at: Timestamp) -> Option<Settlement> {
        match self {
            Self::Reserve(intent) => Some(abandoned(intent.id, at, SessionChange::Keep)),
            Self::Advance(intent, _) => {
                let given_back = SessionChange::GiveBack(intent.session);
                Some(abandoned(intent.id, at, given_back))
            }
            Self::Settle(_) => None,
        }
    }

    fn is_written(answer: &Answer) -> bool {
        matches!(answer, Answer::Done(_))
    }

    fn owed(&self) -> Option<&Settlement> {
        match self {
            Self::Settle(settlement) => Some(settlement),
            Self::Reserve(_) | Self::Advance(..) => None,
        }
    }
}

impl Batched {
    pub(super) const fn entry(&self) -> EntryId {
        match self {
            Self::Reserve(intent) | Self::Advance(intent, _) => intent.id,
            Self::Settle(settlement) => settlement.id,
        }
    }

    /// Returns the session whose row has to be read.
    fn session(&self) -> Option<SessionKey> {
        match self {
            Self::Reserve(_) => None,
            Self::Advance(intent, _) => Some(intent.session),
            Self::Settle(settlement) => match &settlement.session {
                SessionChange::GiveBack(key) | SessionChange::Close(key) => Some(*key),
                SessionChange::Keep | SessionChange::Open { .. } => None,
            },
        }
    }

    fn decide<'a>(&'a self, plan: &mut Plan<'a>, sessions: &mut Rows, now: Timestamp) -> Answer {
        match self {
            Self::Reserve(intent) => reserve(plan, intent, None),
            Self::Advance(intent, asked) => advance(plan, sessions, (intent, asked, now)),
            Self::Settle(settlement) => {
                let is_accepted = plan.settle(settlement);
                let opened = is_accepted.then(|| change(sessions, settlement, now));
                Answer::Done(opened.flatten())
            }
        }
    }
}

fn reserve<'a>(plan: &mut Plan<'a>, intent: &'a Intent, session: Option<Dated>) -> Answer {
    match plan.reserve(intent) {
        Ok(()) => Answer::Done(session),
        Err(exceeded) => Answer::Exceeded(exceeded),
    }
}

/// The session moves on in the transaction that records its refresh, if its row allows it.
fn advance<'a>(
    plan: &mut Plan<'a>,
    sessions: &mut Rows,
    (intent, asked, now): (&'a Intent, &Advance, Timestamp),
) -> Answer {
    let key = intent.session;
    // An earlier attempt was committed although its answer was lost.
    if plan.knows(intent.id) {
        let session = sessions.get(key).and_then(SessionRow::read);
        return Answer::Done(session.map(|session| Dated { session, now }));
    }
    let judge = |session: &_| asked.judge(session, now);
    match sessions.advance(key, intent.id, judge) {
        None => Answer::Unknown,
        Some(Err(refusal)) => Answer::Refused(refusal),
        Some(Ok(session)) => reserve(plan, intent, Some(Dated { session, now })),
    }
}

/// Changes the session along with an outcome that was accepted. Returns a session that was opened.
fn change(sessions: &mut Rows, settlement: &Settlement, now: Timestamp) -> Option<Dated> {
    match &settlement.session {
        SessionChange::Keep => None,
        SessionChange::Open { key, session, most } => {
            let session = session.opened_at(now);
            let row = SessionRow::open(*key, &session, settlement.id);
            sessions.open(row, *most);
            Some(Dated { session, now })
        }
        SessionChange::GiveBack(key) => {
            sessions.give_back(*key, settlement.id);
            None
        }
        SessionChange::Close(key) => {
            sessions.close(*key, settlement.id);
            None
        }
    }
}
