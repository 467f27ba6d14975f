//! The rows of entries and counters: how they are read, written and removed in a transaction.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::book::Book;
use super::calls::{UsedRow, models};
use super::command::Paid;
use super::database::{Bind, Connection, Fault, Severity, page};
use super::entry::{CounterKey, Entry, State};
use super::statement::{NO_PAGE, Statement};
use super::sums::{Changes, Numbered};
use crate::clock::Timestamp;
use crate::domain::{EntryId, Intent, Origin, Outcome, Settlement, day_of};

/// The columns of [`Entry`].
pub(super) const ENTRY: &str = "id text, at bigint, kind text, outcome text, issuer text, subject text, role text, \
     persona text, network text, code text, {used # bigint}";

/// The columns of a new entry.
const NEW: &str = "id text, at bigint, kind text, outcome text, issuer text, subject text, role text, persona text, \
     network text, origin text, session text, request_id text";

/// The columns of an outcome.
const OUTCOME: &str = "id text, outcome text, code text, settled_at bigint, latency_ms bigint, model text, \
     upstream_request text, expires_at bigint";

const COUNTER: &str = "month text, issuer text, subject text, sessions bigint";

const ID: &str = "id text";

/// Most rows that are removed or given up in one transaction: mints wait for it.
pub(super) const CHUNK: usize = 125;

/// Lists the entries on the page.
pub(super) static READ: Statement = Statement::list(
    ID,
    ENTRY,
    "SELECT {columns} FROM entries WHERE id IN (SELECT id FROM page) ORDER BY id FOR UPDATE",
);

/// Lists the `$2` oldest entries from before `$1`.
pub(super) static OLDEST: Statement = Statement::list(
    NO_PAGE,
    ENTRY,
    "SELECT {columns} FROM entries WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE",
);

/// Lists the `$2` oldest entries from before `$1` that have no outcome, of the account of `$3` and `$4` or of everybody.
static LEFT_PENDING: Statement = Statement::list(
    NO_PAGE,
    ENTRY,
    "SELECT {columns} FROM entries WHERE outcome = 'pending' AND at < $1 \
     AND ($3 = '' OR issuer = $3 AND subject = $4) ORDER BY at LIMIT $2 FOR UPDATE",
);

static ADD: Statement = Statement::change(
    NEW,
    "INSERT INTO entries ({page}) SELECT {page} FROM page WHERE true ORDER BY 1 ON CONFLICT (id) DO NOTHING",
);

/// Writes outcomes. A later outcome replaces the last four columns only with a value.
static SETTLE: Statement = Statement::change(
    OUTCOME,
    "UPDATE entries SET outcome = page.outcome, code = page.code, settled_at = page.settled_at, \
     latency_ms = COALESCE(page.latency_ms, entries.latency_ms), model = COALESCE(page.model, entries.model), \
     upstream_request = COALESCE(page.upstream_request, entries.upstream_request), \
     expires_at = COALESCE(page.expires_at, entries.expires_at) FROM page WHERE entries.id = page.id",
);

static SET_SUMS: Statement = Statement::change(
    "id text, {used # bigint}",
    "UPDATE entries SET {used # = page.#} FROM page WHERE entries.id = page.id",
);

/// Settles the entries on the page as uncertain, with the code `$3`, at `$2`.
static GIVE_UP: Statement = Statement::change(
    ID,
    "UPDATE entries SET outcome = 'uncertain', code = $3, settled_at = $2 WHERE id IN (SELECT id FROM page)",
);

/// Gives the entries of the account `$1`, `$2` since `$3` that were given up with the code `$4` the code `$5`.
pub(super) static GIVE_UP_AGAIN: Statement = Statement::change(
    NO_PAGE,
    "UPDATE entries SET code = $5 WHERE id IN (SELECT id FROM entries WHERE at >= $3 AND issuer = $1 AND subject = $2 \
     AND outcome = 'uncertain' AND code = $4 ORDER BY id FOR UPDATE)",
);

static REMOVE: Statement =
    Statement::change(ID, "DELETE FROM entries WHERE id IN (SELECT id FROM page)");

/// Inserts missing counters, so that PostgreSQL can lock them.
static OPEN_COUNTERS: Statement = Statement::change(
    COUNTER,
    "INSERT INTO counters ({page}) SELECT {page} FROM page WHERE true ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING",
);

static COUNTERS: Statement = Statement::list(
    COUNTER,
    COUNTER,
    "SELECT {columns} FROM counters WHERE (month, issuer, subject) IN (SELECT month, issuer, subject FROM page) \
     ORDER BY 1, 2, 3 FOR UPDATE",
);

static SET_COUNTERS: Statement = Statement::change(
    COUNTER,
    "INSERT INTO counters ({page}) SELECT {page} FROM page WHERE true ORDER BY 1, 2, 3 \
     ON CONFLICT (month, issuer, subject) DO UPDATE SET sessions = excluded.sessions",
);

