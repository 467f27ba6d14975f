//! Deserializes settings with serde and collects every mistake instead of stopping at the first.

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::{Table, Value};

use super::complaint::nearest;
use super::document::most_tables;
use super::layers;
use super::settings::{Settings, joined};

/// How the type of a table of settings begins to say what it expects.
const HOLDS: &str = "a table with ";

/// Deserializes `tree`. Hands the path and the message of each mistake to `mend`, which returns the tree without the
/// mistake. Returns `None` when `mend` does.
pub(super) fn read<T: DeserializeOwned>(
    mut tree: Value,
    mut mend: impl FnMut(Value, Vec<String>, &str) -> Option<Value>,
) -> Option<T> {
    loop {
        let error = match serde_path_to_error::deserialize(tree.clone()) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        // A mistake in an entry of a list is a mistake of the list.
        let keys = error.path().iter().map_while(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            _ => None,
        });
        tree = mend(tree, keys.collect(), error.inner().message())?;
    }
}

impl Settings {
    /// Reads a section. Complains of every mistake, and reads its default instead.
    pub(super) fn section<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        self.table(&[name])
    }

    /// Reads the tables of a list, in the order of the file, each with its full name, like `auth.issuers[1]`.
    pub(super) fn list_of<T: DeserializeOwned>(
        &mut self,
        section: &str,
        list: &str,
    ) -> Vec<(String, T)> {
        let mut tables = Vec::new();
        loop {
            let number = format!("[{}]", tables.len() + 1);
            let path = [section, list, &number];
            let mut entries = self.entries.iter();
            let is_given = entries.any(|entry| starts_with(&entry.path, &path));
            match is_given.then(|| self.table(&path)).flatten() {
                Some(table) => tables.push((joined(&path), table)),
                None => return tables,
            }
        }
    }

    fn table<T: DeserializeOwned>(&mut self, path: &[&str]) -> Option<T> {
        let list = path.last().filter(|part| part.starts_with('['));
        let kind = list.map(|_| joined(&path[..path.len() - 1]));
        read(self.tree(path), |_, keys, message| {
            let above = path.iter().map(|&part| part.to_owned());
            let whole: Vec<_> = above.chain(keys).collect();
            let name = joined(&whole);
            let explain = || explained(&name, kind.as_deref(), message);
            self.complain(&name, layers::help(&name).unwrap_or_else(explain));
            self.reset(&whole).then(|| self.tree(path))
        })
    }

    /// Returns all settings below `path`, except lists of tables, as one value.
    fn tree(&self, path: &[&str]) -> Value {
        let mut tree = Value::Table(Table::new());
        for entry in &self.entries {
            if !starts_with(&entry.path, path) || entry.secret_in_file().is_some() {
                continue;
            }
            let below = &entry.path[path.len()..];
            let is_in_list =
                entry.path.len() > 2 && most_tables(&joined(&entry.path[..2])).is_some();
            let is_of_list = is_in_list && path.len() < 3;
            let Some(value) = entry.value.clone().filter(|_| !is_of_list) else {
                continue;
            };
            let place = below.iter().fold(&mut tree, |node, part| match node {
                Value::Table(table) => table.entry(part).or_insert(Table::new().into()),
                other => other,
            });
            *place = value;
        }
        tree
    }
}

fn starts_with(path: &[String], begin: &[&str]) -> bool {
    path.len() >= begin.len() && path.iter().zip(begin).all(|(part, other)| part == other)
}

/// Translates a message of serde without the value that serde repeats. The result continues "the setting …". `kind` says
/// what unknown fields are no fields of; `None` means that they are no settings.
pub(super) fn explained(name: &str, kind: Option<&str>, message: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let words: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
    if found.starts_with("unknown field") {
        let (table, key) = name.rsplit_once('.').unwrap_or(("", name));
        let close = nearest(key, words.iter().copied());
        return match kind {
            Some(kind) => format!("is not a field of {kind}; the nearest is {close}"),
            None => format!("is not a setting; the nearest is {table}.{close}"),
        };
    }
    if found.starts_with("unknown variant") {
        return format!("must be one of {}", words.join(", "));
    }
    match expected.strip_prefix(HOLDS) {
        Some(held) => format!("is a section, not a setting; it holds {name}.{held}"),
        None => must_be(expected),
    }
}

/// Returns what a value must be, by the name of its type in serde or in TOML.
pub(super) fn must_be(expected: &str) -> String {
    let must_be = match expected {
        "a string" | "string" => "must be text, in quotes",
        "a boolean" | "boolean" => "must be true or false, without quotes",
        "i64" | "integer" => "must be a whole number, without quotes or unit",
        "f64" | "float" => "must be a number, without quotes or unit",
        "array" => "must be a list of texts, or one text with commas between",
        "a map" => "is a section, not a setting",
        other if other.starts_with("struct ") => "is a section, not a setting",
        other => return format!("must be {other}"),
    };
    must_be.into()
}
