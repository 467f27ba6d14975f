//! The rows of sessions: how they are read, written, bounded and ended.

use serde::{Deserialize, Serialize};

use super::Dated;
use super::book::Book;
use super::command::Paid;
use super::database::{Connection, Fault, page};
use super::kept::{Kept, SessionRow};
use super::statement::{NO_PAGE, Statement};
use crate::clock::Timestamp;
use crate::domain::{SessionChange, SessionKey};

/// The columns of a session.
const SESSION: &str = "session text, party text, networks text, persona text, language text, mode text, origin text, entry text, \
     refreshes bigint, opened_at bigint, minted_at bigint, minted_before bigint";

/// Names a session.
#[derive(Serialize)]
struct KeyRow {
    session: String,
}

impl KeyRow {
    fn new(key: &SessionKey) -> Self {
        let session = key.to_text();
        Self { session }
    }
}

/// A new session, and the most that its owner may have.
#[derive(Serialize)]
struct OpenedRow {
    #[serde(flatten)]
    row: SessionRow,
    most: u32,
}

/// A session as it is looked up, and the database's time.
#[derive(Deserialize)]
pub(super) struct FoundRow {
    #[serde(flatten)]
    row: SessionRow,
    now: u64,
}

impl FoundRow {
    /// Returns the session, or `None` when a later version of this program has written the row.
    pub(super) fn read(self) -> Option<Dated> {
        let (_, Kept { session, .. }) = self.row.read()?;
        let now = Timestamp::from_millis(self.now);
        Some(Dated { session, now })
    }
}

/// An idle session that is evicted, unless it was refreshed since it was listed.
#[derive(Deserialize, Serialize)]
pub(super) struct IdleRow {
    session: String,
    minted_at: u64,
}

/// The columns of a session with the time at which it is looked up.
const FOUND: &str = "session, party, networks, persona, language, mode, origin, entry, refreshes, opened_at, minted_at, \
     minted_before, now";

/// The columns of [`IdleRow`].
const IDLE: &str = "session text, minted_at bigint";

const KEY: &str = "session text";

static READ: Statement = Statement::list(
    KEY,
    SESSION,
    "SELECT {columns} FROM sessions WHERE session IN (SELECT session FROM page) ORDER BY session FOR UPDATE",
);

/// Lists the session `$1`, and the time.
pub(super) static FIND: Statement = Statement::list(
    NO_PAGE,
    FOUND,
    "SELECT *, {now} AS now FROM sessions WHERE session = $1",
);

/// Adds sessions. PostgreSQL locks their owners first: two brokers cannot both find room for the last session of an owner.
static OPEN: Statement = Statement::change(
    SESSION,
    "INSERT INTO sessions ({page}) SELECT {page} FROM page WHERE {parties are locked} ORDER BY 1 \
     ON CONFLICT (session) DO NOTHING",
);

/// Ends the session that is idle longest of each owner on the page who has too many. New sessions stay, and so does a
/// session that another broker is refreshing, because waiting for its lock could be a deadlock. Materialized, because a
/// locking choice that is evaluated again for each row would end more sessions.
static EVICT: Statement = Statement::change(
    "session text, party text, most bigint",
    "DELETE FROM sessions WHERE session IN (WITH chosen AS MATERIALIZED (SELECT (SELECT idle.session FROM sessions AS idle \
     WHERE idle.party = owners.party AND idle.session NOT IN (SELECT session FROM page) \
     ORDER BY idle.minted_at, idle.session LIMIT 1 FOR UPDATE SKIP LOCKED) AS session \
     FROM (SELECT party, MAX(most) AS most FROM page GROUP BY party) AS owners \
     WHERE (SELECT COUNT(*) FROM sessions AS theirs WHERE theirs.party = owners.party) > most) \
     SELECT session FROM chosen)",
);