/// Removes the counters of months before `$1`.
pub(super) static FORGET_COUNTERS: Statement =
    Statement::change(NO_PAGE, "DELETE FROM counters WHERE month < $1");

/// Removes the counters of the account `$1`, `$2`.
pub(super) static ERASE_COUNTERS: Statement = Statement::change(
    NO_PAGE,
    "DELETE FROM counters WHERE issuer = $1 AND subject = $2",
);

/// Names one entry.
#[derive(Deserialize, Serialize)]
pub(super) struct IdRow {
    pub(super) id: Box<str>,
}

impl IdRow {
    pub(super) fn page(ids: impl Iterator<Item = impl Into<Box<str>>>) -> Result<Bind, Fault> {
        page(&ids.map(|id| Self { id: id.into() }).collect::<Vec<_>>())
    }
}

/// An entry that is removed.
#[derive(Serialize)]
struct GoneRow<'a> {
    id: &'a str,
    day: String,
}

/// A new entry.
#[derive(Serialize)]
struct NewRow<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    origin: Option<&'a str>,
    session: Box<str>,
    request_id: String,
}

impl<'a> NewRow<'a> {
    fn new(intent: &'a Intent, entry: &'a Entry) -> Self {
        Self {
            entry,
            origin: intent.origin.as_ref().map(Origin::as_str),
            session: intent.session.label(),
            request_id: intent.request_id.to_string(),
        }
    }
}

/// The sums of use of a call.
#[derive(Serialize)]
struct SumsRow<'a> {
    id: &'a str,
    #[serde(flatten)]
    used: UsedRow,
}

/// An outcome.
#[derive(Default, Serialize)]
struct OutcomeRow<'a> {
    id: String,
    outcome: &'static str,
    code: Option<&'a str>,
    settled_at: u64,
    latency_ms: Option<u64>,
    model: Option<&'a str>,
    upstream_request: Option<&'a str>,
    expires_at: Option<u64>,
}

impl<'a> OutcomeRow<'a> {
    /// Applies an outcome, and the code that its entry keeps. Values that the outcome lacks stay.
    fn replace(&mut self, settlement: &'a Settlement, kept: Option<&'a str>) {
        self.id = settlement.id.to_string();
        self.outcome = settlement.outcome.as_str();
        self.code = kept;
        self.settled_at = settlement.at.as_millis();
        self.latency_ms = u64::try_from(settlement.took.as_millis()).ok();
        match &settlement.outcome {
            Outcome::Minted {
                expires_at,
                model,
                upstream_request,
            } => {
                self.model = model.as_deref().or(self.model);
                self.upstream_request = upstream_request.as_deref().or(self.upstream_request);
                self.expires_at = Some(expires_at.as_millis());
            }
            Outcome::Undelivered => {}
            Outcome::Failed { code } | Outcome::Uncertain { code } => self.code = Some(code),
        }
    }
}

/// A counter.
#[derive(Deserialize, Serialize)]
struct CounterRow {
    #[serde(flatten)]
    key: CounterKey,
    sessions: u64,
}

/// Reads the entries of the commands, unless all of them `are_new`, and the counters. PostgreSQL locks them, in one order for
/// all brokers.
pub(super) async fn read(
    connection: &mut dyn Connection,
    commands: &[&Paid],
    are_new: bool,
) -> Result<Book, Fault> {
    let mut book = Book::default();
    if !are_new {
        let entries = find(connection, commands).await?;
        let keyed = |entry: Entry| Some((EntryId::parse(&entry.id)?, entry));
        book.entries.extend(entries.into_iter().filter_map(keyed));
    }
    let keys: BTreeSet<_> = commands
        .iter()
        .filter_map(|command| counter(command, &book))
        .collect();
    if !keys.is_empty() {
        let sessions = 0;
        let rows: Vec<_> = keys
            .into_iter()
            .map(|key| CounterRow { key, sessions })
            .collect();
        let counters = [page(&rows)?];
        connection.change(&OPEN_COUNTERS, &counters).await?;
        let rows: Vec<CounterRow> = connection.rows(&COUNTERS, &counters).await?;
        book.counters = rows
            .into_iter()
            .map(|row| (row.key, row.sessions))
            .collect();
    }
    Ok(book)
}

async fn find(connection: &mut dyn Connection, commands: &[&Paid]) -> Result<Vec<Entry>, Fault> {
    let ids = commands.iter().map(|command| command.entry().to_string());
    connection.rows(&READ, &[IdRow::page(ids)?]).await
}

/// Fails when an entry has a row that is believed to be new. The next attempt reads it.
pub(super) async fn assert_new(
    connection: &mut dyn Connection,
    commands: &[&Paid],
) -> Result<(), Fault> {
    if commands.is_empty() || find(connection, commands).await?.is_empty() {
        return Ok(());
    }
    Err(appeared())
}

fn appeared() -> Fault {
    Fault::new(Severity::Conflict, "an entry is there already")
}

