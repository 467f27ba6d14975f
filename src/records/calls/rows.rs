//! The rows of calls: how they are read, counted, written and claimed in a transaction.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::row::{CALL, CLAIMED, CallRow, FOUND, FoundRow};
use super::used::{USE, UseKeyRow, UseRow};
use super::{models, spent};
use crate::clock::Timestamp;
use crate::domain::{Call, CallUse, EntryId, Party, PersonaName, day_of};
use crate::records::book::Book;
use crate::records::command::Paid;
use crate::records::database::{Bind, Connection, Fault, Severity, page};
use crate::records::entries::IdRow;
use crate::records::statement::{NO_PAGE, Statement};

/// Lists the calls on the page, without what their entries have of them.
static READ: Statement = Statement::list(
    "id text",
    CALL,
    "SELECT {columns} FROM calls WHERE entry IN (SELECT page.id FROM page) ORDER BY entry FOR UPDATE OF calls",
);

/// The owner of a new call, and the hash of its `Idempotency-Key`.
const ASKED: &str = "party text, idempotency text";

/// Lists the calls that were asked for before, under the same `Idempotency-Key`.
static SAME: Statement = Statement::list(
    ASKED,
    FOUND,
    "SELECT {columns} FROM calls LEFT JOIN {sums} ON id = entry WHERE (party, idempotency) IN (SELECT party, idempotency FROM page)",
);

/// Counts the places that calls take: those of everybody once, and those of each owner by the index. Replicas that open calls
/// wait for each other: see [`Connection::lock_calls`].
pub(super) static TAKEN: Statement = Statement::list(
    ASKED,
    "party, of_owner, anonymous, total",
    "SELECT asked.party AS party, \
     (SELECT COUNT(*) FROM calls WHERE calls.party = asked.party \
     AND state <> 'ended' AND (state <> 'lost' OR deadline_at > {now})) AS of_owner, anonymous, total \
     FROM (SELECT DISTINCT party FROM page) AS asked CROSS JOIN \
     (SELECT COUNT(*) AS total, COALESCE(SUM(CASE WHEN party LIKE 'n%' THEN 1 ELSE 0 END), 0) AS anonymous FROM calls \
     WHERE state <> 'ended' AND (state <> 'lost' OR deadline_at > {now})) AS taken",
);

/// Counts the places that calls of the personas on the page take.
static TAKEN_BY_PERSONAS: Statement = Statement::list(
    "persona text",
    "persona, total",
    "SELECT persona, COUNT(*) AS total FROM calls WHERE persona IN (SELECT page.persona FROM page) \
     AND state <> 'ended' AND (state <> 'lost' OR deadline_at > {now}) GROUP BY persona",
);

/// Writes calls. A later version of a call replaces what may change of it.
static WRITE: Statement = Statement::change(
    CALL,
    "INSERT INTO calls ({page}) SELECT {page} FROM page WHERE true ORDER BY 1 ON CONFLICT (entry) DO UPDATE SET \
     upstream = excluded.upstream, fingerprint = excluded.fingerprint, state = excluded.state, \
     opened_at = excluded.opened_at, joined_at = excluded.joined_at, deadline_at = excluded.deadline_at, \
     warned = excluded.warned, ending_at = excluded.ending_at, ended_at = excluded.ended_at, \
     end_reason = excluded.end_reason, hang_up_attempts = excluded.hang_up_attempts, \
     hang_up_due = excluded.hang_up_due, replica = excluded.replica, epoch = excluded.epoch, \
     revision = excluded.revision, held_seconds = excluded.held_seconds, \
     held_nanodollars = excluded.held_nanodollars",
);

/// Writes what a use changes of calls. No index has these columns.
static COUNT: Statement = Statement::change(
    "entry text, revision bigint, held_nanodollars bigint",
    "UPDATE calls SET revision = page.revision, held_nanodollars = page.held_nanodollars \
     FROM page WHERE calls.entry = page.entry",
);

/// Lists the `$3` most urgent calls that the replica `$1` may take over: [`Call::is_claimable`] for many rows. `$4` is the
/// time in milliseconds after which an open call is late.
static CLAIMABLE: Statement = Statement::list(
    NO_PAGE,
    CLAIMED,
    "SELECT {columns} FROM calls LEFT JOIN {sums} ON id = entry \
     LEFT JOIN (SELECT replica AS watcher, renewed_at AS watched_until FROM leases) AS watchers ON watcher = replica \
     WHERE state <> 'ended' AND state <> 'lost' AND ({is abandoned} OR hang_up_due <= {now} \
     OR ((state <> 'ending' OR hang_up_due IS NULL) AND deadline_at <= {now} - $4)) \
     ORDER BY state = 'ending', deadline_at LIMIT $3 \
     FOR UPDATE OF calls SKIP LOCKED",
);

