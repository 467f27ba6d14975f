//! Lays the sources of settings over each other: defaults, file, environment, flags.

use std::path::Path;

use toml::Value;
use toml::de::{DeTable, DeValue};

use super::document::{Flaw, Leaf, leaves, line_of, walk};
use super::entry::Entry;
use super::section::{FLAG, LIST, NUMBER, TEXT, WHOLE};
use super::settings::Settings;
use super::{Mode, SettingsFile, Source, Sources, environment};

/// Every setting with its default and its reason.
const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Defaults for a developer's own machine: a block that ends soon, and no wait for a load balancer.
const DEV_DEFAULTS: [(&str, &str); 3] = [
    ("guard.block", "30s"),
    ("server.drain_delay", "0s"),
    ("compat.get_token", "true"),
];

/// The lists of tables, each with the most tables it may hold.
const LISTS: [(&str, usize); 2] = [("auth.issuers", 64), ("quota.exceptions", 1000)];
/// The section whose tables the operator names.
const FREE: &str = "quota";

const MEASURED: &str =
    "needs measured use, which direct mode does not have; sessions_per_month can be limited";
const REMOVED_PERSIST: &str = "was removed: sessions always survive a restart, in the ledger's database (ledger.url); remove this setting";
const REMOVED_FOREIGN: &str =
    "was removed: no session id is an offence, because ids cannot be guessed; remove this setting";
const REMOVED_SECRET: &str = "was removed: sessions are stored under a hash of their id and need no secret; remove this setting";
/// Names that are no settings, whole or by their last parts, and what to tell whoever writes one.
const NO_SETTINGS: [(&str, &str); 6] = [
    ("guard.weights.foreign_session", REMOVED_FOREIGN),
    ("session.persist", REMOVED_PERSIST),
    ("session.secret", REMOVED_SECRET),
    ("session.secret_file", REMOVED_SECRET),
    ("tokens_per_month", MEASURED),
    ("cost_per_month", MEASURED),
];

/// Quotes that shells and word processors leave around a value.
const QUOTES: [char; 6] = ['"', '\'', '“', '”', '‘', '’'];

/// Lays the file, the environment and the flags over the defaults.
pub(super) fn gather(mode: Mode, sources: &Sources) -> Settings {
    let mut settings = Settings::new(mode, sources.read, defaults());
    if mode == Mode::Dev {
        for (name, text) in DEV_DEFAULTS {
            let value = text
                .parse()
                .map_or_else(|_| Value::from(text), Value::Boolean);
            settings.set(name, value, Source::Default);
        }
    }
    if let Some(file) = &sources.file {
        overlay_file(&mut settings, file);
    }
    environment::overlay(&mut settings, &sources.environment);
    for (name, text) in &sources.flags {
        if !overlay_text(&mut settings, name, text, Source::Flag(name.clone())) {
            settings.refuse_unknown(name, &Source::Flag(name.clone()));
        }
    }
    environment::complete_listen(&mut settings);
    read_secret_files(&mut settings);
    refuse_stray_bytes(&mut settings);
    settings
}

/// Every default, as a setting. What is compiled in is proved to be readable by the tests below.
fn defaults() -> Vec<Entry> {
    let leaves = leaves(DEFAULTS).unwrap_or_default().into_iter();
    let mut entries: Vec<_> = leaves
        .map(|leaf| Entry::new(leaf.path.clone(), leaf.plain(), Source::Default))
        .collect();
    // A secret is what can also come from a file.
    let secrets: Vec<_> = entries
        .iter()
        .filter_map(|entry| entry.name.strip_suffix("_file").map(str::to_owned))
        .collect();
    for entry in &mut entries {
        entry.is_secret |= secrets.contains(&entry.name);
    }
    entries
}

