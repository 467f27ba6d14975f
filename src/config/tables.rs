//! Owns the lists of tables in a settings file, like `[[auth.issuers]]`: which there are and what each table holds.
//!
//! Each field of each table becomes a setting of its own, `auth.issuers[1].jwks_url`, counted from 1; from there on it is
//! read like any other.

use toml::de::{DeTable, DeValue};

use super::complaint::nearest;
use super::document::{Leaf, line_of};
use super::settings::{Entry, Settings};
use super::value::Value;
use super::{SettingsFile, Source};

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Secret,
    Whole,
    List,
    /// A table whose keys are free and whose values are texts.
    Pairs,
    SecretPairs,
}

/// One list: its name, and the fields of its tables.
struct List {
    name: &'static str,
    /// Most tables in it.
    most: usize,
    fields: &'static [(&'static str, Kind)],
}

const LISTS: &[List] = &[
    List {
        name: "auth.issuers",
        most: 64,
        fields: &[
            ("issuer", Kind::Text),
            ("audience", Kind::List),
            ("jwks_url", Kind::Text),
            ("hmac_secret", Kind::Secret),
            ("hmac_secret_file", Kind::Text),
            ("public_key_file", Kind::Text),
            ("algorithms", Kind::List),
            ("role_pointer", Kind::Text),
            ("name_pointer", Kind::Text),
            ("authorized_parties", Kind::List),
            ("required_claims", Kind::Pairs),
            ("refused_claims", Kind::Pairs),
            ("lookup_url", Kind::Text),
            ("lookup_headers", Kind::SecretPairs),
            ("lookup_role_pointer", Kind::Text),
            ("lookup_name_pointer", Kind::Text),
        ],
    },
    List {
        name: "quota.exceptions",
        most: 1000,
        fields: &[
            ("issuer", Kind::Text),
            ("subject", Kind::Text),
            ("sessions_per_month", Kind::Whole),
        ],
    },
];

/// One table of a list, after it was laid over the settings.
pub(super) struct Table {
    /// `auth.issuers[1]`
    name: String,
}

impl Table {
    /// All tables of the list called `list`, in the order of the file.
    pub(super) fn all(settings: &Settings, list: &str) -> Vec<Self> {
        let Some(known) = LISTS.iter().find(|known| known.name == list) else {
            return Vec::new();
        };
        let named = |number| Self {
            name: format!("{list}[{number}]"),
        };
        let first = known.fields.first().map_or("", |(field, _)| field);
        let is_there = |table: &Self| settings.has(&table.field(first));
        (1..=known.most).map(named).filter(is_there).collect()
    }

    /// The full name of one of its fields.
    pub(super) fn field(&self, field: &str) -> String {
        format!("{}.{field}", self.name)
    }

    /// What a field holds that is a table itself: the key, the full name and the text of each entry.
    pub(super) fn pairs(&self, settings: &Settings, field: &str) -> Vec<(String, String, String)> {
        let prefix = format!("{}.", self.field(field));
        let names = settings.entries().iter().map(|entry| &entry.name);
        let ours = names.filter_map(|name| Some((name.strip_prefix(&prefix)?, name)));
        ours.map(|(key, name)| (key.into(), name.clone(), settings.text(name)))
            .collect()
    }
}

/// Lays a list of tables over the settings; false when `leaf` is none.
pub(super) fn overlay(settings: &mut Settings, leaf: &Leaf<'_>, file: &SettingsFile) -> bool {
    let Some(list) = LISTS.iter().find(|list| list.name == leaf.name) else {
        return false;
    };
    let source = |line| Source::File {
        path: file.path.clone(),
        line,
    };
    let whole = source(leaf.line);
    let items = match &leaf.value {
        DeValue::Array(items) if items.len() <= list.most => items,
        DeValue::Array(_) => {
            let message = format!("holds more than {} tables", list.most);
            settings.complain_of(list.name, &whole, message);
            return true;
        }
        _ => {
            settings.complain_of(list.name, &whole, list.help());
            return true;
        }
    };
    for (index, item) in items.iter().enumerate() {
        let name = format!("{}[{}]", list.name, index + 1);
        let DeValue::Table(fields) = item.get_ref() else {
            settings.complain_of(&name, &whole, list.help());
            continue;
        };
        let begin = fields.keys().map(|key| key.span().start).min();
        let line = begin.map_or(leaf.line, |offset| line_of(&file.text, offset));
        list.prepare(settings, &name, &source(line));
        for (key, value) in fields {
            let source = source(line_of(&file.text, key.span().start));
            list.set(settings, (&name, key.get_ref()), (value.get_ref(), source));
        }
    }
    true
}

