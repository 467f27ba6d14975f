//! Holds the settings while they are read: each value with its source, and the mistakes so far.

use std::fmt::Display;
use std::io::ErrorKind;
use std::path::Path;

use toml::Value;

use super::source::ReadFile;
use super::{Complaint, ConfigErrors, MayChange, Mode, SettingsFile, Source};

/// Settings and fields of tables that are never shown. Each can also come from a file: `…_file` holds its path.
const SECRETS: [&str; 14] = [
    "auth.supabase_jwt_secret",
    "upstream.api_key",
    "upstream.previous_api_key",
    "upstream.admin_key",
    "upstream.proxy",
    "ledger.url",
    "ledger.pseudonym_key",
    "redis.url",
    "ops.token",
    "alerts.webhook",
    "live.webhook_secret",
    "otel.headers",
    "hmac_secret",
    "key",
];
/// A table of secrets.
const SECRET_TABLE: &str = "lookup_headers";
/// Shown in place of a secret.
const MASK: &str = "***";

/// One setting.
#[derive(Clone)]
pub(super) struct Entry {
    /// The parts of the name. The tables of a list have the parts `[1]`, `[2]` and so on.
    pub(super) path: Vec<String>,
    pub(super) name: String,
    /// The value in `config/default.toml`; `None` for names that only the operator knows.
    pub(super) default: Option<Value>,
    /// `None` for a mistake in a setting without default.
    pub(super) value: Option<Value>,
    pub(super) source: Source,
}

impl Entry {
    pub(super) fn new(path: Vec<String>, value: Value, source: Source) -> Self {
        Self {
            name: joined(&path),
            path,
            default: (source == Source::Default).then(|| value.clone()),
            value: Some(value),
            source,
        }
    }

