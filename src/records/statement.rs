//! SQL in both dialects, assembled from lists of columns. Rows go in as one JSON array of objects, and come out as one.

/// One statement, as SQLite and as PostgreSQL understand it.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sqlite: String,
    pub(super) postgres: String,
}

/// A column of a table, and a member of the objects that rows travel as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    is_number: bool,
}

/// Returns a column that holds text.
pub(super) const fn text(name: &'static str) -> Column {
    let is_number = false;
    Column { name, is_number }
}

/// Returns a column that holds a number.
pub(super) const fn number(name: &'static str) -> Column {
    let is_number = true;
    Column { name, is_number }
}

impl Column {
    /// Returns the expression that reads the column out of `page.value`.
    pub(super) fn of_page(self) -> String {
        let name = self.name;
        if self.is_number {
            format!("CAST(value->>'{name}' AS BIGINT)")
        } else {
            format!("value->>'{name}'")
        }
    }
}

/// Joins `say(column)` of all columns with commas.
pub(super) fn each(columns: &[Column], say: impl Fn(Column) -> String) -> String {
    let said: Vec<_> = columns.iter().map(|column| say(*column)).collect();
    said.join(", ")
}

/// Returns the names of the columns, separated by commas.
pub(super) fn names(columns: &[Column]) -> String {
    each(columns, |column| column.name.to_owned())
}

/// Returns a statement over `page`: the rows of its one parameter, a JSON array of objects.
pub(super) fn over_page(words: &str) -> Statement {
    in_dialects(words, words)
}

/// Like [`over_page`], with words of its own for each dialect.
pub(super) fn in_dialects(sqlite: &str, postgres: &str) -> Statement {
    Statement {
        sqlite: format!("WITH page AS (SELECT value FROM json_each($1)) {sqlite}"),
        postgres: format!(
            "WITH page AS (SELECT value FROM json_array_elements(CAST($1 AS json))) {postgres}"
        ),
    }
}

/// Returns a statement that inserts the rows of the page into `table`. `conflict` says what happens to a row that is
/// there already.
pub(super) fn insert(table: &str, columns: &[Column], conflict: &str) -> Statement {
    over_page(&insert_words(table, columns, conflict))
}

/// Returns the words of [`insert`].
pub(super) fn insert_words(table: &str, columns: &[Column], conflict: &str) -> String {
    // In one order for all brokers, so that they do not wait for each other in a circle.
    let order = if columns.len() > 2 { "1, 2, 3" } else { "1" };
    format!(
        "INSERT INTO {table} ({}) SELECT {} FROM page WHERE true ORDER BY {order} {conflict}",
        names(columns),
        each(columns, Column::of_page)
    )
}

/// Returns a statement that lists `columns` of the rows that `rows` selects with binds as parameters.
pub(super) fn list(columns: &[Column], rows: &str) -> Statement {
    let objects = Objects::of(columns);
    Statement {
        sqlite: objects.sqlite(rows),
        postgres: objects.postgres(rows),
    }
}

/// Returns a statement that lists `columns` of the rows that `from` selects over the page. PostgreSQL locks those rows until
/// the transaction ends; SQLite's writer is alone anyway.
pub(super) fn list_over_page(columns: &[Column], from: &str) -> Statement {
    let (objects, rows) = (
        Objects::of(columns),
        format!("SELECT {} {from}", names(columns)),
    );
    in_dialects(
        &objects.sqlite(&rows),
        &objects.postgres(&format!("{rows} FOR UPDATE")),
    )
}

/// Returns a statement that lists groups over the page, which no database can lock.
pub(super) fn group_over_page(columns: &[Column], rows: &str) -> Statement {
    let objects = Objects::of(columns);
    in_dialects(&objects.sqlite(rows), &objects.postgres(rows))
}

/// The members of one JSON object for each row: `'id', id, …`.
struct Objects(String);

impl Objects {
    fn of(columns: &[Column]) -> Self {
        Self(each(columns, |column| format!("'{0}', {0}", column.name)))
    }

    fn sqlite(&self, rows: &str) -> String {
        let members = &self.0;
        format!("SELECT json_group_array(json_object({members})) FROM ({rows}) AS listed")
    }

    fn postgres(&self, rows: &str) -> String {
        let members = &self.0;
        format!(
            "SELECT CAST(COALESCE(json_agg(json_build_object({members})), '[]') AS text) FROM ({rows}) AS listed"
        )
    }
}
