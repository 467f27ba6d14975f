//! Holds the settings while they are read: each value, its source, and the mistakes so far.

use std::fmt::Display;
use std::path::Path;

use toml::Value;

use super::complaint::nearest;
use super::entry::Entry;
use super::source::ReadFile;
use super::{Complaint, Mode, Source, layers};

/// How a certificate in PEM form begins.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// All settings, while they are read. A mistake is noted, and reading goes on to find the next one.
pub(super) struct Settings {
    pub(super) mode: Mode,
    pub(super) read: ReadFile,
    /// True when the file could not be understood: what seems to be missing may stand in it.
    pub(super) file_is_broken: bool,
    pub(super) entries: Vec<Entry>,
    complaints: Vec<Complaint>,
    warnings: Vec<String>,
}

impl Settings {
    pub(super) fn new(mode: Mode, read: ReadFile, entries: Vec<Entry>) -> Self {
        Self {
            mode,
            read,
            file_is_broken: false,
            entries,
            complaints: Vec::new(),
            warnings: Vec::new(),
        }
    }

    // --- what stands where

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Adds settings of one table or list that `config/default.toml` cannot know, behind those whose names begin alike.
    pub(super) fn add(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        let likeness = |known: &Entry| {
            let pairs = known.path.iter().zip(&first.path);
            pairs.take_while(|(known, new)| known == new).count()
        };
        let alike = self.entries.iter().map(likeness).enumerate();
        // The last of several that are equally alike.
        let best = alike
            .max_by_key(|(_, likeness)| *likeness)
            .filter(|(_, likeness)| *likeness > 0);
        let place = best.map_or(self.entries.len(), |(index, _)| index + 1);
        self.entries.splice(place..place, entries);
    }

    /// Adds the secret `name`, empty, beside the setting `twin`, unless it is there or no secret.
    pub(super) fn add_beside(&mut self, twin: &str, name: &str) {
        let place = self.entries.iter().position(|entry| entry.name == twin);
        if let (Some(place), None) = (place, self.entry(name)) {
            let twin = &self.entries[place];
            let mut path = twin.path.clone();
            path.pop();
            path.extend(name.rsplit('.').next().map(str::to_owned));
            let entry = Entry::new(path, Value::from(""), twin.source.clone());
            let entry = Some(entry).filter(|entry| entry.is_secret);
            self.entries.splice(place..place, entry);
        }
    }

    /// True when settings are below `name`.
    pub(super) fn is_section(&self, name: &str) -> bool {
        let begin = format!("{name}.");
        self.entries
            .iter()
            .any(|entry| entry.name.starts_with(&begin))
    }

    /// True for a setting that names the file of a secret, and is read in the secret's place.
    pub(super) fn is_read_as_file(&self, entry: &Entry) -> bool {
        let secret = entry.name.strip_suffix("_file");
        let secret = secret.and_then(|secret| self.entry(secret));
        secret.is_some_and(|secret| secret.is_secret)
    }

    /// Puts `value` in place of what `name` stood at.
    pub(super) fn set(&mut self, name: &str, value: Value, source: Source) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == name) {
            entry.value = value;
            entry.source = source;
        }
    }

    /// Puts the default back, or an empty text. The source stays: complaints name it.
    pub(super) fn reset(&mut self, name: &str) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == name) {
            entry.value = entry.default.clone().unwrap_or_else(|| Value::from(""));
        }
    }

    /// Refuses a name that no setting has.
    pub(super) fn refuse_unknown(&mut self, name: &str, source: &Source) {
        if let Some(help) = layers::help(name) {
            return self.complain_of(name, source, help);
        }
        let known = self.entries.iter().map(|entry| entry.name.as_str());
        let message = match nearest(name, known) {
            close if close.starts_with(&format!("{name}.")) => {
                format!("is a section, not a setting; it holds {close}")
            }
            close => format!("is not a setting; the nearest is {close}"),
        };
        self.complain_of(name, source, message);
    }

    /// Each setting's name, value fit to be shown, and source, in the order of `config/default.toml`.
    pub(super) fn shown(&self) -> Vec<(String, String, Source)> {
        let entries = self.entries.iter();
        entries
            .map(|entry| (entry.name.clone(), entry.shown(), entry.source.clone()))
            .collect()
    }

    // --- mistakes

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

    /// Complains of the first of `names` unless the rule `holds`, or one of them, or something below one of them, is known
    /// to be wrong already.
    pub(super) fn require(&mut self, names: &[&str], holds: bool, message: impl Display) {
        let is_wrong = |name: &str| {
            let rest = |known: &Complaint| known.setting().strip_prefix(name).map(str::to_owned);
            let mut rests = self.complaints.iter().filter_map(rest);
            rests.any(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let may_stand_in_file = self.file_is_broken
            && names
                .iter()
                .all(|name| self.source(name) == Source::Default);
        if let (false, false, Some(first)) = (holds, may_stand_in_file, names.first())
            && !names.iter().any(|&name| is_wrong(name))
        {
            self.complain(first, message);
        }
    }

    /// As [`Self::require`], for what is only unwise on a developer's own machine.
    pub(super) fn require_unless_dev(&mut self, name: &str, holds: bool, message: impl Display) {
        match self.mode {
            Mode::Serve => self.require(&[name], holds, message),
            Mode::Dev if holds => {}
            Mode::Dev => self.warn(name, format_args!("outside dev mode, it {message}")),
        }
    }

    /// Complains of `name` when the file at `path` holds no certificates.
    pub(super) fn require_certificates(&mut self, name: &str, path: Option<&Path>) {
        let held = path.map_or_else(|| Ok(CERTIFICATE.into()), self.read);
        match held {
            Ok(held) => self.require(
                &[name],
                held.contains(CERTIFICATE),
                "names a file without a certificate in PEM form",
            ),
            Err(error) => self.complain(
                name,
                format_args!("names a file that cannot be read: {}", error.kind()),
            ),
        }
    }

    /// The warnings, or else everything that is wrong, in the order of the settings.
    pub(super) fn verdict(mut self) -> Result<Vec<String>, Vec<Complaint>> {
        if self.complaints.is_empty() {
            return Ok(self.warnings);
        }
        let mut complaints = std::mem::take(&mut self.complaints);
        // Unknown names first: they often explain what is missing below.
        complaints.sort_by_cached_key(|complaint| self.place(complaint.setting()));
        Err(complaints)
    }

    /// Who gave the setting `name`. What was not given in a table stands where the table begins.
    pub(super) fn source(&self, name: &str) -> Source {
        let entry = self.place(name).and_then(|place| self.entries.get(place));
        entry.map_or(Source::Default, |entry| entry.source.clone())
    }

    /// Where `name` stands among all settings: itself, what is below it, or the table that it belongs to.
    fn place(&self, name: &str) -> Option<usize> {
        let begins_with = |begin: &str| {
            self.entries
                .iter()
                .position(|entry| entry.name.starts_with(begin))
        };
        let exact = self.entries.iter().position(|entry| entry.name == name);
        exact
            .or_else(|| begins_with(&format!("{name}.")))
            .or_else(|| begins_with(&name[..=name.rfind(']')?]))
    }

    // --- reading

    pub(super) fn text(&self, name: &str) -> String {
        match self.entry(name).map(|entry| &entry.value) {
            Some(Value::String(text)) => text.trim().into(),
            _ => String::new(),
        }
    }

    pub(super) fn default_text(&self, name: &str) -> String {
        match self.entry(name).and_then(|entry| entry.default.as_ref()) {
            Some(Value::String(text)) => text.clone(),
            _ => String::new(),
        }
    }
}
