//! Layers the sources of settings: defaults, the settings file, the environment, flags.

use toml::Value;
use toml::de::DeTable;

use super::complaint::nearest;
use super::document::{LISTS, leaves, most_tables};
use super::reader::must_be;
use super::settings::{Entry, Settings, is_below, joined};
use super::{Mode, SettingsFile, Source, Sources, environment};

/// Every setting with its default and its reason.
const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Other defaults for a developer's own machine: a short block, and no wait for a load balancer.
const DEV_DEFAULTS: &str = r#"
guard.block = "30s"
server.drain_delay = "0s"
compat.get_token = true
transcription.models = ["gpt-4o-mini-transcribe", "gpt-4o-transcribe", "whisper-1"]
"#;

/// The section whose tables the operator names.
const FREE: &str = "quota";

/// The secret whose file may have several lines, a secret in each.
const LINES: &str = "live.webhook_secret";

/// Quotes that shells and word processors leave around a value.
const QUOTES: [char; 6] = ['"', '\'', '“', '”', '‘', '’'];

/// Layers the file, the environment and the flags over the defaults.
pub(super) fn gather(mode: Mode, sources: &Sources) -> Settings {
    let mut settings = Settings::new(mode, sources.read);
    let dev_defaults = Some(DEV_DEFAULTS).filter(|_| mode == Mode::Dev);
    for text in [DEFAULTS].into_iter().chain(dev_defaults) {
        // The tests prove that the compiled-in documents are TOML.
        if let Ok(table) = DeTable::parse(text) {
            for leaf in leaves(table.get_ref()) {
                settings.set(Entry::new(leaf.path, leaf.value, Source::Default));
            }
        }
    }
    if let Some(file) = &sources.file {
        settings.overlay_file(file);
    }
    environment::overlay(&mut settings, &sources.environment);
    for (name, text) in &sources.flags {
        settings.overlay_text(name, text, Source::Flag(name.clone()));
    }
    environment::complete_listen(&mut settings, &sources.environment);
    environment::warn_of_proxy(&mut settings, &sources.environment);
    settings.read_secret_files();
    settings.refuse_stray_bytes();
    settings
}

impl Settings {
    fn overlay_file(&mut self, file: &SettingsFile) {
        let Some(table) = self.parsed("settings file", file) else {
            self.file_is_broken = true;
            return;
        };
        for leaf in leaves(&table) {
            self.overlay(leaf.path, leaf.value, file.position(leaf.start).0);
        }
    }

    /// Takes a dotted name and a text, as variables and flags give them.
    pub(super) fn overlay_text(&mut self, name: &str, text: &str, source: Source) {
        let known = self.entry(name).map(|entry| entry.path.clone());
        let path = known.unwrap_or_else(|| match name.rsplit_once('.') {
            Some((table, key)) => {
                let parts = table.splitn(2, '.').chain([key]);
                parts.map(str::to_owned).collect()
            }
            None => vec![name.to_owned()],
        });
        self.overlay(path, text.into(), source);
    }

    /// Takes a value from a source.
    fn overlay(&mut self, path: Vec<String>, value: Value, source: Source) {
        let name = joined(&path);
        let Some(known) = self.entry(&name) else {
            return self.overlay_unknown(path, value, source);
        };
        let value = match fitted(known.default.as_ref(), value, &source) {
            Ok(value) => value,
            Err(expected) => return self.complain_of(&name, &source, expected),
        };
        if let (Source::Environment(own), Source::Environment(other)) = (&source, &known.source)
            && known.value.as_ref() != Some(&value)
        {
            let message = format!("{own} and {other} say different things; keep one");
            return self.complain_of(&name, &source, message);
        }
        self.set(Entry::new(path, value, source));
    }

    /// Takes a value of a name that is not in `config/default.toml`. Such names are in lists and in quotas.
    fn overlay_unknown(&mut self, path: Vec<String>, value: Value, source: Source) {
        let name = joined(&path);
        let is_in_list = matches!(source, Source::File { .. })
            && path.len() > 2
            && most_tables(&joined(&path[..2])).is_some();
        let is_free = path[0] == FREE && path.len() > 1 && help(&name).is_none();
        let mut known = self.entries.iter().map(|entry| entry.name.as_str());
        let is_section = name == FREE || known.any(|known| is_below(known, &name));
        let is_of_sections = is_section || (is_free && path.len() == 2);
        if is_of_sections && most_tables(&name).is_none() && is_list_of_tables(&value) {
            let message =
                format!("is a section, not a list: write [{name}] once, with one bracket");
            return self.complain_of(&name, &source, message);
        }
        if is_in_list || is_free {
            if let Ok(value) = fitted(None, value, &source) {
                self.set(Entry::new(path, value, source));
            }
            return;
        }
        let (is_empty, items) = match &value {
            Value::Table(table) => (table.is_empty(), 0),
            Value::Array(items) => (items.is_empty(), items.len()),
            _ => (false, 0),
        };
        let most = most_tables(&name);
        if let Some(most) = most.filter(|most| items > *most) {
            let message = format!("holds more than {most} tables");
            self.complain_of(&name, &source, message);
        } else if !(is_empty && (is_section || (most.is_some() && value.is_array()))) {
            self.refuse_unknown(&name, &source);
        }
    }

    /// Refuses a name that no setting has.
    fn refuse_unknown(&mut self, name: &str, source: &Source) {
        let (given, shown): (_, fn(&str) -> String) = match source {
            Source::Environment(variable) => (variable.as_str(), environment::environment_name),
            _ => (name, str::to_owned),
        };
        let known = self.entries.iter().map(|entry| entry.name.as_str());
        let close = nearest(name, known);
        let message = help(name).unwrap_or_else(|| match shown(close) {
            shown if is_below(close, name) => {
                format!("is a section, not a setting; it holds {shown}")
            }
            shown => format!("is not a setting; the nearest is {shown}"),
        });
        self.complain_of(given, source, message);
    }

