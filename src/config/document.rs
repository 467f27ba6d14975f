//! Parses TOML documents. No message repeats a line of a document, because the line may hold a secret.

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Table, Value};

use super::SettingsFile;
use super::settings::{Settings, joined};

/// The lists of tables, and how many tables each may hold. Every request may be checked against each issuer, and looks at
/// each API key; a program and an exception are found by their keys.
pub(super) const LISTS: [(&str, usize); 4] = [
    ("auth.issuers", 64),
    ("auth.service_keys", 1000),
    ("quota.exceptions", 1000),
    ("upstream.api_keys", 16),
];

/// One value of a document.
pub(super) struct Leaf {
    /// The keys that lead to the value. The tables of a list have the keys `[1]`, `[2]` and so on.
    pub(super) path: Vec<String>,
    /// The byte of the document at which the key begins.
    pub(super) start: usize,
    pub(super) value: Value,
}

impl Settings {
    /// Parses a file. Complains of `name` for each place that is not TOML, and then returns `None`.
    pub(super) fn parsed<'text>(
        &mut self,
        name: &str,
        file: &'text SettingsFile,
    ) -> Option<DeTable<'text>> {
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        for error in &errors {
            // The `Display` of an error quotes the line.
            let message = error.message();
            let (source, column) = file.position(error.span().map_or(0, |span| span.start));
            let message = format!("is not TOML at column {column}: {message}");
            self.complain_of(name, &source, message);
        }
        errors.is_empty().then(|| table.into_inner())
    }
}

/// Returns the values of a table and of the tables in it, in the order of the document. An empty table is a value.
pub(super) fn leaves(table: &DeTable<'_>) -> Vec<Leaf> {
    let mut found = Vec::new();
    walk(&[], table, &mut found);
    found
}

fn walk(above: &[String], table: &DeTable<'_>, found: &mut Vec<Leaf>) {
    for (key, value) in table {
        let path = [above, &[key.get_ref().to_string()]].concat();
        let start = key.span().start;
        match (most_tables(&joined(&path)), value.get_ref()) {
            (Some(most), DeValue::Array(items)) if is_list_of_tables(items, most) => {
                for (index, item) in items.iter().enumerate() {
                    let path = [&path[..], &[format!("[{}]", index + 1)]].concat();
                    visit(path, item.span().start, item, found);
                }
            }
            // A list that is written in another way is one value, and is refused.
            (Some(_), _) => found.push(leaf(path, start, value)),
            (None, _) => visit(path, start, value, found),
        }
    }
}

fn visit(path: Vec<String>, start: usize, value: &Spanned<DeValue<'_>>, found: &mut Vec<Leaf>) {
    match value.get_ref() {
        DeValue::Table(table) if !table.is_empty() => walk(&path, table, found),
        _ => found.push(leaf(path, start, value)),
    }
}

fn leaf(path: Vec<String>, start: usize, value: &Spanned<DeValue<'_>>) -> Leaf {
    // Stands for a value that cannot be read. No setting is a list of tables, so it is refused.
    let unreadable = |_| vec![Table::new()].into();
    Leaf {
        path,
        start,
        value: plain(value.clone()).unwrap_or_else(unreadable),
    }
}

/// Returns how many tables the list `name` may hold, or `None` when `name` is no list of tables.
pub(super) fn most_tables(name: &str) -> Option<usize> {
    let mut lists = LISTS.iter();
    lists.find(|(list, _)| *list == name).map(|(_, most)| *most)
}

fn is_list_of_tables(items: &[Spanned<DeValue<'_>>], most: usize) -> bool {
    let is_list = items.iter().all(|item| item.get_ref().is_table());
    is_list && (1..=most).contains(&items.len())
}

/// Returns the value without its place. Fails for a whole number that is too large; the error of the library repeats it.
pub(super) fn plain(value: Spanned<DeValue<'_>>) -> Result<Value, &'static str> {
    let read = Value::deserialize(ValueDeserializer::from(value));
    read.map_err(|_| "holds a whole number that is too large")
}
