//! Owns what happens inside one transaction: read what the commands are about, decide, write.

use serde::Serialize;

use super::database::{Connection, Fault, Severity};
use super::page::{decode, decode_known, encode, intent_row, millis};
use super::plan::{CounterKey, Exceeded, Plan, SumKey};
use super::sessions::Shelving;
use super::state::Sums;
use super::statements::{self as say, Statement};
use crate::clock::Timestamp;
use crate::domain::{Account, EntryId, Intent, Kind, Month, Outcome, Party, Settlement};

/// What the writer is asked for.
#[derive(Clone, Debug)]
pub(super) enum Command {
    Reserve(Box<Intent>),
    Settle(Settlement),
    /// Settles what was left pending from before a moment, at most so many.
    GiveUp(Timestamp, u32),
    /// Removes entries from before a moment, at most so many.
    Forget(Timestamp, u32),
    /// Removes these entries.
    Remove(Vec<Box<str>>),
    /// Removes the account's counters and sessions.
    EraseRest(Account),
    /// Takes the place of the one broker that writes sessions.
    ClaimSessions,
    /// Removes sessions that were opened before a moment.
    ForgetSessions(Timestamp),
    /// Writes sessions down, and removes others.
    Shelve(Shelving),
}

impl Command {
    /// True for what is asked for all the time, and written many at once.
    pub(super) const fn is_frequent(&self) -> bool {
        matches!(self, Self::Reserve(_) | Self::Settle(_) | Self::Shelve(_))
    }

    fn entry(&self) -> Option<EntryId> {
        match self {
            Self::Reserve(intent) => Some(intent.id),
            Self::Settle(settlement) => Some(settlement.id),
            _ => None,
        }
    }
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Exceeded(Exceeded),
    /// So many entries were changed.
    Number(u64),
}

/// What became of all of them, and how many rows were written.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) answers: Vec<Answer>,
    pub(super) rows: usize,
}

/// Carries out the commands: any number of frequent ones, or a single other one.
pub(super) async fn apply(
    connection: &mut dyn Connection,
    commands: &[&Command],
    now: Timestamp,
) -> Result<Applied, Fault> {
    match commands {
        [Command::GiveUp(before, most)] => {
            let known = read_before(connection, &say::LEFT_PENDING, (*before, *most)).await?;
            let mut plan = Plan::over(known);
            let ids: Vec<_> = plan.ids();
            for id in ids {
                plan.give_up(id, now);
            }
            let number = plan.settled.len();
            write(connection, &plan, commands).await?;
            Ok(one(number))
        }
        [Command::Forget(before, most)] => {
            let known = read_before(connection, &say::OLDEST, (*before, *most)).await?;
            let number = remove(connection, known).await?;
            let month = Month::of(*before).to_string();
            let month = encode(&[[month]])?;
            connection.change(&say::FORGET_COUNTERS, &month).await?;
            Ok(one(number))
        }
        [Command::Remove(ids)] => {
            let known = read_entries(connection, ids.iter().map(|id| &**id)).await?;
            Ok(one(remove(connection, known).await?))
        }
        [Command::EraseRest(account)] => {
            let rows = encode(&[[&*account.issuer, &*account.subject]])?;
            connection.change(&say::ERASE_COUNTERS, &rows).await?;
            let party = Party::Identity(account.key()).to_text();
            connection
                .change(&say::ERASE_SESSIONS, &encode(&[[party]])?)
                .await?;
            Ok(one(0))
        }
        [Command::ClaimSessions] => {
            let claimed: Vec<[u8; 1]> =
                decode(&connection.list(&say::CLAIM_SESSIONS, "[[]]").await?)?;
            Ok(one(claimed.into_iter().flatten().map(usize::from).sum()))
        }
        [Command::ForgetSessions(before)] => {
            let rows = encode(&[[millis(*before)]])?;
            let number = connection.change(&say::FORGET_SESSIONS, &rows).await?;
            Ok(one(usize::try_from(number).unwrap_or_default()))
        }
        frequent => many(connection, frequent).await,
    }
}