    /// Reads the files that hold secrets.
    fn read_secret_files(&mut self) {
        let given = self.entries.iter().filter(|entry| !entry.text().is_empty());
        let files = given.filter_map(|entry| {
            let (name, path) = (entry.name.clone(), entry.text().to_owned());
            Some((entry.secret_in_file()?, name, path))
        });
        for (mut secret, file, path) in files.collect::<Vec<_>>() {
            let known = self.entry(&secret.name);
            let known = known.filter(|known| known.source != Source::Default);
            if let Some(known) = known.filter(|known| !known.text().is_empty()) {
                let (own, by) = (&known.source, &secret.source);
                let message =
                    format!("is given twice: by {own}, and as a file ({file}) by {by}; keep one");
                self.complain(&secret.name, message);
                continue;
            }
            match self.file(&file, path).as_deref().map(bare) {
                None => {}
                Some("") => {
                    self.complain(&file, "names a file that is empty; it must hold the secret");
                }
                Some(text) => {
                    let text = if secret.name == LINES {
                        text.replace(['\r', '\n'], " ")
                    } else {
                        text.to_owned()
                    };
                    secret.value = Some(text.into());
                    self.set(secret);
                }
            }
        }
    }

    /// Refuses texts with quotes around them, or with control characters.
    fn refuse_stray_bytes(&mut self) {
        let given = self.entries.iter();
        let given = given.filter(|entry| entry.source != Source::Default);
        let wrong = given.filter_map(|entry| {
            let value = entry.value.as_ref()?;
            let texts: Vec<_> = match value.as_array() {
                Some(items) => items.iter().filter_map(Value::as_str).collect(),
                None => value.as_str().into_iter().collect(),
            };
            let begins = texts.first()?.starts_with(QUOTES);
            let message = if begins || texts.last()?.ends_with(QUOTES) {
                "begins or ends with a quote; remove the quotes (`docker run --env-file` keeps them)"
            } else if texts.iter().any(|text| text.contains(char::is_control)) {
                "holds a line break or another control character; remove it"
            } else {
                return None;
            };
            Some((entry.path.clone(), message))
        });
        for (path, message) in wrong.collect::<Vec<_>>() {
            self.complain(&joined(&path), message);
            self.reset(&path);
        }
    }
}

/// Returns the value in the type of the default, or what it must be. Only a file gives types, the other sources give text.
/// A secret made of digits stays text. Without a default, digits are a number.
fn fitted(default: Option<&Value>, value: Value, source: &Source) -> Result<Value, String> {
    let is_text = !matches!(source, Source::File { .. });
    let text = value.as_str().map(bare);
    let read = match (default, text) {
        (Some(Value::Array(_)), Some(text)) => {
            // A host or a network with a blank is a mistake. Origins are often parted by blanks.
            let are_origins = text.contains("://");
            let is_between = |letter| ",;\r\n\t".contains(letter) || (are_origins && letter == ' ');
            let items = text.split(is_between).map(str::trim);
            let items = items.filter(|item| !item.is_empty());
            Some(items.collect::<Vec<_>>().into())
        }
        (Some(Value::Float(_)), Some(text)) if is_text => text.parse().ok().map(Value::Float),
        (Some(Value::Boolean(_)), Some(text)) if is_text => text.parse().ok().map(Value::Boolean),
        (Some(Value::Integer(_)) | None, Some(text)) if is_text => {
            let number = text.parse().ok().map(Value::Integer);
            number.or_else(|| default.is_none().then(|| text.into()))
        }
        (None | Some(Value::String(_)), Some(text)) => Some(text.into()),
        (Some(Value::Float(_)), None) if value.is_integer() => Some(value),
        (Some(default), _) => default.same_type(&value).then_some(value),
        (None, None) => Some(value),
    };
    read.ok_or_else(|| must_be(default.map_or("", Value::type_str)))
}

/// Returns true for a value that was written as `[[…]]`.
fn is_list_of_tables(value: &Value) -> bool {
    let items = value.as_array().into_iter().flatten();
    let mut tables = items.filter_map(Value::as_table);
    tables.any(|table| !table.is_empty())
}

/// Returns the text without white space and byte order marks around it.
fn bare(text: &str) -> &str {
    text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}')
}

/// Returns what to do about a name that is no setting: it belongs to a list of tables, or was removed.
pub(super) fn help(name: &str) -> Option<String> {
    let is_list = |(list, _): &&(&str, _)| name == *list || is_below(name, list);
    if let Some((list, _)) = LISTS.iter().find(is_list) {
        return Some(format!(
            "is a list of tables: write [[{list}]] in the settings file, with two brackets, once for each"
        ));
    }
    let help = match name {
        FREE => {
            "is a section, not a setting; it holds quota.<role>.sessions_per_month, minutes_per_week and others"
        }
        "guard.weights.foreign_session" => {
            "was removed: no session id is an offence, because ids cannot be guessed; remove this setting"
        }
        "session.persist" => {
            "was removed: sessions always survive a restart, in the ledger's database (ledger.url); remove this setting"
        }
        "session.secret" | "session.secret_file" => {
            "was removed: sessions are stored under a hash of their id and need no secret; remove this setting"
        }
        _ if name.ends_with(".tokens_per_month") || name.ends_with(".cost_per_month") => {
            "needs measured use, which direct mode does not have; sessions_per_month can be limited"
        }
        _ => return None,
    };
    Some(help.to_owned())
}
