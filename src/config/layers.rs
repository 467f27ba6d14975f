//! Owns the order of the sources: later ones are laid over earlier ones.

use super::document::{Flaw, leaves};
use super::settings::{Entry, Settings};
use super::value::Value;
use super::{Mode, SettingsFile, Source, Sources, environment, quota, tables};

/// Every setting with its default and its reason.
const DEFAULTS: &str = include_str!("../../config/default.toml");

/// What is handier on a developer's own machine: who tries out what a block is wants it to end, and no load balancer is
/// waited for.
const DEV_DEFAULTS: [(&str, &str); 2] = [("guard.block", "30s"), ("server.drain_delay", "0s")];

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
        let source = Source::Flag(name.clone());
        quota::admit(&mut settings, name);
        match settings.entry(name) {
            Some(entry) => {
                let value = entry.default.parse(text);
                settings.set(name, value, source);
            }
            None => settings.refuse_unknown(name, &source),
        }
    }
    settings
}

/// What is compiled in is proved to be readable by the tests below.
fn defaults() -> Vec<Entry> {
    let leaves = leaves(DEFAULTS).unwrap_or_default();
    let entry = |leaf: super::document::Leaf<'_>| {
        Value::of(&leaf.value).map(|value| Entry::new(leaf.name, value, Source::Default))
    };
    leaves.into_iter().filter_map(entry).collect()
}

fn overlay_file(settings: &mut Settings, file: &SettingsFile) {
    let source = |line| Source::File {
        path: file.path.clone(),
        line,
    };
    let leaves = match leaves(&file.text) {
        Ok(leaves) => leaves,
        Err(flaws) => {
            settings.file_is_broken = true;
            for Flaw { line, message } in flaws {
                settings.complain_of("settings file", &source(line), message);
            }
            return;
        }
    };
    for leaf in leaves {
        if tables::overlay(settings, &leaf, file) {
            continue;
        }
        quota::admit(settings, &leaf.name);
        let section = format!("{}.", leaf.name);
        let holds_settings = |entry: &Entry| entry.name.starts_with(&section);
        if let Some(entry) = settings.entry(&leaf.name) {
            let value = entry.default.same_kind(&leaf.value);
            settings.set(&leaf.name, value, source(leaf.line));
        } else if !(leaf.value.is_table()
            && (leaf.name == quota::SECTION || settings.entries().iter().any(holds_settings)))
        {
            settings.refuse_unknown(&leaf.name, &source(leaf.line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::environment_name;
    use super::*;

    #[test]
    fn every_default_can_be_a_setting() {
        let written = leaves(DEFAULTS).ok().unwrap();
        assert_eq!(defaults().len(), written.len());
        assert!(written.len() > 50);
    }

    #[test]
    fn every_default_says_what_it_is_called_in_the_environment() {
        for entry in defaults() {
            let name = environment_name(&entry.name);
            assert!(DEFAULTS.contains(&format!("{name}\n")), "{name}");
        }
    }
}
