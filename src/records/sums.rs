//! The sums that reports are made of, changed in the transaction of their entries: by role and persona, and by account.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasher;

use serde::Serialize;

use super::database::{Bind, Connection, Fault, Severity, page};
use super::entry::Entry;
use super::measures::Sums;
use super::statement::Statement;
use crate::domain::day_of;

/// The name of a row: the day, and the two columns that it is summed up by.
type SumKey = (String, Box<str>, Box<str>);

/// Most accounts that are remembered.
const MOST_NUMBERED: usize = 16_384;

/// Hashes of the names of accounts that have a number, as far as the writer remembers. May be wrong: an account without a
/// number is noticed when its sums are added.
#[derive(Default)]
pub(super) struct Numbered(HashSet<u64>, RandomState);

impl Numbered {
    /// Returns true when the accounts of all rows are remembered. Remembers the others.
    fn have(&mut self, rows: &[SumRow<'_>]) -> bool {
        if self.0.len() >= MOST_NUMBERED {
            self.0.clear();
        }
        let mut have_all = true;
        for row in rows {
            have_all &= !self.0.insert(self.1.hash_one((row.one, row.two)));
        }
        have_all
    }
}

/// Changes of the sums.
#[derive(Default)]
pub(super) struct Changes {
    by_role: BTreeMap<SumKey, Sums>,
    by_account: BTreeMap<SumKey, Sums>,
}

/// Sums that are added.
#[derive(Serialize)]
struct SumRow<'a> {
    day: &'a str,
    one: &'a str,
    two: &'a str,
    #[serde(flatten)]
    sums: &'a Sums,
}

/// The columns of [`SumRow`].
const SUMS: &str = "day text, one text, two text, {each # bigint}, last_at bigint";

static ADD_BY_ROLE: Statement = Statement::change(
    SUMS,
    "INSERT INTO daily AS old (day, role, persona, {each #}, last_at) SELECT {page} FROM page WHERE true ORDER BY 1, 2, 3 \
     ON CONFLICT (day, role, persona) DO UPDATE SET {each # = old.# + excluded.#}, \
     last_at = CASE WHEN excluded.last_at > old.last_at THEN excluded.last_at ELSE old.last_at END",
);

static ADD_BY_ACCOUNT: Statement = Statement::change(
    SUMS,
    "INSERT INTO daily_accounts AS old (account, day, {each #}, last_at) SELECT account, day, {each #}, last_at \
     FROM page JOIN accounts ON issuer = one AND subject = two WHERE true ORDER BY 1, 2 \
     ON CONFLICT (account, day) DO UPDATE SET {each # = old.# + excluded.#}, \
     last_at = CASE WHEN excluded.last_at > old.last_at THEN excluded.last_at ELSE old.last_at END",
);

/// Makes sure that the accounts on the page have numbers.
static OPEN_ACCOUNTS: Statement = Statement::change(
    SUMS,
    "INSERT INTO accounts (issuer, subject) SELECT DISTINCT one, two FROM page WHERE NOT EXISTS \
     (SELECT 1 FROM accounts WHERE issuer = one AND subject = two) ORDER BY 1, 2 ON CONFLICT DO NOTHING",
);

/// Removes the rows on the page whose sums are all zero.
static DROP_BY_ROLE: Statement = Statement::change(
    SUMS,
    "DELETE FROM daily WHERE ({each #}) = ({each 0}) AND (day, role, persona) IN (SELECT day, one, two FROM page)",
);

/// Removes the rows on the page whose sums are all zero.
static DROP_BY_ACCOUNT: Statement = Statement::change(
    SUMS,
    "DELETE FROM daily_accounts WHERE ({each #}) = ({each 0}) AND (account, day) IN \
     (SELECT account, day FROM page JOIN accounts ON issuer = one AND subject = two)",
);

/// Removes the accounts on the page that have no rows.
static DROP_ACCOUNTS: Statement = Statement::change(
    SUMS,
    "DELETE FROM accounts WHERE (issuer, subject) IN (SELECT one, two FROM page) AND NOT EXISTS \
     (SELECT 1 FROM daily_accounts WHERE daily_accounts.account = accounts.account)",
);

impl Changes {
    /// Notes an entry that was added, changed or removed: as it was before, and as it is now.
    pub(super) fn note(&mut self, before: Option<&Entry>, after: Option<&Entry>) {
        let Some(entry) = after.or(before) else {
            return;
        };
        let mut change = after.map(Sums::of).unwrap_or_default();
        if let Some(before) = before {
            change.take(before);
        }
        let day = day_of(entry.at());
        let text = |text: &Option<Box<str>>| text.clone().unwrap_or_default();
        let by_role = (day.clone(), text(&entry.role), entry.persona.clone());
        let by_account = (day, text(&entry.issuer), text(&entry.subject));
        self.by_role.entry(by_role).or_default().add(change);
        self.by_account.entry(by_account).or_default().add(change);
    }

    /// Adds the changes to the sums. Gives accounts their numbers, but for those that are `numbered`. Returns the rows by role
    /// and by account, as they were written.
    pub(super) async fn write(
        self,
        connection: &mut dyn Connection,
        numbered: Option<&mut Numbered>,
    ) -> Result<[Bind; 2], Fault> {
        let (by_role, by_account) = (rows(&self.by_role), rows(&self.by_account));
        let pages = [page(&by_role)?, page(&by_account)?];
        if !by_role.is_empty() {
            connection.change(&ADD_BY_ROLE, &pages[..1]).await?;
        }
        if !by_account.is_empty() {
            if !numbered.is_some_and(|known| known.have(&by_account)) {
                connection.change(&OPEN_ACCOUNTS, &pages[1..]).await?;
            }
            let added = connection.change(&ADD_BY_ACCOUNT, &pages[1..]).await?;
            if added != by_account.len() as u64 {
                // One of the accounts was dropped after it was looked for. The next attempt gives it a number.
                return Err(Fault::new(Severity::Conflict, "an account has just gone"));
            }
        }
        Ok(pages)
    }

    /// Adds the changes to the sums, and removes rows whose sums are all zero.
    pub(super) async fn write_and_drop(self, connection: &mut dyn Connection) -> Result<(), Fault> {
        let pages = self.write(connection, None).await?;
        connection.change(&DROP_BY_ROLE, &pages[..1]).await?;
        connection.change(&DROP_BY_ACCOUNT, &pages[1..]).await?;
        connection
            .change(&DROP_ACCOUNTS, &pages[1..])
            .await
            .map(drop)
    }
}

fn rows(sums: &BTreeMap<SumKey, Sums>) -> Vec<SumRow<'_>> {
    let changed = sums.iter().filter(|(_, sums)| !sums.is_zero());
    let rows = changed.map(|((day, one, two), sums)| SumRow {
        day,
        one,
        two,
        sums,
    });
    rows.collect()
}