fn one(number: usize) -> Applied {
    Applied {
        answers: vec![Answer::Number(number as u64)],
        rows: number,
    }
}

async fn many(connection: &mut dyn Connection, commands: &[&Command]) -> Result<Applied, Fault> {
    let ids: Vec<_> = commands
        .iter()
        .filter_map(|command| command.entry())
        .collect();
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    let known = match &*ids {
        [] => Entries::new(),
        ids => read_entries(connection, ids.iter().map(String::as_str)).await?,
    };
    let mut plan = Plan::over(known);
    read_counters(connection, &mut plan, commands).await?;
    let mut answers = Vec::with_capacity(commands.len());
    let mut rows = 0;
    for (place, command) in commands.iter().enumerate() {
        answers.push(match command {
            Command::Reserve(intent) => match plan.reserve(place, intent) {
                Ok(()) => Answer::Done,
                Err(exceeded) => Answer::Exceeded(exceeded),
            },
            Command::Settle(settlement) => {
                plan.settle(settlement);
                Answer::Done
            }
            Command::Shelve(shelving) => {
                rows += shelving.write(connection).await?;
                Answer::Done
            }
            _ => return Err(Fault::new(Severity::Command, "not one for a batch")),
        });
    }
    rows += plan.added.len() + plan.settled.len();
    write(connection, &plan, commands).await?;
    Ok(Applied { answers, rows })
}

type Entries = Vec<(Box<str>, super::state::Known)>;

async fn read_entries<'a>(
    connection: &mut dyn Connection,
    ids: impl Iterator<Item = &'a str> + Send,
) -> Result<Entries, Fault> {
    let rows = encode(&ids.map(|id| [id]).collect::<Vec<_>>())?;
    decode_known(&connection.list(&say::ENTRIES, &rows).await?)
}

async fn read_before(
    connection: &mut dyn Connection,
    statement: &Statement,
    (before, most): (Timestamp, u32),
) -> Result<Entries, Fault> {
    let rows = encode(&[[millis(before), i64::from(most)]])?;
    decode_known(&connection.list(statement, &rows).await?)
}

/// Reads the counters that the commands may change. In PostgreSQL this locks them, in one order for all brokers.
async fn read_counters(
    connection: &mut dyn Connection,
    plan: &mut Plan,
    commands: &[&Command],
) -> Result<(), Fault> {
    let mut keys: Vec<CounterKey> = Vec::new();
    for command in commands {
        keys.extend(match command {
            Command::Reserve(intent) if intent.kind == Kind::Mint => {
                let account = intent.account.clone();
                account.map(|account| (Month::of(intent.at), account))
            }
            Command::Settle(settlement) if is_given_back(settlement) => {
                plan.counter_of(settlement.id)
            }
            _ => None,
        });
    }
    if keys.is_empty() {
        return Ok(());
    }
    keys.sort_unstable();
    keys.dedup();
    let months: Vec<_> = keys.iter().map(|(month, _)| month.to_string()).collect();
    let names = keys.iter().zip(&months);
    let names: Vec<[&str; 3]> = names
        .map(|((_, account), month)| [month, &*account.issuer, &*account.subject])
        .collect();
    let rows = encode(&names)?;
    connection.change(&say::OPEN_COUNTERS, &rows).await?;
    let read: Vec<(String, Box<str>, Box<str>, u64)> =
        decode(&connection.list(&say::COUNTERS, &rows).await?)?;
    let read: std::collections::HashMap<[&str; 3], u64> = read
        .iter()
        .map(|(month, issuer, subject, sessions)| ([month.as_str(), issuer, subject], *sessions))
        .collect();
    let stand = |name: &[&str; 3]| read.get(name).copied().unwrap_or_default();
    let stands: Vec<_> = names.iter().map(stand).collect();
    drop(names);
    for (key, sessions) in keys.into_iter().zip(stands) {
        plan.read_counter(key, sessions);
    }
    Ok(())
}

