//! The rows of sessions in a transaction: read, changed, bounded and written.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::Dated;
use super::database::{Connection, Fault};
use super::rows::{decode, encode};
use super::session_row::SessionRow;
use super::statement::{
    Column, Statement, each, group_over_page, in_dialects, insert_words, list, list_over_page,
    number, over_page, text,
};
use crate::clock::Timestamp;
use crate::domain::{EntryId, Refusal, Session, SessionKey};

/// The columns of a session.
const COLUMNS: [Column; 11] = [
    text("session"),
    text("party"),
    text("networks"),
    text("persona"),
    text("language"),
    text("origin"),
    text("entry"),
    number("refreshes"),
    number("opened_at"),
    number("minted_at"),
    number("minted_before"),
];

/// Names a session.
#[derive(Serialize)]
struct KeyRow<'a> {
    session: &'a str,
}

/// Names the owner of sessions.
#[derive(Serialize)]
pub(super) struct PartyRow {
    pub(super) party: String,
}

/// A session that may have to go because it is idle.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct IdleRow {
    session: Box<str>,
    minted_at: u64,
}

/// A new session of an owner who has `excess` sessions too many.
#[derive(Serialize)]
struct ExcessRow<'a> {
    party: &'a str,
    session: &'a str,
    excess: u64,
}

/// The number of sessions of one owner.
#[derive(Deserialize)]
struct Count {
    party: Box<str>,
    sessions: u64,
}

/// A session as it is looked up, and the database's time.
#[derive(Deserialize)]
struct FoundRow {
    #[serde(flatten)]
    row: SessionRow,
    now: u64,
}

/// The database's time in milliseconds. SQLite has none of its own: its one broker says what time it is.
pub(super) const POSTGRES_NOW: &str =
    "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

static READ: LazyLock<Statement> = LazyLock::new(|| {
    let from =
        "FROM sessions WHERE session IN (SELECT value->>'session' FROM page) ORDER BY session";
    list_over_page(&COLUMNS, from)
});

/// The session `$1`; `$2` is the time for SQLite.
pub(super) static FIND: LazyLock<Statement> = LazyLock::new(|| {
    let mut columns = COLUMNS.to_vec();
    columns.push(number("now"));
    let found = |now: &str| {
        let columns = super::statement::names(&COLUMNS);
        format!("SELECT {columns}, {now} AS now FROM sessions WHERE session = $1")
    };
    Statement {
        sqlite: list(&columns, &found("CAST($2 AS BIGINT)")).sqlite,
        postgres: list(
            &columns,
            &found(&format!("COALESCE({POSTGRES_NOW}, CAST($2 AS BIGINT))")),
        )
        .postgres,
    }
});

/// Adds sessions. In PostgreSQL it also locks their owners, in one order for all brokers, so that two brokers cannot
/// both find room for the last session of an owner.
static OPEN: LazyLock<Statement> = LazyLock::new(|| {
    let conflict = "ON CONFLICT (session) DO NOTHING";
    let words = insert_words("sessions", &COLUMNS, conflict);
    let locked = words.replace(
        "WHERE true",
        "WHERE (SELECT COUNT(*) FROM locked) IS NOT NULL",
    );
    let lock = "locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended(party, 5)) \
                FROM (SELECT DISTINCT value->>'party' AS party FROM page ORDER BY 1) AS parties)";
    let mut statement = in_dialects(&words, &locked);
    statement.postgres = statement
        .postgres
        .replacen(") INSERT", &format!("), {lock} INSERT"), 1);
    statement
});

static WRITE: LazyLock<Statement> = LazyLock::new(|| {
    let changed = COLUMNS.into_iter().filter(|column| {
        let names = [
            "networks",
            "entry",
            "refreshes",
            "minted_at",
            "minted_before",
        ];
        names.contains(&column.name)
    });
    let changed: Vec<_> = changed.collect();
    let set = each(&changed, |column| format!("{0} = new.{0}", column.name));
    let new = each(&changed, |column| {
        format!("{} AS {}", column.of_page(), column.name)
    });
    over_page(&format!(
        "UPDATE sessions SET {set} FROM (SELECT value->>'session' AS session, {new} FROM page) AS new \
         WHERE sessions.session = new.session"
    ))
});

