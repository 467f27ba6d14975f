//! The commands of the writer, and what each one does in its transaction.

use std::time::Duration;

use super::book::{Book, Done};
use super::calls::{self, Dialled, Spending};
use super::database::{Bind, Connection, Fault};
use super::entry::State;
use super::statement::Statement;
use super::sums::Numbered;
use super::{Advance, ReserveError, entries, sessions, tickets};
use crate::clock::Timestamp;
use crate::domain::{
    CallChange, CallStep, EntryId, Intent, Kind, Outcome, SessionChange, SessionKey, Settlement,
};

/// The code of reservations whose caller has left.
const ABANDONED: &str = "abandoned";

/// A command of the writer.
#[derive(Clone)]
pub(super) enum Command {
    /// Written with others in one transaction.
    Paid(Paid),
    /// Written alone.
    Upkeep(Upkeep),
}

/// A command of the paid path.
#[derive(Clone)]
pub(super) enum Paid {
    /// Records an intent. For a refresh, moves its session on.
    Reserve(Box<Intent>, Option<Advance>),
    /// Records an outcome, and changes the session along with it.
    Settle(Box<Settlement>),
    /// Records an intent, and the call that comes of it.
    OpenCall(Box<Dialled>),
    /// Changes the call of an entry.
    ChangeCall(EntryId, Box<CallChange>),
    /// Changes the call of an entry along with the outcome of the entry.
    Answer(Box<Settlement>, Vec<CallChange>),
    /// Adds uses to the call of an entry, and holds more money for it.
    Spend(EntryId, Box<Spending>),
}

