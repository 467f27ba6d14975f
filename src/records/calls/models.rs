//! The sums of what calls used of each model by day, changed in the transaction of each use.

use super::used::USE;
use crate::records::database::{Bind, Connection, Fault};
use crate::records::statement::Statement;

/// Adds the uses on the page, which are not written yet. A call counts with its first use of a model.
static ADD: Statement = Statement::change(
    USE,
    "INSERT INTO daily_models AS old (day, model, mark, calls, {used #}, last_at) \
     SELECT day, model, mark, COUNT(DISTINCT begun), {used CAST(SUM(#) AS BIGINT)}, MAX(at) FROM \
     (SELECT page.*, CASE WHEN EXISTS (SELECT 1 FROM call_uses WHERE call_uses.entry = page.entry \
     AND call_uses.model = page.model AND call_uses.mark = page.mark) THEN NULL ELSE entry END AS begun FROM page) AS added \
     WHERE true GROUP BY day, model, mark ORDER BY 1, 2, 3 \
     ON CONFLICT (day, model, mark) DO UPDATE SET calls = old.calls + excluded.calls, {used # = old.# + excluded.#}, \
     last_at = CASE WHEN excluded.last_at > old.last_at THEN excluded.last_at ELSE old.last_at END",
);

/// The columns of an entry that goes, with its day.
const GONE: &str = "id text, day text";

/// Takes the uses of the entries on the page away.
static TAKE: Statement = Statement::change(
    GONE,
    "INSERT INTO daily_models AS old (day, model, mark, calls, {used #}, last_at) \
     SELECT day, model, mark, -COUNT(DISTINCT entry), {used -CAST(SUM(#) AS BIGINT)}, 0 \
     FROM page JOIN call_uses ON entry = page.id WHERE true GROUP BY day, model, mark ORDER BY 1, 2, 3 \
     ON CONFLICT (day, model, mark) DO UPDATE SET calls = old.calls + excluded.calls, {used # = old.# + excluded.#}",
);

/// Removes sums of which no call is left, of the days on the page.
static DROP: Statement = Statement::change(
    GONE,
    "DELETE FROM daily_models WHERE calls = 0 AND day IN (SELECT day FROM page)",
);

/// Removes the uses of the entries on the page.
static REMOVE: Statement = Statement::change(
    GONE,
    "DELETE FROM call_uses WHERE entry IN (SELECT page.id FROM page)",
);

/// Adds uses that are about to be written.
pub(super) async fn add(connection: &mut dyn Connection, uses: &[Bind]) -> Result<(), Fault> {
    connection.change(&ADD, uses).await.map(drop)
}

/// Removes the uses of entries that go.
pub(in crate::records) async fn remove(
    connection: &mut dyn Connection,
    gone: &[Bind],
) -> Result<(), Fault> {
    for statement in [&TAKE, &DROP, &REMOVE] {
        connection.change(statement, gone).await?;
    }
    Ok(())
}
