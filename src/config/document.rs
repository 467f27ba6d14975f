//! Owns reading TOML text, whose lines may hold secrets and are therefore never repeated.

use toml::de::{DeTable, DeValue};

/// One value in a document, under its dotted name.
pub(super) struct Leaf<'text> {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) value: DeValue<'text>,
}

/// Where a document is not TOML, and why.
pub(super) struct Flaw {
    pub(super) line: usize,
    pub(super) message: String,
}

/// The values of a document in the order they are written; tables are walked into, unless they are empty.
pub(super) fn leaves(text: &str) -> Result<Vec<Leaf<'_>>, Vec<Flaw>> {
    let mut found = Vec::new();
    walk(text, "", table(text)?, &mut found);
    found.sort_by_key(|leaf| leaf.line);
    Ok(found)
}

/// A document's outermost table.
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

/// The line, from 1, on which the byte at `offset` stands.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    before.split(|&byte| byte == b'\n').count()
}

fn column_of(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().rev().take_while(|&&byte| byte != b'\n');
    line.count() + 1
}

fn walk<'text>(text: &str, prefix: &str, table: DeTable<'text>, found: &mut Vec<Leaf<'text>>) {
    for (key, value) in table {
        let name = match prefix {
            "" => key.get_ref().to_string(),
            _ => format!("{prefix}.{}", key.get_ref()),
        };
        let line = line_of(text, key.span().start);
        match value.into_inner() {
            DeValue::Table(inner) if !inner.is_empty() => walk(text, &name, inner, found),
            value => found.push(Leaf { name, line, value }),
        }
    }
}