/// Sets what the environment or a flag says; false when there is no such setting.
pub(super) fn overlay_text(
    settings: &mut Settings,
    name: &str,
    text: &str,
    source: Source,
) -> bool {
    if let Some(entry) = settings.entry(name) {
        let value = like(entry.default.as_ref(), text);
        settings.set(name, value, source);
        return true;
    }
    let below = name
        .strip_prefix(FREE)
        .and_then(|rest| rest.strip_prefix('.'));
    let Some(below) = below.filter(|_| help(name).is_none()) else {
        return false;
    };
    let (table, key) = below.rsplit_once('.').unwrap_or(("", below));
    let parts = [FREE, table, key]
        .into_iter()
        .filter(|part| !part.is_empty());
    let path = parts.map(Into::into).collect();
    settings.add(vec![Entry::new(path, like(None, text), source)]);
    true
}

/// Reads a text as a value of the kind that the default is, and as text when that is impossible. A secret made of digits
/// stays text. Without a default a number is a number.
pub(super) fn like(default: Option<&Value>, text: &str) -> Value {
    let text = bare(text);
    let value = match default {
        Some(Value::Integer(_)) | None => text.parse().ok().map(Value::Integer),
        Some(Value::Float(_)) => text.parse().ok().map(Value::Float),
        Some(Value::Boolean(_)) => text.parse().ok().map(Value::Boolean),
        Some(Value::Array(_)) => Some(split(text).collect::<Vec<_>>().into()),
        Some(_) => None,
    };
    value.unwrap_or_else(|| text.into())
}

/// What `value` must be when it is not of the kind that the default is.
fn other_kind(default: &Value, value: &Value) -> Option<&'static str> {
    let may_be = matches!((default, value), (Value::Float(_), Value::Integer(_)));
    let expected = match default {
        Value::Integer(_) => WHOLE,
        Value::Float(_) => NUMBER,
        Value::Boolean(_) => FLAG,
        Value::Array(_) => LIST,
        _ => TEXT,
    };
    (!may_be && !default.same_type(value)).then_some(expected)
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    let items = text.split(',').map(str::trim);
    items.filter(|item| !item.is_empty())
}

/// Puts the content of files in the place of the secrets that they hold.
fn read_secret_files(settings: &mut Settings) {
    let named = settings.entries().iter().filter_map(|entry| {
        let is_given = entry.value.as_str().is_some_and(|path| !path.is_empty());
        is_given
            .then(|| entry.name.strip_suffix("_file"))
            .flatten()
            .map(str::to_owned)
    });
    for name in named.collect::<Vec<_>>() {
        read_secret_file(settings, &name);
    }
}

fn read_secret_file(settings: &mut Settings, name: &str) {
    let twin = format!("{name}_file");
    let (path, source) = (settings.text(&twin), settings.source(&twin));
    settings.add_beside(&twin, name);
    let Some(secret) = settings.entry(name).filter(|entry| entry.is_secret) else {
        return;
    };
    if secret.source != Source::Default && secret.value.as_str() != Some("") {
        let own = &secret.source;
        let message =
            format!("is given twice: by {own}, and as a file ({twin}) by {source}; keep one");
        return settings.complain(name, message);
    }
    match (settings.read)(Path::new(&path)) {
        Ok(text) if bare(&text).is_empty() => {
            settings.complain(&twin, "names a file that is empty; it must hold the secret");
        }
        Ok(text) => settings.set(name, bare(&text).into(), source),
        Err(error) => settings.complain(
            &twin,
            format!("names a file that cannot be read: {}", error.kind()),
        ),
    }
}

/// Refuses texts that arrived with quotes around them, or with bytes that no setting has.
fn refuse_stray_bytes(settings: &mut Settings) {
    let given = settings
        .entries()
        .iter()
        .filter(|entry| entry.source != Source::Default);
    let wrong = given.filter_map(|entry| {
        let texts: Vec<&str> = match &entry.value {
            Value::String(text) => vec![text],
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let begins = texts.first().is_some_and(|text| text.starts_with(QUOTES));
        let ends = texts.last().is_some_and(|text| text.ends_with(QUOTES));
        let has_control = || texts.iter().any(|text| text.contains(char::is_control));
        let message = if begins || ends {
            "begins or ends with a quote; remove the quotes (`docker run --env-file` keeps them)"
        } else if has_control() {
            "holds a line break or another control character; remove it"
        } else {
            return None;
        };
        Some((entry.name.clone(), message))
    });
    for (name, message) in wrong.collect::<Vec<_>>() {
        settings.complain(&name, message);
        settings.reset(&name);
    }
}

/// A text without white space and byte order marks around it.
fn bare(text: &str) -> &str {
    text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}')
}

