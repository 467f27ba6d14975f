//! The rows of entries, counters and sums: how they are read, written and removed in a transaction.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::command::Batched;
use super::database::{Connection, Fault, Severity};
use super::measures::{self, Sums};
use super::plan::{CounterKey, Plan, SumKey};
use super::rows::{BeforeRow, IdRow, IntentRow, decode, decode_known, encode, millis};
use super::state::Known;
use super::statement::{
    Column, Statement, each, insert, insert_words, list_over_page, names, number, over_page, text,
};
use crate::clock::Timestamp;
use crate::domain::{Kind, Month, Outcome, Settlement};

/// Entries with their ids.
pub(super) type Entries = Vec<(Box<str>, Known)>;

/// The columns of [`Known`].
const KNOWN: [Column; 8] = [
    text("id"),
    number("at"),
    text("kind"),
    text("outcome"),
    text("issuer"),
    text("subject"),
    text("role"),
    text("persona"),
];

/// The columns of a new entry.
const NEW: [Column; 12] = [
    text("id"),
    number("at"),
    text("kind"),
    text("outcome"),
    text("issuer"),
    text("subject"),
    text("role"),
    text("persona"),
    text("network"),
    text("origin"),
    text("session"),
    text("request_id"),
];

/// The columns of an outcome that a later outcome replaces only with a value.
const LASTING: [Column; 4] = [
    number("latency_ms"),
    text("model"),
    text("upstream_request"),
    number("expires_at"),
];

const COUNTER: [Column; 4] = [
    text("month"),
    text("issuer"),
    text("subject"),
    number("sessions"),
];

static READ: LazyLock<Statement> = LazyLock::new(|| {
    let from = "FROM entries WHERE id IN (SELECT value->>'id' FROM page) ORDER BY id";
    list_over_page(&KNOWN, from)
});

/// The oldest entries from before a moment.
pub(super) static OLDEST: LazyLock<Statement> = LazyLock::new(|| oldest(""));

/// The oldest entries from before a moment that have no outcome.
pub(super) static LEFT_PENDING: LazyLock<Statement> =
    LazyLock::new(|| oldest("outcome = 'pending' AND"));

fn oldest(condition: &str) -> Statement {
    let from = format!(
        "FROM entries WHERE {condition} at < (SELECT CAST(value->>'before' AS BIGINT) FROM page) \
         ORDER BY at LIMIT (SELECT CAST(value->>'most' AS BIGINT) FROM page)"
    );
    list_over_page(&KNOWN, &from)
}

static ADD: LazyLock<Statement> =
    LazyLock::new(|| insert("entries", &NEW, "ON CONFLICT (id) DO NOTHING"));

static SETTLE: LazyLock<Statement> = LazyLock::new(|| {
    let columns = [text("outcome"), text("code"), number("settled_at")];
    let set = each(&columns, |column| format!("{0} = new.{0}", column.name));
    let lasting = each(&LASTING, |column| {
        format!("{0} = COALESCE(new.{0}, entries.{0})", column.name)
    });
    let of_page = |column: Column| format!("{} AS {}", column.of_page(), column.name);
    let (new, more) = (each(&columns, of_page), each(&LASTING, of_page));
    over_page(&format!(
        "UPDATE entries SET {set}, {lasting} FROM (SELECT value->>'id' AS id, {new}, {more} FROM page) AS new \
         WHERE entries.id = new.id"
    ))
});

static REMOVE: LazyLock<Statement> =
    LazyLock::new(|| over_page("DELETE FROM entries WHERE id IN (SELECT value->>'id' FROM page)"));

/// Makes sure that the counters exist, so that PostgreSQL can lock them. SQLite's writer is alone anyway.
static OPEN_COUNTERS: LazyLock<Statement> =
    LazyLock::new(|| insert("counters", &COUNTER, "ON CONFLICT DO NOTHING"));

static COUNTERS: LazyLock<Statement> = LazyLock::new(|| {
    list_over_page(
        &COUNTER,
        "FROM counters WHERE (month, issuer, subject) IN \
         (SELECT value->>'month', value->>'issuer', value->>'subject' FROM page) ORDER BY month, issuer, subject",
    )
});

static SET_COUNTERS: LazyLock<Statement> = LazyLock::new(|| {
    let conflict =
        "ON CONFLICT (month, issuer, subject) DO UPDATE SET sessions = excluded.sessions";
    insert("counters", &COUNTER, conflict)
});

/// Removes the counters of months before the page's.
pub(super) static FORGET_COUNTERS: LazyLock<Statement> = LazyLock::new(|| {
    over_page("DELETE FROM counters WHERE month < (SELECT value->>'month' FROM page)")
});

/// Removes the counters of the accounts on the page.
pub(super) static ERASE_COUNTERS: LazyLock<Statement> = LazyLock::new(|| {
    over_page(
        "DELETE FROM counters WHERE (issuer, subject) IN (SELECT value->>'issuer', value->>'subject' FROM page)",
    )
});