static WRITE: Statement = Statement::change(
    SESSION,
    "UPDATE sessions SET networks = page.networks, entry = page.entry, refreshes = page.refreshes, \
     minted_at = page.minted_at, minted_before = page.minted_before FROM page WHERE sessions.session = page.session",
);

static REMOVE: Statement = Statement::change(
    KEY,
    "DELETE FROM sessions WHERE session IN (SELECT session FROM page)",
);

/// Ends all sessions of the owner `$1`.
pub(super) static END: Statement = Statement::change(
    NO_PAGE,
    "DELETE FROM sessions WHERE session IN \
     (SELECT session FROM sessions WHERE party = $1 ORDER BY session FOR UPDATE)",
);

/// Removes the `$3` oldest sessions whose age is `$1` milliseconds.
pub(super) static EXPIRE: Statement = Statement::change(
    NO_PAGE,
    "DELETE FROM sessions WHERE session IN (SELECT session FROM sessions WHERE opened_at <= {now} - $1 \
     ORDER BY opened_at LIMIT $3 FOR UPDATE SKIP LOCKED)",
);

/// Removes the sessions on the page, unless they were refreshed since.
pub(super) static DROP_IDLE: Statement = Statement::change(
    IDLE,
    "DELETE FROM sessions WHERE session IN (SELECT session FROM sessions WHERE (session, minted_at) IN \
     (SELECT session, minted_at FROM page) FOR UPDATE SKIP LOCKED)",
);

/// Lists the number of all sessions.
pub(super) static TOTAL: Statement =
    Statement::list(NO_PAGE, "total", "SELECT COUNT(*) AS total FROM sessions");

/// Lists the `$1` sessions that are idle longest.
pub(super) static IDLEST: Statement = Statement::list(
    NO_PAGE,
    IDLE,
    "SELECT {columns} FROM sessions ORDER BY minted_at, session LIMIT $1",
);

/// Reads the sessions that the commands are about. PostgreSQL locks them, in one order for all brokers.
pub(super) async fn read(
    connection: &mut dyn Connection,
    book: &mut Book,
    commands: &[&Paid],
) -> Result<(), Fault> {
    let keys = commands.iter().filter_map(|command| command.session(book));
    let keys: Vec<_> = keys.map(|key| KeyRow::new(&key)).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let rows: Vec<SessionRow> = connection.rows(&READ, &[page(&keys)?]).await?;
    for (key, kept) in rows.iter().filter_map(SessionRow::read) {
        book.put(key, kept);
    }
    Ok(())
}

/// Writes what `accepted` commands changed of the sessions `before`.
pub(super) async fn write(
    connection: &mut dyn Connection,
    (before, after): (&Book, &Book),
    accepted: &[&Paid],
) -> Result<(), Fault> {
    let (mut changed, mut removed) = (Vec::new(), Vec::new());
    for (key, kept) in &before.sessions {
        match after.sessions.get(key) {
            None => removed.push(KeyRow::new(key)),
            Some(same) if same == kept => {}
            Some(other) => changed.push(SessionRow::new(*key, other)),
        }
    }
    if !changed.is_empty() {
        connection.change(&WRITE, &[page(&changed)?]).await?;
    }
    if !removed.is_empty() {
        connection.change(&REMOVE, &[page(&removed)?]).await?;
    }
    let opened = accepted.iter().filter_map(|command| opened(command, after));
    let opened: Vec<_> = opened.collect();
    if !opened.is_empty() {
        let opened = [page(&opened)?];
        connection.change(&OPEN, &opened).await?;
        while connection.change(&EVICT, &opened).await? > 0 {}
    }
    Ok(())
}

/// Returns the session that a command has opened.
fn opened(command: &Paid, after: &Book) -> Option<OpenedRow> {
    let Paid::Settle(settlement) = command else {
        return None;
    };
    let SessionChange::Open { key, most, .. } = &settlement.session else {
        return None;
    };
    let row = SessionRow::new(*key, after.sessions.get(key)?);
    Some(OpenedRow { row, most: *most })
}