/// What to tell somebody who wrote `name`: that it belongs to a list of tables, or why it is no setting.
pub(super) fn help(name: &str) -> Option<String> {
    let is_below = |list: &str| {
        let rest = name.strip_prefix(list);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if let Some((list, _)) = LISTS.iter().find(|(list, _)| is_below(list)) {
        return Some(format!(
            "is a list of tables: write [[{list}]] in the settings file, with two brackets, once for each"
        ));
    }
    let is_named = |known: &str| name == known || name.ends_with(&format!(".{known}"));
    let mut known = NO_SETTINGS.iter();
    let (_, help) = known.find(|(known, _)| is_named(known))?;
    Some((*help).to_owned())
}

fn overlay_file(settings: &mut Settings, file: &SettingsFile) {
    let leaves = match leaves(&file.text) {
        Ok(leaves) => leaves,
        Err(flaws) => {
            settings.file_is_broken = true;
            for Flaw { line, message } in flaws {
                settings.complain_of("settings file", &file.line(line), message);
            }
            return;
        }
    };
    for leaf in leaves {
        let (name, source) = (leaf.name(), file.line(leaf.line));
        let is_empty = leaf
            .value
            .get_ref()
            .as_table()
            .is_some_and(DeTable::is_empty);
        let is_free = leaf.path[0] == FREE && help(&name).is_none();
        if LISTS.iter().any(|(list, _)| *list == name) {
            overlay_list(settings, file, &leaf, &source);
        } else if let Some(entry) = settings.entry(&name) {
            let value = match (&entry.default, leaf.plain()) {
                (Some(Value::Array(_)), Value::String(text)) => {
                    split(&text).collect::<Vec<_>>().into()
                }
                (_, value) => value,
            };
            // A value of another kind is a mistake even where a later source wins.
            match entry
                .default
                .as_ref()
                .and_then(|kind| other_kind(kind, &value))
            {
                Some(expected) => settings.complain_of(&name, &source, expected),
                None => settings.set(&name, value, source),
            }
        } else if is_free && (name != FREE || !is_empty) {
            settings.add(vec![Entry::new(leaf.path.clone(), leaf.plain(), source)]);
        } else if !(is_empty && (is_free || settings.is_section(&name))) {
            settings.refuse_unknown(&name, &source);
        }
    }
}

/// Adds the tables of a list, each field as a setting of its own, like `auth.issuers[1].jwks_url`.
fn overlay_list(settings: &mut Settings, file: &SettingsFile, list: &Leaf<'_>, source: &Source) {
    let name = list.name();
    let most = LISTS.iter().find(|(list, _)| *list == name);
    let most = most.map_or(0, |(_, most)| *most);
    let expected = help(&name).unwrap_or_default();
    let DeValue::Array(items) = list.value.get_ref() else {
        return settings.complain_of(&name, source, expected);
    };
    if items.len() > most {
        let message = format!("holds more than {most} tables");
        return settings.complain_of(&name, source, message);
    }
    let mut entries = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = [&list.path[..], &[format!("[{}]", index + 1)]].concat();
        match item.get_ref() {
            DeValue::Table(table) if !table.is_empty() => {
                let mut leaves = Vec::new();
                walk(&file.text, &path, table, &mut leaves);
                entries.extend(leaves.into_iter().map(|leaf| {
                    let source = file.line(leaf.line);
                    Entry::new(leaf.path.clone(), leaf.plain(), source)
                }));
            }
            DeValue::Table(_) => {
                let line = line_of(&file.text, item.span().start);
                entries.push(Entry::new(path, toml::Table::new().into(), file.line(line)));
            }
            _ => settings.complain_of(&name, source, &expected),
        }
    }
    settings.add(entries);
}