static REMOVE: LazyLock<Statement> = LazyLock::new(|| {
    over_page("DELETE FROM sessions WHERE session IN (SELECT value->>'session' FROM page)")
});

static COUNT: LazyLock<Statement> = LazyLock::new(|| {
    group_over_page(
        &[text("party"), number("sessions")],
        "SELECT party, COUNT(*) AS sessions FROM sessions \
         WHERE party IN (SELECT value->>'party' FROM page) GROUP BY party",
    )
});

/// Ends the sessions of one owner that are idle longest, but none of the page.
static EVICT: LazyLock<Statement> = LazyLock::new(|| {
    over_page(
        "DELETE FROM sessions WHERE session IN (SELECT session FROM sessions \
         WHERE party = (SELECT MAX(value->>'party') FROM page) \
         AND session NOT IN (SELECT value->>'session' FROM page) ORDER BY minted_at, session \
         LIMIT (SELECT MAX(CAST(value->>'excess' AS BIGINT)) FROM page))",
    )
});

/// Ends all sessions of the owners on the page.
pub(super) static END: LazyLock<Statement> = LazyLock::new(|| {
    over_page("DELETE FROM sessions WHERE party IN (SELECT value->>'party' FROM page)")
});

/// Removes sessions that were opened before a moment, some at a time.
pub(super) static EXPIRE: LazyLock<Statement> = LazyLock::new(|| {
    over_page(
        "DELETE FROM sessions WHERE session IN (SELECT session FROM sessions \
         WHERE opened_at < (SELECT CAST(value->>'before' AS BIGINT) FROM page) ORDER BY opened_at \
         LIMIT (SELECT CAST(value->>'most' AS BIGINT) FROM page))",
    )
});

/// Removes these sessions, unless they were refreshed since.
pub(super) static DROP_IDLE: LazyLock<Statement> = LazyLock::new(|| {
    over_page(
        "DELETE FROM sessions WHERE (session, minted_at) IN \
         (SELECT value->>'session', CAST(value->>'minted_at' AS BIGINT) FROM page)",
    )
});

/// The number of all sessions.
pub(super) static TOTAL: LazyLock<Statement> = LazyLock::new(|| {
    list(
        &[number("sessions")],
        "SELECT COUNT(*) AS sessions FROM sessions",
    )
});

/// The `$1` sessions that are idle longest.
pub(super) static IDLEST: LazyLock<Statement> = LazyLock::new(|| {
    list(
        &[text("session"), number("minted_at")],
        "SELECT session, minted_at FROM sessions ORDER BY minted_at, session LIMIT $1",
    )
});

/// Decodes the answer to [`FIND`].
pub(super) fn found(text: &str) -> Result<Option<Dated>, Fault> {
    let rows: Vec<FoundRow> = decode(text)?;
    let dated = |found: FoundRow| {
        let session = found.row.read()?;
        let now = Timestamp::from_millis(found.now);
        Some(Dated { session, now })
    };
    Ok(rows.into_iter().next().and_then(dated))
}

/// Decodes the answer to [`TOTAL`].
pub(super) fn total(text: &str) -> Result<u64, Fault> {
    #[derive(Deserialize)]
    struct Total {
        sessions: u64,
    }
    let rows: Vec<Total> = decode(text)?;
    Ok(rows.first().map_or(0, |row| row.sessions))
}

/// The sessions that a batch of commands is about, as the commands so far have changed them.
#[derive(Debug, Default)]
pub(super) struct Rows {
    known: HashMap<SessionKey, SessionRow>,
    changed: BTreeSet<SessionKey>,
    removed: BTreeSet<SessionKey>,
    /// New sessions, and the most that their owner may have.
    opened: Vec<(SessionRow, u32)>,
}