/// Removes the `$3` oldest calls that were over for `$1` milliseconds, and those whose entry was erased.
pub(super) static FORGET: Statement = Statement::change(
    NO_PAGE,
    "DELETE FROM calls WHERE entry IN (SELECT entry FROM calls WHERE (state = 'ended' AND (ended_at < {now} - $1 \
     OR NOT EXISTS (SELECT 1 FROM entries WHERE id = calls.entry))) OR (state = 'lost' AND deadline_at < {now} - $1) \
     ORDER BY dialled_at LIMIT $3 FOR UPDATE SKIP LOCKED)",
);

/// Takes the account's name out of the calls of the owner `$1`.
pub(super) static WITHOUT_ACCOUNT: Statement = Statement::change(
    NO_PAGE,
    "UPDATE calls SET issuer = NULL, subject = NULL WHERE entry IN \
     (SELECT entry FROM calls WHERE party = $1 ORDER BY entry FOR UPDATE)",
);

/// Lists those of the uses on the page that are counted already.
static COUNTED: Statement = Statement::list(
    "entry text, id text",
    "entry, id",
    "SELECT {columns} FROM call_uses WHERE (entry, id) IN (SELECT entry, id FROM page)",
);

static ADD_USES: Statement = Statement::change(
    USE,
    "INSERT INTO call_uses (entry, id, at, mark, model, {used #}) SELECT entry, id, at, mark, model, {used #} FROM page \
     WHERE true ORDER BY 1, 2 ON CONFLICT (entry, id) DO NOTHING",
);

/// A call of which nothing has changed but what a use changes.
#[derive(Serialize)]
struct CountedRow {
    entry: String,
    revision: u64,
    held_nanodollars: i64,
}

impl CountedRow {
    /// Returns the row of a call, if nothing else of it has changed.
    fn of(before: &Call, after: &Call) -> Option<Self> {
        let mut counted = before.clone();
        (counted.revision, counted.used) = (after.revision, after.used);
        counted.held.money = after.held.money;
        (counted == *after).then(|| Self {
            entry: after.entry.to_string(),
            revision: after.revision,
            held_nanodollars: after.held.money.as_nanos(),
        })
    }
}

#[derive(Serialize)]
struct AskedRow<'a> {
    party: String,
    idempotency: Option<&'a str>,
}

#[derive(Deserialize)]
struct TakenRow {
    party: String,
    of_owner: u64,
    anonymous: u64,
    total: u64,
}

#[derive(Deserialize, Serialize)]
struct PersonaRow {
    persona: String,
    #[serde(skip_serializing)]
    total: Option<u64>,
}

/// Reads the calls that the commands are about, and, for new calls and more money, what is taken and spent already.
pub(in crate::records) async fn read(
    connection: &mut dyn Connection,
    book: &mut Book,
    (commands, now): (&[&Paid], Timestamp),
) -> Result<(), Fault> {
    let takes = |command: &&Paid| match command {
        Paid::OpenCall(_) => true,
        Paid::Spend(_, spending) => spending.top_up.is_some(),
        _ => false,
    };
    if commands.iter().any(takes) {
        connection.lock_calls().await?;
    }
    let ids = commands.iter().filter_map(|command| command.call(book));
    // A relay's ticket opens nothing while what it opened before is up.
    let tickets = commands.iter().filter_map(|command| command.ticket());
    let opened = tickets.filter_map(|hash| book.tickets.get(hash)?.entry);
    let ids: BTreeSet<_> = ids.chain(opened).map(|id| id.to_string()).collect();
    if !ids.is_empty() {
        let ids = IdRow::page(ids.into_iter())?;
        let rows: Vec<CallRow> = connection.rows(&READ, &[ids]).await?;
        for mut call in rows.into_iter().filter_map(CallRow::read) {
            if let Some(entry) = book.entries.get(&call.entry) {
                (call.used, call.role) = (entry.used.read(), entry.role.clone());
            }
            book.calls.insert(call.entry, call);
        }
    }
    read_uses(connection, book, commands).await?;
    read_taken(connection, book, (commands, now)).await?;
    spent::read(connection, book, (commands, now)).await
}

/// Reads the calls that were asked for before, and the places that are taken.
async fn read_taken(
    connection: &mut dyn Connection,
    book: &mut Book,
    (commands, now): (&[&Paid], Timestamp),
) -> Result<(), Fault> {
    let asked: Vec<_> = commands
        .iter()
        .filter_map(|command| match command {
            Paid::OpenCall(dialled) => Some(AskedRow {
                party: dialled.dial.caller.crowd().to_text(),
                idempotency: dialled.dial.idempotency.as_deref(),
            }),
            _ => None,
        })
        .collect();
    if asked.is_empty() {
        return Ok(());
    }
    let has_key = asked.iter().any(|asked| asked.idempotency.is_some());
    let asked = [page(&asked)?, now.into()];
    if has_key {
        let rows: Vec<FoundRow> = connection.rows(&SAME, &asked[..1]).await?;
        let calls = rows.into_iter().filter_map(FoundRow::read);
        book.calls.extend(calls.map(|call| (call.entry, call)));
    }
    let rows: Vec<TakenRow> = connection.rows(&TAKEN, &asked).await?;
    for row in rows {
        (book.taken.anonymous, book.taken.total) = (row.anonymous, row.total);
        if let Some(owner) = Party::parse(&row.party) {
            book.taken.owners.insert(owner, row.of_owner);
        }
    }
    read_taken_by_personas(connection, book, (commands, now)).await
}