    /// Returns the text of the value, or an empty text.
    pub(super) fn text(&self) -> &str {
        self.value
            .as_ref()
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(super) fn is_secret(&self) -> bool {
        let field = self.path.last().map_or("", String::as_str);
        SECRETS.contains(&self.name.as_str())
            || SECRETS.contains(&field)
            || self.path.iter().any(|part| part == SECRET_TABLE)
    }

    /// Returns the name of the secret whose file this setting names, if it names one.
    pub(super) fn secret_in_file(&self) -> Option<Self> {
        let mut path = self.path.clone();
        let field = path.pop()?.strip_suffix("_file")?.to_owned();
        path.push(field);
        let secret = Self::new(path, Value::from(""), self.source.clone());
        secret.is_secret().then_some(secret)
    }

    /// Returns the value as the environment would give it, or a mask for a secret.
    fn shown(&self) -> String {
        let text = self.value.as_ref().map(shown).unwrap_or_default();
        let needs_no_password = text == "memory" || text.starts_with("sqlite:");
        let is_harmless = text.is_empty() || (self.name == "ledger.url" && needs_no_password);
        if self.is_secret() && !is_harmless {
            return MASK.into();
        }
        text
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Float(number) => number.to_string(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Returns true for the name of a setting that is never shown.
pub fn is_secret(name: &str) -> bool {
    let path = name.split('.').map(str::to_owned).collect();
    Entry::new(path, Value::from(""), Source::Default).is_secret()
}

/// Returns the full name of a setting or a table, like `auth.issuers[1].issuer`.
pub(super) fn joined(path: &[impl AsRef<str>]) -> String {
    let mut name = String::new();
    for part in path.iter().map(AsRef::as_ref) {
        if !name.is_empty() && !part.starts_with('[') {
            name.push('.');
        }
        name.push_str(part);
    }
    name
}

/// All settings while they are read. A mistake is noted, and reading continues with the default in its place.
pub(super) struct Settings {
    pub(super) mode: Mode,
    pub(super) read_file: ReadFile,
    /// True when the settings file is not TOML. Settings that seem to be missing may be in the file.
    pub(super) file_is_broken: bool,
    pub(super) entries: Vec<Entry>,
    complaints: Vec<Complaint>,
    warnings: Vec<String>,
}

impl Settings {
    pub(super) const fn new(mode: Mode, read_file: ReadFile) -> Self {
        Self {
            mode,
            read_file,
            file_is_broken: false,
            entries: Vec::new(),
            complaints: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.entry(name).map(Entry::text).unwrap_or_default().into()
    }

    /// Sets a value. A new name is added behind the names that begin alike.
    pub(super) fn set(&mut self, mut entry: Entry) {
        let known = |known: &&mut Entry| known.name == entry.name;
        if let Some(known) = self.entries.iter_mut().find(known) {
            entry.default = known.default.take();
            *known = entry;
            return;
        }
        let mut depths = (1..entry.path.len()).rev();
        let place = depths.find_map(|depth| {
            let begin = &entry.path[..depth];
            self.entries
                .iter()
                .rposition(|known| known.path.starts_with(begin))
        });
        let place = place.map_or(self.entries.len(), |last| last + 1);
        self.entries.insert(place, entry);
    }

    /// Puts the defaults back at and below `path`. Returns false when they were there already.
    pub(super) fn reset(&mut self, path: &[String]) -> bool {
        let mut has_changed = false;
        for entry in &mut self.entries {
            let concerns = entry.path.starts_with(path) || path.starts_with(&entry.path);
            if concerns && entry.value != entry.default {
                entry.value = entry.default.clone();
                has_changed = true;
            }
        }
        has_changed
    }

    /// Returns each setting's name, shown value and source, in the order of `config/default.toml`.
    pub(super) fn shown(&self) -> Vec<(String, String, Source)> {
        let entries = self.entries.iter();
        entries
            .map(|entry| (entry.name.clone(), entry.shown(), entry.source.clone()))
            .collect()
    }

    /// Returns the source of the setting `name`. A field that is missing in a table has the source of the table's first field.
    pub(super) fn source(&self, name: &str) -> Source {
        let entry = self.place(name).and_then(|place| self.entries.get(place));
        entry.map_or(Source::Default, |entry| entry.source.clone())
    }

    /// Returns the place of a setting, of the first setting below a section, or of the table of a missing field.
    fn place(&self, name: &str) -> Option<usize> {
        let find = |is_it: &dyn Fn(&str) -> bool| {
            let mut entries = self.entries.iter();
            entries.position(|entry| is_it(&entry.name))
        };
        find(&|known| known == name)
            .or_else(|| find(&|known| is_below(known, name)))
            .or_else(|| {
                let table = &name[..=name.rfind(']')?];
                find(&|known| known.starts_with(table))
            })
    }

    pub(super) fn complain(&mut self, name: &str, message: impl Display) {
        let source = self.source(name);
        self.complain_of(name, &source, message);
    }

    pub(super) fn complain_of(&mut self, name: &str, source: &Source, message: impl Display) {
        self.complaints.push(Complaint::new(name, source, message));
    }

    pub(super) fn warn(&mut self, name: &str, message: impl Display) {
        self.warnings.push(format!("{name}: {message}"));
    }

    pub(super) fn warn_if(&mut self, is_doubtful: bool, name: &str, message: &str) {
        if is_doubtful {
            self.warn(name, message);
        }
    }

    /// Complains of the first of `names` unless the rule `holds`, or a mistake in one of them is known already.
    pub(super) fn require(&mut self, names: &[&str], holds: bool, message: impl Display) {
        if holds {
            return;
        }
        let is_wrong = |name: &&str| {
            let mut known = self.complaints.iter().map(Complaint::setting);
            known.any(|known| known == *name || is_below(known, name))
        };
        let is_missing = |name: &&str| self.source(name) == Source::Default;
        let may_be_in_file = self.file_is_broken && names.iter().all(is_missing);
        if !may_be_in_file && !names.iter().any(is_wrong) {
            self.complain(names[0], message);
        }
    }

    /// Does the same as [`Self::require`] with the names of fields of `table`, like `auth.issuers[1]`.
    pub(super) fn require_in(
        &mut self,
        (table, fields): (&str, &[&str]),
        holds: bool,
        message: impl Display,
    ) {
        let names = fields.iter().map(|field| format!("{table}.{field}"));
        let names: Vec<_> = names.collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.require(&names, holds, message);
    }

    /// Does the same as [`Self::require`], but only warns in dev mode.
    pub(super) fn require_unless_dev(&mut self, name: &str, holds: bool, message: &str) {
        match self.mode {
            Mode::Serve => self.require(&[name], holds, message),
            Mode::Dev if holds => {}
            Mode::Dev => self.warn(name, format_args!("outside dev mode, it {message}")),
        }
    }

    /// Returns the text of a file. Complains of the setting that names the file when it cannot be read.
    pub(super) fn file(&mut self, name: &str, path: impl AsRef<Path>) -> Option<String> {
        let text = (self.read_file)(path.as_ref());
        text.map_err(|error| {
            let message = format!("names a file that cannot be read: {}", error.kind());
            self.complain(name, message);
        })
        .ok()
    }

    /// Returns the file that the setting `name` has `named`, or else the usual file in `config/`, or else the one of that
    /// name that is compiled in. `None` after a complaint.
    pub(super) fn document(
        &mut self,
        name: &str,
        named: &str,
        (usual, compiled_in): (&str, &str),
    ) -> Option<SettingsFile> {
        let path = match named {
            "" => format!("config/{usual}"),
            named => named.to_owned(),
        };
        let (path, text) = match (self.read_file)(Path::new(&path)) {
            Ok(text) => (path, text),
            Err(error) if named.is_empty() && error.kind() == ErrorKind::NotFound => {
                (format!("compiled-in {usual}"), compiled_in.to_owned())
            }
            Err(error) => {
                self.complain(name, format!("{path} cannot be read: {}", error.kind()));
                return None;
            }
        };
        Some(SettingsFile { path, text })
    }

    /// Complains when the file at `path` holds no certificate.
    pub(super) fn require_certificates(&mut self, name: &str, path: Option<&Path>) {
        if let Some(text) = path.and_then(|path| self.file(name, path)) {
            self.require(
                &[name],
                text.contains("-----BEGIN CERTIFICATE-----"),
                "names a file without a certificate in PEM form",
            );
        }
    }

    /// Drops the complaints of settings that may not change while the service runs: the values of its start hold.
    pub(super) fn forgive(&mut self, may_change: MayChange) {
        self.complaints
            .retain(|complaint| may_change(complaint.setting()));
    }

    /// Returns the warnings, or else all complaints in the order of the settings. Unknown names are first,
    /// because they often explain what is missing.
    pub(super) fn verdict(mut self) -> Result<Vec<String>, ConfigErrors> {
        if self.complaints.is_empty() {
            return Ok(self.warnings);
        }
        let mut complaints = std::mem::take(&mut self.complaints);
        complaints.sort_by_cached_key(|complaint| self.place(complaint.setting()));
        Err(ConfigErrors::new(complaints))
    }
}

/// Returns true when `name` is a setting in the section `section`.
pub(super) fn is_below(name: &str, section: &str) -> bool {
    let rest = name.strip_prefix(section);
    rest.is_some_and(|rest| rest.starts_with('.'))
}
