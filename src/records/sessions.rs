//! Owns the sessions that are written down beside the entries, in the same transactions, so that they survive a restart.

use serde_json::Value;

use super::RecordsError;
use super::database::{Bind, Connection, Fault, Severity};
use super::page::{decode, encode, millis};
use super::sql::SqlRecords;
use super::statements as say;
use super::transaction::Command;
use crate::clock::Timestamp;
use crate::domain::{Party, SessionKey, Shelved};

/// Sessions are read so many at once.
const PAGE: u16 = 10_000;

/// Changes of sessions on their way to the writer: rows as they travel.
#[derive(Clone, Debug)]
pub(super) struct Shelving {
    kept: Option<String>,
    gone: Option<String>,
    rows: usize,
}

impl Shelving {
    fn new(kept: &[Shelved], gone: &[SessionKey]) -> Result<Self, Fault> {
        let row = |shelved: &Shelved| {
            (
                shelved.key.to_text(),
                shelved.owner.to_text(),
                shelved.what.clone(),
                shelved.revision,
                shelved.refreshes,
                millis(shelved.opened),
                millis(shelved.minted),
            )
        };
        let rows: Vec<_> = kept.iter().map(row).collect();
        let names: Vec<_> = gone.iter().map(|key| [key.to_text()]).collect();
        Ok(Self {
            kept: (!rows.is_empty()).then(|| encode(&rows)).transpose()?,
            gone: (!names.is_empty()).then(|| encode(&names)).transpose()?,
            rows: rows.len() + names.len(),
        })
    }

    /// How many rows that are.
    pub(super) async fn write(&self, connection: &mut dyn Connection) -> Result<usize, Fault> {
        if let Some(rows) = &self.kept {
            connection.change(&say::SHELVE_SESSIONS, rows).await?;
        }
        if let Some(names) = &self.gone {
            connection.change(&say::REMOVE_SESSIONS, names).await?;
        }
        Ok(self.rows)
    }
}

impl SqlRecords {
    /// Writes these sessions down, each over what is not later, and removes others: as a whole or not at all. They go
    /// along with entries that are written at the same moment.
    pub async fn shelve(&self, kept: &[Shelved], gone: &[SessionKey]) -> Result<(), RecordsError> {
        let shelving = Shelving::new(kept, gone)?;
        self.queue.submit(Command::Shelve(shelving)).await?;
        Ok(())
    }

    /// True when no other broker writes sessions into this database, as far as can be seen; from then on this one does,
    /// until it or its connection ends.
    pub async fn claim_sessions(&self) -> Result<bool, RecordsError> {
        Ok(self.number(Command::ClaimSessions).await? == 1)
    }

    /// Removes what is written down of sessions that were opened before `before`. How many that were.
    pub async fn forget_sessions(&self, before: Timestamp) -> Result<u64, RecordsError> {
        self.number(Command::ForgetSessions(before)).await
    }

    /// Gives all sessions that are written down to `take`, many at once, in no order of time. How many rows could not be
    /// read.
    pub async fn shelved(
        &self,
        take: &mut (dyn FnMut(Vec<Shelved>) + Send),
    ) -> Result<u64, RecordsError> {
        let (mut last, mut unreadable) = (String::new(), 0);
        loop {
            let binds = [Bind::Text(last), Bind::Number(PAGE.into())];
            let rows: Vec<Value> = decode(&self.reader.read(&say::SESSIONS, &binds).await?)?;
            let end = rows.last().map(name).transpose()?;
            let is_full = rows.len() >= usize::from(PAGE);
            let number = rows.len();
            let page: Vec<_> = rows.into_iter().filter_map(read).collect();
            unreadable += (number - page.len()) as u64;
            take(page);
            match end {
                Some(end) if is_full => last = end,
                _ => return Ok(unreadable),
            }
        }
    }
}

fn name(row: &Value) -> Result<String, Fault> {
    let name = row.get(0).and_then(Value::as_str);
    let nameless = || Fault::new(Severity::Broken, "a session has no name");
    name.map(str::to_owned).ok_or_else(nameless)
}

/// `None` when somebody else has written it.
fn read(row: Value) -> Option<Shelved> {
    type Row = (Box<str>, Box<str>, Box<str>, u64, u32, u64, u64);
    let row: Row = serde_json::from_value(row).ok()?;
    let (session, party, what, revision, refreshes, opened, minted) = row;
    Some(Shelved {
        key: SessionKey::parse(&session)?,
        owner: Party::parse(&party)?,
        what,
        revision,
        refreshes,
        opened: Timestamp::from_millis(opened),
        minted: Timestamp::from_millis(minted),
    })
}
