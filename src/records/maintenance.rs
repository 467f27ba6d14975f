//! The commands off the paid path: each one is written in a transaction of its own.

use std::sync::LazyLock;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::command::{Applied, Command};
use super::database::{Connection, Fault};
use super::entries::{self, AccountRow, MonthRow};
use super::plan::Plan;
use super::queue::{Job, Task};
use super::rows::{BeforeRow, decode, encode, millis};
use super::sessions::{self, IdleRow, PartyRow};
use super::statement::{Column, Statement, insert, list, text};
use crate::clock::Timestamp;
use crate::domain::{Account, Month, Party, SafetyKey, Settlement};

/// A command off the paid path.
#[derive(Clone, Debug)]
pub(super) enum Single {
    /// Settles entries as uncertain that were left pending since before a moment, at most so many.
    GiveUp(Timestamp, u32),
    /// Removes entries from before a moment, at most so many.
    Forget(Timestamp, u32),
    /// Removes these entries.
    Remove(Vec<Box<str>>),
    /// Removes the account's counters and sessions.
    EraseRest(Account),
    /// Ends all sessions of an owner.
    End(Party),
    /// Removes sessions that are older than an age, at most so many.
    Expire(std::time::Duration, u32),
    /// Removes these sessions, unless they were refreshed since.
    DropIdle(Vec<IdleRow>),
    /// Keeps the key under this name, unless there is one.
    KeepKey(&'static str, SafetyKey),
}

/// A secret that the records keep. No report shows it.
#[derive(Deserialize, Serialize)]
struct SecretRow {
    name: String,
    value: String,
}

const SECRET: [Column; 2] = [text("name"), text("value")];

static KEEP_KEY: LazyLock<Statement> =
    LazyLock::new(|| insert("secrets", &SECRET, "ON CONFLICT (name) DO NOTHING"));

/// The secret of the name `$1`.
pub(super) static KEY: LazyLock<Statement> =
    LazyLock::new(|| list(&SECRET, "SELECT name, value FROM secrets WHERE name = $1"));

/// Decodes the answer to [`KEY`].
pub(super) fn key(text: &str) -> Result<Option<SafetyKey>, Fault> {
    let rows: Vec<SecretRow> = decode(text)?;
    Ok(rows.first().and_then(|row| SafetyKey::parse(&row.value)))
}

#[async_trait]
impl Command for Single {
    /// The number of rows that were changed.
    type Answer = u64;

    fn job(task: Task<Self>) -> Job {
        Job::Single(task)
    }

    async fn apply(
        connection: &mut dyn Connection,
        commands: &[&Self],
        now: Timestamp,
    ) -> Result<Applied<u64>, Fault> {
        let mut answers = Vec::with_capacity(commands.len());
        for command in commands {
            answers.push(command.carry_out(connection, now).await?);
        }
        let rows = answers.iter().sum::<u64>();
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        Ok(Applied { answers, rows })
    }

    fn withdrawal(&self, _: Timestamp) -> Option<Settlement> {
        None
    }

    fn is_written(_: &u64) -> bool {
        false
    }

    fn owed(&self) -> Option<&Settlement> {
        None
    }
}

impl Single {
    async fn carry_out(
        &self,
        connection: &mut dyn Connection,
        now: Timestamp,
    ) -> Result<u64, Fault> {
        match self {
            Self::GiveUp(before, most) => give_up(connection, (*before, *most), now).await,
            Self::Forget(before, most) => forget(connection, (*before, *most)).await,
            Self::Remove(ids) => {
                let ids = ids.iter().map(ToString::to_string).collect();
                let known = entries::read(connection, ids).await?;
                Ok(entries::remove(connection, known).await? as u64)
            }
            Self::EraseRest(account) => {
                let (issuer, subject) = (&*account.issuer, &*account.subject);
                let page = encode(&[AccountRow { issuer, subject }])?;
                connection.change(&entries::ERASE_COUNTERS, &page).await?;
                end(connection, Party::Identity(account.key())).await
            }
            Self::End(party) => end(connection, *party).await,
            Self::Expire(age, most) => {
                // A session has ended at its age, not after it.
                let (before, most) = (millis(now.minus(*age)) + 1, *most);
                let page = encode(&[BeforeRow { before, most }])?;
                connection.change(&sessions::EXPIRE, &page).await
            }
            Self::DropIdle(idle) => {
                let page = encode(idle)?;
                connection.change(&sessions::DROP_IDLE, &page).await
            }
            Self::KeepKey(name, key) => {
                let (name, value) = ((*name).to_owned(), key.expose_text());
                let page = encode(&[SecretRow { name, value }])?;
                connection.change(&KEEP_KEY, &page).await
            }
        }
    }
}

async fn give_up(
    connection: &mut dyn Connection,
    oldest: (Timestamp, u32),
    now: Timestamp,
) -> Result<u64, Fault> {
    let known = entries::read_before(connection, &entries::LEFT_PENDING, oldest).await?;
    let mut plan = Plan::over(known);
    for id in plan.ids() {
        plan.give_up(id, now);
    }
    let number = plan.settled.len() as u64;
    entries::write(connection, &plan).await?;
    Ok(number)
}

async fn forget(connection: &mut dyn Connection, oldest: (Timestamp, u32)) -> Result<u64, Fault> {
    let known = entries::read_before(connection, &entries::OLDEST, oldest).await?;
    let number = entries::remove(connection, known).await?;
    let month = Month::of(oldest.0).to_string();
    let page = encode(&[MonthRow { month }])?;
    connection.change(&entries::FORGET_COUNTERS, &page).await?;
    Ok(number as u64)
}

async fn end(connection: &mut dyn Connection, party: Party) -> Result<u64, Fault> {
    let party = party.to_text();
    let page = encode(&[PartyRow { party }])?;
    connection.change(&sessions::END, &page).await
}