/// Reads the places that calls of personas take, as far as new calls count together with them.
async fn read_taken_by_personas(
    connection: &mut dyn Connection,
    book: &mut Book,
    (commands, now): (&[&Paid], Timestamp),
) -> Result<(), Fault> {
    let kin = commands.iter().filter_map(|command| match command {
        Paid::OpenCall(dialled) => dialled.dial.kin.as_ref(),
        _ => None,
    });
    let personas: BTreeSet<_> = kin.flat_map(|kin| kin.personas.iter()).collect();
    if personas.is_empty() {
        return Ok(());
    }
    let asked = personas.into_iter().map(|persona| PersonaRow {
        persona: persona.to_string(),
        total: None,
    });
    let asked = [page(&asked.collect::<Vec<_>>())?, now.into()];
    let rows: Vec<PersonaRow> = connection.rows(&TAKEN_BY_PERSONAS, &asked).await?;
    for row in rows {
        if let (Ok(persona), Some(total)) = (PersonaName::parse(&row.persona), row.total) {
            book.taken.personas.insert(persona, total);
        }
    }
    Ok(())
}

/// Reads which of the uses are counted already.
async fn read_uses(
    connection: &mut dyn Connection,
    book: &mut Book,
    commands: &[&Paid],
) -> Result<(), Fault> {
    let uses: Vec<_> = uses(commands)
        .map(|(entry, more)| UseKeyRow {
            entry: entry.to_string(),
            id: more.id.clone(),
        })
        .collect();
    if uses.is_empty() {
        return Ok(());
    }
    let rows: Vec<UseKeyRow> = connection.rows(&COUNTED, &[page(&uses)?]).await?;
    let counted = rows.into_iter();
    book.uses
        .extend(counted.filter_map(|row| Some(((EntryId::parse(&row.entry)?, row.id), None))));
    Ok(())
}

fn uses<'a>(commands: &'a [&Paid]) -> impl Iterator<Item = (EntryId, &'a CallUse)> {
    commands.iter().flat_map(|command| match command {
        Paid::Spend(entry, spending) => spending.uses.iter().map(|more| (*entry, more)).collect(),
        _ => Vec::new(),
    })
}

/// Writes the calls that are new or differ, and the uses that are new.
pub(in crate::records) async fn write(
    connection: &mut dyn Connection,
    (before, after): (&Book, &Book),
    now: Timestamp,
) -> Result<(), Fault> {
    let uses = after.uses.iter().filter_map(|((id, _), more)| {
        let day = day_of(after.entries.get(id)?.at());
        // A use that the database has already is only known by its id.
        Some(UseRow::new((*id, day), more.as_ref()?, now))
    });
    let uses: Vec<_> = uses.collect();
    if !uses.is_empty() {
        let new = [page(&uses)?];
        models::add(connection, &new).await?;
        let written = connection.change(&ADD_USES, &new).await?;
        if written != uses.len() as u64 {
            // Another broker has written one of them after it was looked for. The next attempt finds it.
            return Err(Fault::new(Severity::Conflict, "a use has just appeared"));
        }
    }
    let (mut counted, mut changed) = (Vec::new(), Vec::new());
    for call in after.calls.values() {
        let known = before.calls.get(&call.entry);
        if known == Some(call) {
            continue;
        }
        match known.and_then(|known| CountedRow::of(known, call)) {
            Some(row) => counted.push(row),
            None => changed.push(call),
        }
    }
    if !counted.is_empty() {
        connection.change(&COUNT, &[page(&counted)?]).await?;
    }
    put(connection, changed.into_iter()).await
}

async fn put(
    connection: &mut dyn Connection,
    calls: impl Iterator<Item = &Call>,
) -> Result<(), Fault> {
    let rows: Vec<_> = calls.map(CallRow::new).collect();
    if !rows.is_empty() {
        connection.change(&WRITE, &[page(&rows)?]).await?;
    }
    Ok(())
}

/// Gives the calls that `CLAIMABLE` lists to `replica`.
pub(in crate::records) async fn claim(
    connection: &mut dyn Connection,
    (binds, replica): (&[Bind], &str),
    now: Timestamp,
) -> Result<Vec<Call>, Fault> {
    let rows: Vec<FoundRow> = connection.rows(&CLAIMABLE, binds).await?;
    let calls = rows.into_iter().filter_map(FoundRow::read);
    let calls: Vec<_> = calls.map(|call| call.claimed(replica, now)).collect();
    put(connection, calls.iter()).await?;
    Ok(calls)
}
