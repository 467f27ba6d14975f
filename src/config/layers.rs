//! Lays the sources of settings over each other: defaults, file, environment, flags.

use toml::de::DeValue;

use super::document::{Flaw, leaves, line_of, walk};
use super::settings::{Entry, Settings, joined};
use super::value::Value;
use super::{Mode, SettingsFile, Source, Sources, environment};

/// Every setting with its default and its reason.
const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Defaults for a developer's own machine: a block that ends soon, and no wait for a load balancer.
const DEV_DEFAULTS: [(&str, &str); 2] = [("guard.block", "30s"), ("server.drain_delay", "0s")];

/// The lists of tables, each with the most tables it may hold.
const LISTS: [(&str, usize); 2] = [("auth.issuers", 64), ("quota.exceptions", 1000)];
/// The section whose tables the operator names.
const FREE: &str = "quota";

const MEASURED: &str =
    "needs measured use, which direct mode does not have; sessions_per_month can be limited";
/// Names that are no settings, whole or by their last parts, and what to tell whoever writes one.
const NO_SETTINGS: [(&str, &str); 2] =
    [("tokens_per_month", MEASURED), ("cost_per_month", MEASURED)];

/// Lays the file, the environment and the flags over the defaults.
pub(super) fn gather(mode: Mode, sources: &Sources) -> Settings {
    let mut settings = Settings::new(mode, sources.read, defaults());
    if mode == Mode::Dev {
        for (name, text) in DEV_DEFAULTS {
            settings.set(name, Ok(Value::Text(text.into())), Source::Default);
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
    settings
}

/// Sets what the environment or a flag says; false when there is no such setting.
pub(super) fn overlay_text(
    settings: &mut Settings,
    name: &str,
    text: &str,
    source: Source,
) -> bool {
    if let Some(default) = settings.entry(name).map(|entry| entry.default.clone()) {
        let value = default.map_or_else(|| Ok(Value::Text(text.into())), |kind| kind.parse(text));
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
    settings.add(vec![Entry::new(path, Value::Text(text.into()), source)]);
    true
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

/// What is compiled in is proved to be readable by the tests below.
fn defaults() -> Vec<Entry> {
    let leaves = leaves(DEFAULTS).unwrap_or_default().into_iter();
    let entry = |leaf: super::document::Leaf<'_>| {
        Entry::new(leaf.path, Value::of(&leaf.value), Source::Default)
    };
    leaves.map(entry).collect()
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
        let (name, source) = (
            joined(leaf.path.iter().map(String::as_str)),
            file.line(leaf.line),
        );
        let section = format!("{name}.");
        let is_empty = matches!(&leaf.value, DeValue::Table(table) if table.is_empty());
        let mut known = settings.entries().iter();
        if LISTS.iter().any(|(list, _)| *list == name) {
            overlay_list(settings, file, &leaf.path, (&leaf.value, source));
        } else if let Some(entry) = settings.entry(&name) {
            let kind = entry.default.clone().unwrap_or(Value::Other);
            settings.set(&name, kind.same_kind(&leaf.value), source);
        } else if leaf.path[0] == FREE && (name != FREE || !is_empty) && help(&name).is_none() {
            settings.add(vec![Entry::new(leaf.path, Value::of(&leaf.value), source)]);
        } else if !(is_empty
            && (name == FREE || known.any(|entry| entry.name.starts_with(&section))))
        {
            settings.refuse_unknown(&name, &source);
        }
    }
}

/// Adds the tables of a list, each field as a setting of its own, like `auth.issuers[1].jwks_url`.
fn overlay_list(
    settings: &mut Settings,
    file: &SettingsFile,
    path: &[String],
    (value, source): (&DeValue<'_>, Source),
) {
    let name = joined(path.iter().map(String::as_str));
    let most = LISTS.iter().find(|(list, _)| *list == name);
    let most = most.map_or(0, |(_, most)| *most);
    let expected = help(&name).unwrap_or_default();
    let items = value
        .as_array()
        .map(|items| items.iter())
        .unwrap_or_default();
    if items.len() > most {
        let message = format!("holds more than {most} tables");
        return settings.complain_of(&name, &source, message);
    }
    if !matches!(value, DeValue::Array(_)) {
        return settings.complain_of(&name, &source, expected);
    }
    let mut entries = Vec::new();
    for (index, item) in items.enumerate() {
        let path = [path, &[format!("[{}]", index + 1)]].concat();
        match item.get_ref() {
            DeValue::Table(table) if !table.is_empty() => {
                let mut leaves = Vec::new();
                walk(&file.text, &path, table, &mut leaves);
                for leaf in leaves {
                    let (value, source) = (Value::of(&leaf.value), file.line(leaf.line));
                    entries.push(Entry::new(leaf.path, value, source));
                }
            }
            DeValue::Table(_) => {
                let line = line_of(&file.text, item.span().start);
                entries.push(Entry::new(path, Value::Other, file.line(line)));
            }
            _ => settings.complain_of(&name, &source, &expected),
        }
    }
    settings.add(entries);
}

#[cfg(test)]
mod tests {
    use super::super::environment_name;
    use super::*;

    #[test]
    fn every_default_can_be_a_setting_and_says_what_it_is_called_in_the_environment() {
        assert!(defaults().len() > 50);
        for entry in defaults() {
            assert!(entry.value != Value::Other, "{}", entry.name);
            let name = environment_name(&entry.name);
            assert!(DEFAULTS.contains(&format!("{name}\n")), "{name}");
        }
    }
}