/// The columns of sums, without what they are summed up by.
fn sums() -> Vec<Column> {
    let mut columns = measures::columns();
    columns.push(number("last_at"));
    columns
}

/// Returns the clause that adds the values of a row to those that are there.
fn added_to(table: &str) -> String {
    let sums = each(&measures::columns(), |column| {
        format!("{0} = {table}.{0} + excluded.{0}", column.name)
    });
    format!(
        "DO UPDATE SET {sums}, last_at = CASE WHEN excluded.last_at > {table}.last_at \
         THEN excluded.last_at ELSE {table}.last_at END"
    )
}

/// Returns the condition that nothing is left of a row of sums.
fn is_empty() -> String {
    let all: Vec<_> = measures::measures().collect();
    format!("{} = 0", all.join(" + "))
}

static ADD_DAILY: LazyLock<Statement> = LazyLock::new(|| {
    let mut columns = vec![text("day"), text("role"), text("persona")];
    columns.extend(sums());
    let conflict = format!("ON CONFLICT (day, role, persona) {}", added_to("daily"));
    let words = insert_words("daily", &columns, &conflict);
    let words = words.replace("value->>'role'", "value->>'one'");
    over_page(&words.replace("value->>'persona'", "value->>'two'"))
});

static DROP_DAILY: LazyLock<Statement> = LazyLock::new(|| {
    let is_empty = is_empty();
    over_page(&format!(
        "DELETE FROM daily WHERE {is_empty} \
         AND (day, role, persona) IN (SELECT value->>'day', value->>'one', value->>'two' FROM page)"
    ))
});

/// Makes sure that the accounts on the page have numbers.
static OPEN_ACCOUNTS: LazyLock<Statement> = LazyLock::new(|| {
    over_page(
        "INSERT INTO accounts (issuer, subject) SELECT DISTINCT value->>'one', value->>'two' FROM page \
         WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE accounts.issuer = value->>'one' \
         AND accounts.subject = value->>'two') ORDER BY 1, 2 ON CONFLICT DO NOTHING",
    )
});

const PAGE_AND_ACCOUNTS: &str = "FROM page JOIN accounts ON accounts.issuer = value->>'one' AND accounts.subject = value->>'two'";

static ADD_DAILY_ACCOUNTS: LazyLock<Statement> = LazyLock::new(|| {
    let sums = sums();
    over_page(&format!(
        "INSERT INTO daily_accounts (account, day, {}) SELECT account, value->>'day', {} {PAGE_AND_ACCOUNTS} \
         WHERE true ORDER BY 1, 2 ON CONFLICT (account, day) {}",
        names(&sums),
        each(&sums, Column::of_page),
        added_to("daily_accounts")
    ))
});

static DROP_DAILY_ACCOUNTS: LazyLock<Statement> = LazyLock::new(|| {
    let is_empty = is_empty();
    over_page(&format!(
        "DELETE FROM daily_accounts WHERE {is_empty} \
         AND (account, day) IN (SELECT account, value->>'day' {PAGE_AND_ACCOUNTS})"
    ))
});

static DROP_ACCOUNTS: LazyLock<Statement> = LazyLock::new(|| {
    over_page(
        "DELETE FROM accounts WHERE (issuer, subject) IN (SELECT value->>'one', value->>'two' FROM page) \
         AND NOT EXISTS (SELECT 1 FROM daily_accounts WHERE daily_accounts.account = accounts.account)",
    )
});

/// A counter.
#[derive(Debug, Deserialize, Serialize)]
struct CounterRow<T = Box<str>> {
    month: String,
    issuer: T,
    subject: T,
    sessions: u64,
}

/// Names a month.
#[derive(Serialize)]
pub(super) struct MonthRow {
    pub(super) month: String,
}

/// Names an account.
#[derive(Serialize)]
pub(super) struct AccountRow<'a> {
    pub(super) issuer: &'a str,
    pub(super) subject: &'a str,
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

/// Reads entries. PostgreSQL locks them until the transaction ends.
pub(super) async fn read(
    connection: &mut dyn Connection,
    ids: Vec<String>,
) -> Result<Entries, Fault> {
    let page: Vec<_> = ids.into_iter().map(|id| IdRow { id }).collect();
    decode_known(&connection.list(&READ, &encode(&page)?).await?)
}

/// Reads the oldest entries from before a moment, at most so many.
pub(super) async fn read_before(
    connection: &mut dyn Connection,
    statement: &'static Statement,
    (before, most): (Timestamp, u32),
) -> Result<Entries, Fault> {
    let before = millis(before);
    let page = encode(&[BeforeRow { before, most }])?;
    decode_known(&connection.list(statement, &page).await?)
}