const fn is_given_back(settlement: &Settlement) -> bool {
    matches!(settlement.outcome, Outcome::Failed { .. })
}

/// Writes what was decided.
async fn write(
    connection: &mut dyn Connection,
    plan: &Plan,
    commands: &[&Command],
) -> Result<(), Fault> {
    if !plan.added.is_empty() {
        let mut rows = Vec::with_capacity(plan.added.len());
        for (id, place) in &plan.added {
            if let Some(Command::Reserve(intent)) = commands.get(*place) {
                rows.push(intent_row(id, intent));
            }
        }
        let added = connection
            .change(&say::ADD_ENTRIES, &encode(&rows)?)
            .await?;
        if added != rows.len() as u64 {
            // One was written by somebody else after we looked: look again.
            return Err(Fault::new(Severity::Conflict, "an entry has just appeared"));
        }
    }
    if !plan.settled.is_empty() {
        let rows: Vec<_> = plan.settled.values().collect();
        connection
            .change(&say::SETTLE_ENTRIES, &encode(&rows)?)
            .await?;
    }
    if !plan.counted.is_empty() {
        let rows: Vec<_> = plan
            .counted
            .iter()
            .map(|((month, account), sessions)| {
                (
                    month.to_string(),
                    &*account.issuer,
                    &*account.subject,
                    sessions,
                )
            })
            .collect();
        connection
            .change(&say::SET_COUNTERS, &encode(&rows)?)
            .await?;
    }
    write_sums(connection, plan).await.map(drop)
}

/// Adds to the sums. Gives the rows, as they were written.
async fn write_sums(connection: &mut dyn Connection, plan: &Plan) -> Result<[String; 2], Fault> {
    let changed = |(_, sums): &(&SumKey, &Sums)| {
        [sums.sessions, sums.refreshes, sums.uncertain, sums.failed] != [0; 4]
    };
    let rows = [&plan.daily, &plan.daily_accounts].map(|sums| {
        let rows: Vec<_> = sums.iter().filter(changed).map(sums_row).collect();
        (rows.len() as u64, encode(&rows))
    });
    let [(days, daily), (numbers, accounts)] = rows;
    let (daily, accounts) = (daily?, accounts?);
    if days > 0 {
        connection.change(&say::ADD_DAILY, &daily).await?;
    }
    if numbers > 0 {
        connection.change(&say::OPEN_ACCOUNTS, &accounts).await?;
        let added = connection.change(&say::ADD_DAILY_ACCOUNTS, &accounts);
        if added.await? != numbers {
            // One was dropped by somebody else after we looked: look again.
            return Err(Fault::new(Severity::Conflict, "an account has just gone"));
        }
    }
    Ok([daily, accounts])
}

fn sums_row<'a>(((day, one, two), sums): (&'a SumKey, &'a Sums)) -> impl Serialize + use<'a> {
    (
        day,
        one,
        two,
        sums.sessions,
        sums.refreshes,
        sums.uncertain,
        sums.failed,
        sums.last_at,
    )
}

/// Removes entries, and what they added to the sums.
async fn remove(connection: &mut dyn Connection, known: Entries) -> Result<usize, Fault> {
    if known.is_empty() {
        return Ok(0);
    }
    let mut plan = Plan::default();
    for (_, known) in &known {
        plan.remove(known);
    }
    let ids: Vec<_> = known.iter().map(|(id, _)| [&**id]).collect();
    connection
        .change(&say::REMOVE_ENTRIES, &encode(&ids)?)
        .await?;
    let [daily, accounts] = write_sums(connection, &plan).await?;
    connection.change(&say::DROP_DAILY, &daily).await?;
    connection
        .change(&say::DROP_DAILY_ACCOUNTS, &accounts)
        .await?;
    connection.change(&say::DROP_ACCOUNTS, &accounts).await?;
    Ok(known.len())
}
