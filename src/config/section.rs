//! Reads settings into their types with serde, and notes every mistake instead of stopping at the first.
//!
//! serde stops at a mistake and says where it is. The value there is noted and replaced by its default, or removed when
//! it has none, and the rest is read again.

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};
use toml::{Table, Value};

use super::complaint::nearest;
use super::entry::{Entry, joined};
use super::layers;
use super::settings::Settings;

// What values of a kind must be.
pub(super) const TEXT: &str = "must be text, in quotes";
pub(super) const FLAG: &str = "must be true or false, without quotes";
pub(super) const WHOLE: &str = "must be a whole number, without quotes or unit";
pub(super) const NUMBER: &str = "must be a number, without quotes or unit";
pub(super) const LIST: &str = "must be a list of texts, or one text with commas between";

/// How a table of settings says what it expects, when somebody gives it a value.
const HOLDS: &str = "a table with ";

/// A table of `config/default.toml`, read whole. It declares each of its settings: the name, the type, how it is written.
pub(super) trait Section: DeserializeOwned {
    /// The dotted name.
    const NAME: &'static str;

    /// Complains of values that do not fit together, and warns of values that are probably not meant.
    fn check(&mut self, _: &mut Settings) {}
}

impl Settings {
    /// Reads and checks a section. `None` when there is nothing to read, which is complained of.
    pub(super) fn section<T: Section>(&mut self) -> Option<T> {
        let mut section: T = self.table(T::NAME)?;
        section.check(self);
        Some(section)
    }

    /// Reads the tables of a list, in the order of the file.
    pub(super) fn list_of<T: DeserializeOwned>(&mut self, name: &str) -> Vec<T> {
        let is_given = self.entries().iter().any(|entry| is_in(entry, name));
        let tables = is_given.then(|| self.table(name)).flatten();
        tables.unwrap_or_default()
    }

    /// Reads all settings below the dotted `name`, except lists of tables.
    pub(super) fn table<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let mut tree = self.tree(name);
        loop {
            let error = match serde_path_to_error::deserialize(tree.clone()) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let mut path: Vec<_> = name.split('.').map(str::to_owned).collect();
            let depth = path.len();
            path.extend(parts(error.path()));
            let message = error.inner().message().to_owned();
            // A mistake inside of a setting, in an entry of a list perhaps, is the setting's.
            let is_whole = |entry: &&Entry| path.starts_with(&entry.path);
            let entry = self.entries().iter().find(is_whole);
            path.truncate(entry.map_or(path.len(), |entry| entry.path.len()));
            let default = entry.and_then(|entry| entry.default.clone());
            let name = joined(path.iter().map(String::as_str));
            self.complain(&name, explained(&name, &message));
            let (last, parents) = path.get(depth..)?.split_last()?;
            let parent = parents
                .iter()
                .try_fold(&mut tree, |node, part| child(node, part))?;
            replace(parent, last, default)?;
        }
    }

    /// The settings below `name` as one value.
    fn tree(&self, name: &str) -> Value {
        let depth = name.split('.').count();
        let mut tree = Value::Table(Table::new());
        for entry in self.entries().iter().filter(|entry| is_in(entry, name)) {
            let below = &entry.path[depth..];
            let is_in_other_list = below.get(1).is_some_and(|part| part.starts_with('['));
            if !is_in_other_list && !self.is_read_as_file(entry) {
                insert(&mut tree, below, entry.value.clone());
            }
        }
        tree
    }
}

fn is_in(entry: &Entry, name: &str) -> bool {
    let depth = name.split('.').count();
    entry.path.len() >= depth && entry.path.iter().take(depth).eq(name.split('.'))
}

fn parts(path: &Path) -> impl Iterator<Item = String> {
    path.iter().filter_map(|segment| match segment {
        Segment::Map { key } => Some(key.clone()),
        Segment::Seq { index } => Some(format!("[{}]", index + 1)),
        Segment::Enum { .. } | Segment::Unknown => None,
    })
}

/// The place of `[1]` in a list.
fn index(part: &str) -> Option<usize> {
    let number = part.strip_prefix('[')?.strip_suffix(']')?;
    number.parse::<usize>().ok()?.checked_sub(1)
}

fn insert(node: &mut Value, path: &[String], value: Value) {
    let Some((part, rest)) = path.split_first() else {
        *node = value;
        return;
    };
    let empty = Value::Table(Table::new());
    if let Some(index) = index(part) {
        if !node.is_array() {
            *node = Value::Array(Vec::new());
        }
        let Some(items) = node.as_array_mut() else {
            return;
        };
        items.resize(items.len().max(index + 1), empty);
        insert(&mut items[index], rest, value);
    } else if let Some(table) = node.as_table_mut() {
        insert(table.entry(part).or_insert(empty), rest, value);
    }
}

fn child<'a>(node: &'a mut Value, part: &str) -> Option<&'a mut Value> {
    match index(part) {
        Some(index) => node.as_array_mut()?.get_mut(index),
        None => node.as_table_mut()?.get_mut(part),
    }
}

/// Puts `value` in place of what `part` is, or removes that. `None` when it was not there, or was `value` already.
fn replace(parent: &mut Value, part: &str, value: Option<Value>) -> Option<()> {
    let table = parent.as_table_mut()?;
    let before = table.get(part)?.clone();
    match value {
        Some(value) if value != before => table.insert(part.into(), value),
        Some(_) => return None,
        None => table.remove(part),
    };
    Some(())
}

/// Says what serde said without the value that serde repeats: continues the sentence "the setting …".
fn explained(name: &str, message: &str) -> String {
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message.to_owned();
    };
    let words: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
    if found.starts_with("unknown field") {
        let (table, key) = name.rsplit_once('.').unwrap_or(("", name));
        let close = nearest(key, words.iter().copied());
        return layers::help(name).unwrap_or_else(|| match table.split_once('[') {
            Some((list, _)) => format!("is not a field of {list}; the nearest is {close}"),
            None => format!("is not a setting; the nearest is {table}.{close}"),
        });
    }
    if found.starts_with("unknown variant") {
        return format!("must be one of {}", words.join(", "));
    }
    match expected {
        "a string" => TEXT.into(),
        "a boolean" => FLAG.into(),
        "i64" => WHOLE.into(),
        "f64" => NUMBER.into(),
        "a map" => "is a section, not a setting".into(),
        table if table.starts_with(HOLDS) => {
            let held = &table[HOLDS.len()..];
            format!("is a section, not a setting; it holds {name}.{held}")
        }
        table if table.starts_with("struct ") => "is a section, not a setting".into(),
        other => format!("must be {other}"),
    }
}