/// What to tell somebody who wrote `name`, which is no setting but looks like part of a list.
pub(super) fn help(name: &str) -> Option<String> {
    let is_below = |list: &&List| {
        let rest = name.strip_prefix(list.name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    LISTS.iter().find(is_below).map(List::help)
}

impl List {
    fn help(&self) -> String {
        format!(
            "is a list of tables: write [[{}]] in the settings file, with two brackets, once for each",
            self.name
        )
    }

    /// Puts every field in its place, empty.
    fn prepare(&self, settings: &mut Settings, table: &str, source: &Source) {
        for (field, kind) in self.fields {
            let default = match kind {
                Kind::Text | Kind::Secret => Value::Text(String::new()),
                Kind::Whole => Value::Whole(0),
                Kind::List => Value::List(Vec::new()),
                Kind::Pairs | Kind::SecretPairs => continue,
            };
            let entry = Entry::new(format!("{table}.{field}"), default, source.clone());
            settings.add(entry.secret(*kind == Kind::Secret));
        }
    }

    fn set(
        &self,
        settings: &mut Settings,
        (table, field): (&str, &str),
        (value, source): (&DeValue<'_>, Source),
    ) {
        let name = format!("{table}.{field}");
        let known = self.fields.iter().find(|(known, _)| *known == field);
        match known.map(|(_, kind)| *kind) {
            Some(kind @ (Kind::Pairs | Kind::SecretPairs)) => {
                let is_secret = kind == Kind::SecretPairs;
                set_pairs(settings, (&name, is_secret), (value, source));
            }
            Some(_) => {
                let value = settings
                    .entry(&name)
                    .map(|entry| entry.default.same_kind(value));
                if let Some(value) = value {
                    settings.set(&name, value, source);
                }
            }
            None => {
                let close = nearest(field, self.fields.iter().map(|(known, _)| *known));
                let message =
                    format_args!("is not a field of {}; the nearest is {close}", self.name);
                settings.complain_of(&name, &source, message);
            }
        }
    }
}

fn set_pairs(
    settings: &mut Settings,
    (name, is_secret): (&str, bool),
    (value, source): (&DeValue<'_>, Source),
) {
    let wrong = "must be a table of texts, like { \"/role\" = \"authenticated\" }";
    let DeValue::Table(pairs) = value else {
        return settings.complain_of(name, &source, wrong);
    };
    for (key, text) in ordered(pairs) {
        match text.as_str() {
            Some(text) if !key.is_empty() && !key.contains(char::is_control) => {
                let empty = Value::Text(String::new());
                let entry = Entry::new(format!("{name}.{key}"), empty, source.clone());
                let full = entry.name.clone();
                settings.add(entry.secret(is_secret));
                settings.set(&full, Ok(Value::Text(text.into())), source.clone());
            }
            _ => settings.complain_of(name, &source, wrong),
        }
    }
}

/// The pairs of a table in the order they are written.
fn ordered<'a>(table: &'a DeTable<'_>) -> Vec<(&'a str, &'a DeValue<'a>)> {
    let mut pairs: Vec<_> = table.iter().collect();
    pairs.sort_by_key(|(key, _)| key.span().start);
    pairs
        .into_iter()
        .map(|(key, value)| (key.get_ref().as_ref(), value.get_ref()))
        .collect()
}