/// Reads the counters that the commands may change. PostgreSQL locks them, in one order for all brokers.
pub(super) async fn read_counters(
    connection: &mut dyn Connection,
    plan: &mut Plan<'_>,
    commands: &[&Batched],
) -> Result<(), Fault> {
    let counter = |command: &&Batched| match command {
        Batched::Reserve(intent) if intent.kind == Kind::Mint => {
            let account = intent.account.clone();
            account.map(|account| (Month::of(intent.at), account))
        }
        Batched::Settle(settlement) if is_given_back(settlement) => plan.counter_of(settlement.id),
        Batched::Reserve(_) | Batched::Advance(..) | Batched::Settle(_) => None,
    };
    let mut keys: Vec<CounterKey> = commands.iter().filter_map(counter).collect();
    if keys.is_empty() {
        return Ok(());
    }
    keys.sort_unstable();
    keys.dedup();
    let page = encode(&counter_rows(keys.iter().map(|key| (key, &0))))?;
    connection.change(&OPEN_COUNTERS, &page).await?;
    let rows: Vec<CounterRow> = decode(&connection.list(&COUNTERS, &page).await?)?;
    let stands: HashMap<_, _> = rows
        .into_iter()
        .map(|row| ((row.month, row.issuer, row.subject), row.sessions))
        .collect();
    for key in keys {
        let (month, account) = &key;
        let name = (
            month.to_string(),
            Box::from(&*account.issuer),
            Box::from(&*account.subject),
        );
        let sessions = stands.get(&name).copied().unwrap_or_default();
        plan.read_counter(key, sessions);
    }
    Ok(())
}

fn counter_rows<'a>(
    counters: impl Iterator<Item = (&'a CounterKey, &'a u64)>,
) -> Vec<CounterRow<&'a str>> {
    let row = |((month, account), sessions): (&'a CounterKey, &u64)| CounterRow {
        month: month.to_string(),
        issuer: &*account.issuer,
        subject: &*account.subject,
        sessions: *sessions,
    };
    counters.map(row).collect()
}

const fn is_given_back(settlement: &Settlement) -> bool {
    matches!(settlement.outcome, Outcome::Failed { .. })
}

/// Writes what was decided.
pub(super) async fn write(connection: &mut dyn Connection, plan: &Plan<'_>) -> Result<(), Fault> {
    if !plan.added.is_empty() {
        let added = plan.added.iter();
        let rows: Vec<_> = added
            .map(|(id, intent)| IntentRow::new(id, intent))
            .collect();
        let added = connection.change(&ADD, &encode(&rows)?).await?;
        if added != rows.len() as u64 {
            // Another broker has written one of them after it was looked for. The next attempt finds it.
            return Err(Fault::new(Severity::Conflict, "an entry has just appeared"));
        }
    }
    if !plan.settled.is_empty() {
        let rows: Vec<_> = plan.settled.values().collect();
        connection.change(&SETTLE, &encode(&rows)?).await?;
    }
    if !plan.counted.is_empty() {
        let rows = counter_rows(plan.counted.iter());
        connection.change(&SET_COUNTERS, &encode(&rows)?).await?;
    }
    write_sums(connection, plan).await.map(drop)
}

/// Adds to the sums. Returns the rows by role and by account, as they were written.
async fn write_sums(
    connection: &mut dyn Connection,
    plan: &Plan<'_>,
) -> Result<[String; 2], Fault> {
    let daily = sum_rows(plan.daily.iter());
    let accounts = sum_rows(plan.daily_accounts.iter());
    let number = accounts.len() as u64;
    let pages = [encode(&daily)?, encode(&accounts)?];
    if !daily.is_empty() {
        connection.change(&ADD_DAILY, &pages[0]).await?;
    }
    if number > 0 {
        connection.change(&OPEN_ACCOUNTS, &pages[1]).await?;
        let added = connection.change(&ADD_DAILY_ACCOUNTS, &pages[1]);
        if added.await? != number {
            // Another broker has dropped one of the accounts after it was looked for.
            return Err(Fault::new(Severity::Conflict, "an account has just gone"));
        }
    }
    Ok(pages)
}

fn sum_rows<'a>(sums: impl Iterator<Item = (&'a SumKey, &'a Sums)>) -> Vec<SumRow<'a>> {
    let row = |((day, one, two), sums): (&'a SumKey, &'a Sums)| SumRow {
        day,
        one,
        two,
        sums,
    };
    sums.filter(|(_, sums)| !sums.is_zero()).map(row).collect()
}

/// Removes entries, and takes them out of the sums. Returns their number.
pub(super) async fn remove(
    connection: &mut dyn Connection,
    known: Entries,
) -> Result<usize, Fault> {
    if known.is_empty() {
        return Ok(0);
    }
    let mut plan = Plan::default();
    for (_, known) in &known {
        plan.remove(known);
    }
    let ids: Vec<_> = known.iter().map(|(id, _)| IdRow { id }).collect();
    connection.change(&REMOVE, &encode(&ids)?).await?;
    let [daily, accounts] = write_sums(connection, &plan).await?;
    connection.change(&DROP_DAILY, &daily).await?;
    connection.change(&DROP_DAILY_ACCOUNTS, &accounts).await?;
    connection.change(&DROP_ACCOUNTS, &accounts).await?;
    Ok(known.len())
}
