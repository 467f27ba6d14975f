//! Parses TOML documents. No message repeats a line of a document, because the line may hold a secret.

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Table, Value};

use super::SettingsFile;
use super::settings::Settings;

/// Bounds the tables of one list.
pub(super) const MOST_TABLES: usize = 1000;

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
        match value.get_ref() {
            DeValue::Array(items) if is_list_of_tables(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = [&path[..], &[format!("[{}]", index + 1)]].concat();
                    visit(path, item.span().start, item, found);
                }
            }
            _ => visit(path, key.span().start, value, found),
        }
    }
}

fn visit(path: Vec<String>, start: usize, value: &Spanned<DeValue<'_>>, found: &mut Vec<Leaf>) {
    match value.get_ref() {
        DeValue::Table(table) if !table.is_empty() => walk(&path, table, found),
        _ => found.push(Leaf {
            path,
            start,
            // No setting is an empty table.
            value: plain(value.clone()).unwrap_or_else(|_| Table::new().into()),
        }),
    }
}

fn is_list_of_tables(items: &[Spanned<DeValue<'_>>]) -> bool {
    let is_list = items.iter().all(|item| item.get_ref().is_table());
    is_list && (1..=MOST_TABLES).contains(&items.len())
}

/// Returns the value without its place. Fails for a whole number that is too large; the error of the library repeats it.
pub(super) fn plain(value: Spanned<DeValue<'_>>) -> Result<Value, &'static str> {
    let read = Value::deserialize(ValueDeserializer::from(value));
    read.map_err(|_| "holds a whole number that is too large")
}