/// A command off the paid path.
#[derive(Clone)]
pub(super) enum Upkeep {
    /// Runs one statement.
    Run(&'static Statement, Vec<Bind>),
    /// Removes the entries that a statement lists.
    Remove(&'static Statement, Vec<Bind>),
    /// Settles as uncertain, with a code, some entries that were left pending.
    GiveUp(Vec<Bind>, &'static str),
    /// Gives calls to a replica.
    Claim(Vec<Bind>, Box<str>),
}

/// The result of a command.
pub(super) type Answer = Result<Done, ReserveError>;

impl Command {
    /// Returns the name of the command in traces.
    pub(super) const fn operation(&self) -> &'static str {
        match self {
            Self::Paid(Paid::Reserve(_, None)) => "ledger reserve",
            Self::Paid(Paid::Reserve(_, Some(_))) => "ledger advance",
            Self::Paid(Paid::Settle(_)) => "ledger settle",
            Self::Paid(Paid::OpenCall(_)) => "ledger open call",
            Self::Paid(Paid::ChangeCall(..)) => "ledger change call",
            Self::Paid(Paid::Answer(..)) => "ledger answer call",
            Self::Paid(Paid::Spend(..)) => "ledger spend call",
            Self::Upkeep(_) => "ledger upkeep",
        }
    }

    /// Returns the settlement that takes the command back when its caller was told that it failed, or has left.
    pub(super) fn withdrawal(&self, at: Timestamp) -> Option<Settlement> {
        let (id, session) = match self {
            Self::Paid(Paid::Reserve(intent, None)) => (intent.id, SessionChange::Keep),
            Self::Paid(Paid::Reserve(intent, Some(_))) => {
                (intent.id, SessionChange::GiveBack(intent.session))
            }
            Self::Paid(Paid::OpenCall(dialled)) => (dialled.intent.id, SessionChange::Keep),
            Self::Paid(
                Paid::Settle(_) | Paid::ChangeCall(..) | Paid::Answer(..) | Paid::Spend(..),
            )
            | Self::Upkeep(_) => return None,
        };
        Some(Settlement {
            id,
            at,
            took: Duration::ZERO,
            outcome: Outcome::Failed { code: ABANDONED },
            session,
            ticket: None,
        })
    }
}

impl Paid {
    pub(super) const fn entry(&self) -> EntryId {
        match self {
            Self::Reserve(intent, _) => intent.id,
            Self::Settle(settlement) | Self::Answer(settlement, _) => settlement.id,
            Self::OpenCall(dialled) => dialled.intent.id,
            Self::ChangeCall(entry, _) | Self::Spend(entry, _) => *entry,
        }
    }

    /// True for a command that creates an entry. A first attempt of it needs to read no row of its own.
    const fn is_new(&self) -> bool {
        matches!(self, Self::Reserve(_, None) | Self::OpenCall(_))
    }

    /// True when no caller waits for the command, so that it may wait for others: it counts the use of a running call.
    pub(super) fn can_wait(&self) -> bool {
        match self {
            Self::Spend(_, spending) => spending.can_wait,
            Self::ChangeCall(_, change) => {
                matches!(change.step, CallStep::Joined | CallStep::Warned)
            }
            Self::Reserve(..) | Self::Settle(_) | Self::OpenCall(_) | Self::Answer(..) => false,
        }
    }

    /// Returns the call whose row has to be read. A new call has a row only if an earlier attempt was committed although
    /// its answer was lost.
    pub(super) fn call(&self, book: &Book) -> Option<EntryId> {
        match self {
            Self::OpenCall(dialled) => {
                let id = dialled.intent.id;
                book.entries.contains_key(&id).then_some(id)
            }
            Self::ChangeCall(entry, _) | Self::Spend(entry, _) => Some(*entry),
            Self::Answer(settlement, _) => Some(settlement.id),
            Self::Settle(settlement) => {
                let entry = book.entries.get(&settlement.id)?;
                let is_taken_back = matches!(settlement.outcome, Outcome::Failed { .. });
                (entry.kind.holds() && is_taken_back).then_some(settlement.id)
            }
            Self::Reserve(..) => None,
        }
    }

    /// Returns the hash of the ticket that the command redeems.
    pub(super) fn ticket(&self) -> Option<&str> {
        match self {
            Self::OpenCall(dialled) if dialled.intent.kind == Kind::Redemption => {
                dialled.dial.ticket.as_deref()
            }
            _ => None,
        }
    }

    /// Returns the session whose row has to be read. A session that is opened has a row only if an earlier attempt was
    /// committed although its answer was lost; `book` knows the mint's outcome then.
    pub(super) fn session(&self, book: &Book) -> Option<SessionKey> {
        match self {
            Self::Reserve(intent, refresh) => refresh.as_ref().map(|_| intent.session),
            Self::Settle(settlement) => match &settlement.session {
                SessionChange::GiveBack(key) | SessionChange::Close(key) => Some(*key),
                SessionChange::Open { key, .. } => {
                    let entry = book.entries.get(&settlement.id)?;
                    (entry.state == State::of(&settlement.outcome)).then_some(*key)
                }
                SessionChange::Keep => None,
            },
            Self::OpenCall(_) | Self::ChangeCall(..) | Self::Answer(..) | Self::Spend(..) => None,
        }
    }
}

/// Carries out commands in an open transaction that began at `now`, on the database's clock: many of the paid path, or
/// one other. A first attempt looks only for what is not known. `None` stands for a repetition, which looks for everything.
pub(super) async fn carry_out(
    connection: &mut dyn Connection,
    commands: &[&Command],
    now: Timestamp,
    first: Option<&mut Numbered>,
) -> Result<Vec<Answer>, Fault> {
    let mut paid = Vec::with_capacity(commands.len());
    for command in commands {
        match command {
            Command::Paid(command) => paid.push(command),
            Command::Upkeep(command) => {
                return Ok(vec![Ok(command.carry_out(connection, now).await?)]);
            }
        }
    }
    decide(connection, &paid, now, first).await
}

/// Reads what the commands are about, decides on a copy, and writes the difference.
async fn decide(
    connection: &mut dyn Connection,
    commands: &[&Paid],
    now: Timestamp,
    first: Option<&mut Numbered>,
) -> Result<Vec<Answer>, Fault> {
    // A new entry has a row only if an earlier attempt was committed although its answer was lost.
    let are_new = first.is_some() && commands.iter().all(|command| command.is_new());
    let mut before = entries::read(connection, commands, are_new).await?;
    sessions::read(connection, &mut before, commands).await?;
    tickets::read(connection, &mut before, commands).await?;
    calls::read(connection, &mut before, (commands, now)).await?;
    let mut after = before.clone();
    let decided = commands.iter().map(|command| match command {
        Paid::Reserve(intent, None) => after.reserve(intent),
        Paid::Reserve(intent, Some(asked)) => after.advance(intent, asked, now),
        Paid::Settle(settlement) => Ok(after.settle(settlement, now)),
        Paid::OpenCall(dialled) => after.open_call(dialled, now),
        Paid::ChangeCall(entry, change) => Ok(after.change_call(*entry, change, now)),
        Paid::Answer(settlement, changes) => Ok(after.answer_call(settlement, changes, now)),
        Paid::Spend(entry, spending) => Ok(after.spend_call(*entry, spending, now)),
    });
    let answers: Vec<Answer> = decided.collect();
    if are_new {
        // Then it would be refused for what it has taken itself. One that is accepted meets its row when it is written.
        let refused = commands.iter().zip(&answers);
        let refused = refused.filter(|(_, answer)| answer.is_err());
        let refused: Vec<_> = refused.map(|(command, _)| *command).collect();
        entries::assert_new(connection, &refused).await?;
    }
    let accepted = commands.iter().zip(&answers);
    let accepted = accepted.filter(|(_, answer)| matches!(answer, Ok(done) if done.rows > 0));
    let accepted: Vec<_> = accepted.map(|(command, _)| *command).collect();
    let books = (&before, &after);
    entries::write(connection, books, &accepted, first).await?;
    sessions::write(connection, books, &accepted).await?;
    calls::write(connection, books, now).await?;
    tickets::write(connection, books).await?;
    Ok(answers)
}

impl Upkeep {
    async fn carry_out(
        &self,
        connection: &mut dyn Connection,
        now: Timestamp,
    ) -> Result<Done, Fault> {
        let rows = match self {
            Self::Run(statement, binds) => connection.change(statement, binds).await?,
            Self::Remove(listed, binds) => entries::remove(connection, listed, binds).await?,
            Self::GiveUp(binds, code) => entries::give_up(connection, (binds, code), now).await?,
            Self::Claim(binds, replica) => {
                let claimed = calls::claim(connection, (binds, replica), now).await?;
                return Ok(Done::of_calls(claimed.len() as u64, claimed));
            }
        };
        Ok(Done::of_calls(rows, Vec::new()))
    }
}
