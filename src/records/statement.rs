//! SQL in both dialects. Many rows travel as one JSON array of objects, in and out: one statement for many rows.

use std::sync::OnceLock;

use super::measures::{columns, measures};

/// The server's time in milliseconds.
pub(super) const SERVER_TIME: &str = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

/// PostgreSQL's text for the words in braces. SQLite gets the broker's time as `$2`.
const POSTGRES: [(&str, &str); 4] = [
    (
        "{is abandoned}",
        "(replica <> $1 AND NOT EXISTS \
         (SELECT 1 FROM leases WHERE leases.replica = calls.replica AND until > {now}))",
    ),
    ("{now}", "COALESCE({server time}, CAST($2 AS BIGINT))"),
    ("{server time}", SERVER_TIME),
    // Locks the owners on the page, in one order for all brokers, until the transaction ends.
    (
        "{parties are locked}",
        "(SELECT COUNT(pg_advisory_xact_lock(hashtextextended(party, 5))) > 0 \
         FROM (SELECT DISTINCT party FROM page ORDER BY 1) AS parties)",
    ),
];

/// SQLite's text for the same words. SQLite has a single writer, so it needs no locks and no leases.
const SQLITE: [(&str, &str); 7] = [
    ("{is abandoned}", "replica <> $1"),
    ("{now}", "CAST($2 AS BIGINT)"),
    ("{parties are locked}", "true"),
    (" FOR UPDATE OF calls SKIP LOCKED", ""),
    (" FOR UPDATE OF calls", ""),
    (" FOR UPDATE SKIP LOCKED", ""),
    (" FOR UPDATE", ""),
];

/// The columns of a statement that is not about many rows.
pub(super) const NO_PAGE: &str = "";

/// All brokers insert rows in one order, so that none waits for another in a circle (deadlock).
///
/// One statement, written once for both databases. In its words `{page}` and `{columns}` stand for the names of those
/// columns, and `{each …}` stands for a list with one item for each measure, whose name is `#`. `{used …}` is the same for
/// the measures that entries have as columns, and `{sums}` for a table of them.
pub(super) struct Statement {
    /// The columns of `page`, with types: the rows of the parameter `$1`, a JSON array of objects.
    page: &'static str,
    /// The columns that are listed of the rows that the words select. Empty for a statement that changes rows.
    columns: &'static str,
    words: &'static str,
    dialects: OnceLock<Dialects>,
}

/// A statement as SQLite and as PostgreSQL understand it.
pub(super) struct Dialects {
    pub(super) sqlite: String,
    pub(super) postgres: String,
}

impl Statement {
    /// Returns a statement that changes rows.
    pub(super) const fn change(page: &'static str, words: &'static str) -> Self {
        Self::list(page, "", words)
    }

    /// Returns a statement that lists rows.
    pub(super) const fn list(
        page: &'static str,
        columns: &'static str,
        words: &'static str,
    ) -> Self {
        Self {
            page,
            columns,
            words,
            dialects: OnceLock::new(),
        }
    }

    pub(super) fn sqlite(&'static self) -> &'static str {
        &self.dialects.get_or_init(|| self.translate()).sqlite
    }

    pub(super) fn postgres(&'static self) -> &'static str {
        &self.dialects.get_or_init(|| self.translate()).postgres
    }

    fn translate(&self) -> Dialects {
        let (page, columns) = (with_measures(self.page), with_measures(self.columns));
        let names = |columns| each(columns, str::to_owned);
        let words = with_measures(self.words)
            .replace("{page}", &names(&page))
            .replace("{columns}", &names(&columns));
        let (mut sqlite, mut postgres) = (replaced(&words, &SQLITE), replaced(&words, &POSTGRES));
        if !columns.is_empty() {
            let members = each(&columns, |name| format!("'{name}', {name}"));
            sqlite = format!(
                "SELECT json_group_array(json_object({members})) FROM ({sqlite}) AS listed"
            );
            postgres = format!(
                "SELECT CAST(COALESCE(json_agg(json_build_object({members})), '[]') AS text) FROM ({postgres}) AS listed"
            );
        }
        if !page.is_empty() {
            let members = each(&page, |name| format!("value->>'{name}' AS {name}"));
            // SQLite would write each object out anew for each of its columns. A table of the objects keeps them.
            sqlite = format!(
                "WITH objects AS MATERIALIZED (SELECT value FROM json_each($1)), \
                 page AS (SELECT {members} FROM objects) {sqlite}"
            );
            postgres = format!(
                "WITH page AS (SELECT * FROM json_to_recordset(CAST($1 AS json)) AS given ({page})) {postgres}"
            );
        }
        Dialects { sqlite, postgres }
    }
}

/// Joins `say(name)` of all columns with commas.
fn each(columns: &str, say: impl Fn(&str) -> String) -> String {
    let columns = columns.split(", ");
    let names = columns.map(|column| column.split(' ').next().unwrap_or_default());
    names.map(say).collect::<Vec<_>>().join(", ")
}

fn replaced(words: &str, pairs: &[(&str, &str)]) -> String {
    let replace = |words: String, (word, instead): &(&str, &str)| words.replace(word, instead);
    pairs.iter().fold(words.to_owned(), replace)
}

/// Writes out `{each …}` and `{used …}`.
fn with_measures(words: &str) -> String {
    let words = words.replace("{sums}", "(SELECT id, role, {used #} FROM entries) AS sums");
    let words = with_each(&words, "{each ", measures);
    with_each(&words, "{used ", columns)
}

fn with_each<N: Iterator<Item = &'static str>>(
    words: &str,
    mark: &str,
    names: impl Fn() -> N,
) -> String {
    let mut parts = words.split(mark);
    let mut written = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (item, rest) = part.split_once('}').unwrap_or_default();
        let items: Vec<_> = names().map(|name| item.replace('#', name)).collect();
        written.push_str(&items.join(", "));
        written.push_str(rest);
    }
    written
}
