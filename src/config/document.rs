//! Reads TOML text. Lines may hold secrets and are never repeated.

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Value};

use super::entry::joined;

/// One value in a document.
pub(super) struct Leaf<'text> {
    /// The parts of its name.
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    pub(super) value: Spanned<DeValue<'text>>,
}

impl Leaf<'_> {
    /// The parts of the name, joined.
    pub(super) fn name(&self) -> String {
        joined(self.path.iter().map(String::as_str))
    }

    /// The value, with text freed from white space around it. What TOML cannot hold becomes an empty table, which no
    /// setting is.
    pub(super) fn plain(self) -> Value {
        let value = Value::deserialize(ValueDeserializer::from(self.value));
        match value {
            Ok(Value::String(text)) => Value::String(text.trim().into()),
            Ok(value) => value,
            Err(_) => Value::Table(toml::Table::new()),
        }
    }
}

/// A place where a document is not TOML, and the reason.
pub(super) struct Flaw {
    pub(super) line: usize,
    pub(super) message: String,
}

/// Returns the values of a document in the order they are written. Only empty tables are values.
pub(super) fn leaves(text: &str) -> Result<Vec<Leaf<'_>>, Vec<Flaw>> {
    let mut found = Vec::new();
    walk(text, &[], &table(text)?, &mut found);
    Ok(found)
}

/// Parses a document into its outermost table.
pub(super) fn table(text: &str) -> Result<DeTable<'_>, Vec<Flaw>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table.into_inner());
    }
    // Only the kind of mistake and its place: the error's own `Display` quotes the line.
    let flaws = errors.iter().map(|error| {
        let at = error.span().map_or(0, |span| span.start);
        Flaw {
            line: line_of(text, at),
            message: format!(
                "is not TOML at column {}: {}",
                column_of(text, at),
                error.message()
            ),
        }
    });
    Err(flaws.collect())
}

/// Returns the line, from 1, of the byte at `offset`.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    before.split(|&byte| byte == b'\n').count()
}

fn column_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().rev().take_while(|&&byte| byte != b'\n');
    line.count() + 1
}

/// Adds the values of a table, in the order they are written.
pub(super) fn walk<'text>(
    text: &str,
    path: &[String],
    table: &DeTable<'text>,
    found: &mut Vec<Leaf<'text>>,
) {
    let mut pairs: Vec<_> = table.iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in pairs {
        let path = [path, &[key.get_ref().to_string()]].concat();
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => walk(text, &path, inner, found),
            _ => found.push(Leaf {
                path,
                line: line_of(text, key.span().start),
                value: value.clone(),
            }),
        }
    }
}