/// Returns the counter that a command may change.
fn counter(command: &Paid, book: &Book) -> Option<CounterKey> {
    match command {
        Paid::Reserve(intent, _) => Entry::pending(intent).counter(),
        Paid::Settle(settlement) if matches!(settlement.outcome, Outcome::Failed { .. }) => {
            book.entries.get(&settlement.id)?.counter()
        }
        Paid::OpenCall(dialled) => Entry::pending(&dialled.intent).counter(),
        Paid::Settle(_) | Paid::ChangeCall(..) | Paid::Answer(..) | Paid::Spend(..) => None,
    }
}

/// Writes what `accepted` commands changed of the entries and counters `before`.
pub(super) async fn write(
    connection: &mut dyn Connection,
    (before, after): (&Book, &Book),
    accepted: &[&Paid],
    numbered: Option<&mut Numbered>,
) -> Result<(), Fault> {
    let (mut added, mut settled) = (Vec::new(), BTreeMap::new());
    for command in accepted {
        match command {
            Paid::Reserve(intent, _) => {
                let entry = after.entries.get(&intent.id);
                added.extend(entry.map(|entry| NewRow::new(intent, entry)));
            }
            Paid::OpenCall(dialled) => {
                let entry = after.entries.get(&dialled.intent.id);
                added.extend(entry.map(|entry| NewRow::new(&dialled.intent, entry)));
            }
            Paid::ChangeCall(..) | Paid::Spend(..) => {}
            Paid::Settle(settlement) | Paid::Answer(settlement, _) => {
                let row: &mut OutcomeRow<'_> = settled.entry(settlement.id).or_default();
                let entry = after.entries.get(&settlement.id);
                row.replace(settlement, entry.and_then(|entry| entry.code.as_deref()));
            }
        }
    }
    if !added.is_empty() {
        let written = connection.change(&ADD, &[page(&added)?]).await?;
        if written != added.len() as u64 {
            // Written by an earlier attempt whose answer was lost. The next attempt finds it.
            return Err(appeared());
        }
    }
    if !settled.is_empty() {
        let rows: Vec<_> = settled.into_values().collect();
        connection.change(&SETTLE, &[page(&rows)?]).await?;
    }
    let used = after.entries.iter().filter_map(|(id, entry)| {
        let known = before.entries.get(id).map(|before| before.used);
        let (id, used) = (&*entry.id, entry.used);
        (known.unwrap_or_default() != used).then_some(SumsRow { id, used })
    });
    let used: Vec<_> = used.collect();
    if !used.is_empty() {
        connection.change(&SET_SUMS, &[page(&used)?]).await?;
    }
    let mut counted = Vec::new();
    for (key, sessions) in &after.counters {
        if before.counters.get(key) != Some(sessions) {
            let (key, sessions) = (key.clone(), *sessions);
            counted.push(CounterRow { key, sessions });
        }
    }
    if !counted.is_empty() {
        connection.change(&SET_COUNTERS, &[page(&counted)?]).await?;
    }
    let mut changes = Changes::default();
    for (id, entry) in &after.entries {
        changes.note(before.entries.get(id), Some(entry));
    }
    changes.write(connection, numbered).await.map(drop)
}

/// Settles as uncertain, with `code`, the entries that [`LEFT_PENDING`] lists. Returns their number.
pub(super) async fn give_up(
    connection: &mut dyn Connection,
    (binds, code): (&[Bind], &str),
    now: Timestamp,
) -> Result<u64, Fault> {
    let entries: Vec<Entry> = connection.rows(&LEFT_PENDING, binds).await?;
    let mut changes = Changes::default();
    for entry in &entries {
        let mut given_up = entry.clone();
        given_up.state = State::Uncertain;
        changes.note(Some(entry), Some(&given_up));
    }
    let ids = IdRow::page(entries.iter().map(|entry| entry.id.clone()))?;
    let number = connection
        .change(&GIVE_UP, &[ids, now.into(), code.into()])
        .await?;
    changes.write(connection, None).await.map(|_| number)
}

/// Removes the entries that `listed` lists, and takes them out of the sums. Their places in counters stay. Returns
/// their number.
pub(super) async fn remove(
    connection: &mut dyn Connection,
    listed: &'static Statement,
    binds: &[Bind],
) -> Result<u64, Fault> {
    let entries: Vec<Entry> = connection.rows(listed, binds).await?;
    let mut changes = Changes::default();
    for entry in &entries {
        changes.note(Some(entry), None);
    }
    let gone = entries.iter().map(|entry| GoneRow {
        id: &entry.id,
        day: day_of(entry.at()),
    });
    let gone = [page(&gone.collect::<Vec<_>>())?];
    let number = connection.change(&REMOVE, &gone).await?;
    // In the order in which uses are added, so that brokers do not wait for each other in a circle.
    changes.write_and_drop(connection).await?;
    models::remove(connection, &gone).await.map(|()| number)
}