impl Rows {
    /// Reads the sessions, and locks them until the transaction ends.
    pub(super) async fn read(
        connection: &mut dyn Connection,
        mut keys: Vec<SessionKey>,
    ) -> Result<Self, Fault> {
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Ok(Self::default());
        }
        let names: Vec<_> = keys.iter().map(SessionKey::to_text).collect();
        let page: Vec<_> = names.iter().map(|session| KeyRow { session }).collect();
        let rows: Vec<SessionRow> = decode(&connection.list(&READ, &encode(&page)?).await?)?;
        let keyed = |row: SessionRow| Some((SessionKey::parse(&row.session)?, row));
        Ok(Self {
            known: rows.into_iter().filter_map(keyed).collect(),
            ..Self::default()
        })
    }

    /// Returns the session's row.
    pub(super) fn get(&self, key: SessionKey) -> Option<&SessionRow> {
        self.known.get(&key)
    }

    /// Refreshes a session: see [`SessionRow::advance`]. Returns `None` when there is no such session.
    pub(super) fn advance(
        &mut self,
        key: SessionKey,
        entry: EntryId,
        judge: impl FnOnce(&Session) -> Result<Session, Refusal>,
    ) -> Option<Result<Session, Refusal>> {
        let advanced = self.known.get_mut(&key)?.advance(entry, judge);
        if advanced.is_ok() {
            self.changed.insert(key);
        }
        Some(advanced)
    }

    /// Takes back a refresh: see [`SessionRow::give_back`].
    pub(super) fn give_back(&mut self, key: SessionKey, entry: EntryId) {
        if let Some(row) = self.known.get_mut(&key)
            && row.give_back(entry)
        {
            self.changed.insert(key);
        }
    }

    /// Ends the session that `entry` opened, unless it has been refreshed since.
    pub(super) fn close(&mut self, key: SessionKey, entry: EntryId) {
        if self.known.get(&key).is_some_and(|row| row.is_of(entry)) {
            self.known.remove(&key);
            self.changed.remove(&key);
            self.removed.insert(key);
        }
    }

    /// Opens a session.
    pub(super) fn open(&mut self, row: SessionRow, most: u32) {
        self.opened.push((row, most));
    }

    /// Writes the changes. Returns the number of rows written.
    pub(super) async fn write(self, connection: &mut dyn Connection) -> Result<usize, Fault> {
        let changed: Vec<_> = self
            .changed
            .iter()
            .filter_map(|key| self.known.get(key))
            .collect();
        if !changed.is_empty() {
            connection.change(&WRITE, &encode(&changed)?).await?;
        }
        if !self.removed.is_empty() {
            let names: Vec<_> = self.removed.iter().map(SessionKey::to_text).collect();
            let page: Vec<_> = names.iter().map(|session| KeyRow { session }).collect();
            connection.change(&REMOVE, &encode(&page)?).await?;
        }
        let rows = changed.len() + self.removed.len() + self.opened.len();
        write_opened(connection, self.opened).await?;
        Ok(rows)
    }
}

/// Adds new sessions, and ends the sessions of their owners that are too many.
async fn write_opened(
    connection: &mut dyn Connection,
    opened: Vec<(SessionRow, u32)>,
) -> Result<(), Fault> {
    let mut by_party: BTreeMap<&str, (u32, Vec<&SessionRow>)> = BTreeMap::new();
    for (row, most) in &opened {
        let (bound, rows) = by_party.entry(&row.party).or_default();
        *bound = *most;
        rows.push(row);
    }
    if by_party.is_empty() {
        return Ok(());
    }
    // Of more new sessions than the owner may have, the latest stay.
    for (most, rows) in by_party.values_mut() {
        let excess = rows.len().saturating_sub(*most as usize);
        rows.drain(..excess);
    }
    let rows: Vec<_> = by_party.values().flat_map(|(_, rows)| rows).collect();
    connection.change(&OPEN, &encode(&rows)?).await?;
    let parties = by_party.keys().map(|party| PartyRow {
        party: (*party).to_owned(),
    });
    let parties: Vec<_> = parties.collect();
    let counts: Vec<Count> = decode(&connection.list(&COUNT, &encode(&parties)?).await?)?;
    for Count { party, sessions } in counts {
        let Some((most, rows)) = by_party.get(&*party) else {
            continue;
        };
        let excess = sessions.saturating_sub(u64::from(*most));
        if excess > 0 {
            let page = rows.iter().map(|row| ExcessRow {
                party: &party,
                session: &row.session,
                excess,
            });
            let page: Vec<_> = page.collect();
            connection.change(&EVICT, &encode(&page)?).await?;
        }
    }
    Ok(())
}
