//! Owns the settings while they are read: each value, who gave it, and what is wrong so far.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::complaint::nearest;
use super::source::ReadFile;
use super::value::Value;
use super::{Complaint, Mode, Source, quota, secrets, tables};
use crate::domain::{Rate, parse_duration};

/// One setting: its default, which tells its kind, and what it stands at.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) default: Value,
    pub(super) value: Value,
    pub(super) source: Source,
    is_secret: bool,
}

impl Entry {
    /// One that stands at its default.
    pub(super) fn new(name: String, default: Value, source: Source) -> Self {
        Self {
            is_secret: secrets::SECRETS.contains(&name.as_str()),
            value: default.clone(),
            name,
            default,
            source,
        }
    }

    /// The same, never shown when `is_secret`.
    pub(super) fn secret(self, is_secret: bool) -> Self {
        Self { is_secret, ..self }
    }

    /// The value, fit to be shown.
    fn shown(&self) -> String {
        match self.value.shown() {
            text if self.is_secret && !secrets::is_harmless(&self.name, &text) => {
                secrets::MASK.into()
            }
            text => text,
        }
    }

    /// True for a field of a list of tables that was not given.
    fn is_blank(&self) -> bool {
        self.name.contains('[') && self.value == self.default
    }
}

/// All settings, while they are read. A mistake is noted and replaced by something harmless, so that reading goes on
/// and finds the next one.
pub(super) struct Settings {
    pub(super) mode: Mode,
    pub(super) read: ReadFile,
    /// True when the file could not be understood: what seems to be missing may stand in it.
    pub(super) file_is_broken: bool,
    entries: Vec<Entry>,
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

    pub(super) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// Makes a setting of one that `config/default.toml` cannot know: behind the others of its section.
    pub(super) fn add(&mut self, entry: Entry) {
        let section = entry.name.split_inclusive('.').next().unwrap_or_default();
        let mut entries = self.entries.iter();
        let last = entries.rposition(|known| known.name.starts_with(section));
        let place = last.map_or(self.entries.len(), |last| last + 1);
        self.entries.insert(place, entry);
    }

    /// Puts `value`, once it is of the right kind, in place of what `name` stood at.
    pub(super) fn set(&mut self, name: &str, value: Result<Value, &'static str>, source: Source) {
        let value = match value {
            Ok(value) => value,
            Err(expected) => return self.complain_of(name, &source, expected),
        };
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == name) {
            entry.value = value;
            entry.source = source;
        }
    }

    /// Refuses a name that no setting has.
    pub(super) fn refuse_unknown(&mut self, name: &str, source: &Source) {
        if let Some(help) = tables::help(name).or_else(|| quota::help(name)) {
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
        let told = self.entries.iter().filter(|entry| !entry.is_blank());
        told.map(|entry| (entry.name.clone(), entry.shown(), entry.source.clone()))
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

    /// Complains of the first of `names` unless the rule `holds`, or one of them is known to be wrong already.
    pub(super) fn require(&mut self, names: &[&str], holds: bool, message: impl Display) {
        let is_wrong = |name| self.complaints.iter().any(|known| known.setting() == name);
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

    /// The warnings, or else everything that is wrong, in the order of the settings.
    pub(super) fn verdict(self) -> Result<Vec<String>, Vec<Complaint>> {
        if self.complaints.is_empty() {
            return Ok(self.warnings);
        }
        let mut complaints = self.complaints;
        let place = |complaint: &Complaint| {
            let mut names = self.entries.iter().map(|entry| &entry.name);
            names.position(|name| name == complaint.setting())
        };
        // Unknown names first: they often explain what is missing below.
        complaints.sort_by_key(place);
        Err(complaints)
    }

    pub(super) fn source(&self, name: &str) -> Source {
        self.entry(name)
            .map_or(Source::Default, |entry| entry.source.clone())
    }

    // --- reading

    pub(super) fn text(&self, name: &str) -> String {
        match self.entry(name).map(|entry| &entry.value) {
            Some(Value::Text(text)) => text.trim().into(),
            _ => String::new(),
        }
    }

    pub(super) fn default_text(&self, name: &str) -> String {
        match self.entry(name).map(|entry| &entry.default) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    /// What `parse` makes of a text; its error continues "the setting …".
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = parse(&self.text(name));
        parsed.map_err(|error| self.complain(name, error)).ok()
    }

    /// As [`Self::parsed`]; an empty text is `None`.
    pub(super) fn optional<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let is_given = !self.text(name).is_empty();
        is_given.then(|| self.parsed(name, parse)).flatten()
    }

    pub(super) fn list<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let items = match self.entry(name).map(|entry| &entry.value) {
            Some(Value::List(items)) => items.clone(),
            _ => Vec::new(),
        };
        let mut parsed = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match parse(item) {
                Ok(item) => parsed.push(item),
                Err(error) => {
                    let place = format_args!("entry {} of {}", index + 1, items.len());
                    self.complain(name, format_args!("{place} {error}"));
                }
            }
        }
        parsed
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        let value = self.entry(name).map(|entry| &entry.value);
        matches!(value, Some(Value::Flag(true)))
    }

    pub(super) fn whole(&self, name: &str) -> Option<i64> {
        match self.entry(name).map(|entry| &entry.value) {
            Some(Value::Whole(number)) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn number<T>(&mut self, name: &str, range: RangeInclusive<i64>) -> T
    where
        T: TryFrom<i64> + Default,
    {
        let fits = self.whole(name).filter(|number| range.contains(number));
        let given = fits.and_then(|number| T::try_from(number).ok());
        given.unwrap_or_else(|| {
            let (least, most) = range.into_inner();
            self.complain(name, format_args!("must be between {least} and {most}"));
            T::default()
        })
    }

    pub(super) fn fraction(&mut self, name: &str, range: RangeInclusive<f64>) -> f64 {
        match self.entry(name).map(|entry| &entry.value) {
            Some(Value::Fraction(number)) if range.contains(number) => *number,
            _ => {
                let (least, most) = range.into_inner();
                self.complain(name, format_args!("must be between {least} and {most}"));
                most
            }
        }
    }

    pub(super) fn duration(&mut self, name: &str, range: RangeInclusive<Duration>) -> Duration {
        let parse = |text: &str| {
            let duration = parse_duration(text).map_err(|error| error.to_string())?;
            let (least, most) = (spelled(*range.start()), spelled(*range.end()));
            let fits = range.contains(&duration).then_some(duration);
            fits.ok_or_else(|| format!("must be between {least} and {most}"))
        };
        self.parsed(name, parse).unwrap_or_default()
    }

    pub(super) fn rate(&mut self, name: &str) -> Rate {
        const PLACEHOLDER: Rate = Rate {
            limit: 1,
            window: Duration::from_mins(1),
        };
        self.parsed(name, Rate::parse).unwrap_or(PLACEHOLDER)
    }

    /// What the word stands for that was given.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let parse = |text: &str| {
            let chosen = words.iter().find(|(word, _)| *word == text);
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            chosen
                .map(|(_, value)| *value)
                .ok_or_else(|| format!("must be one of {}", known.join(", ")))
        };
        self.parsed(name, parse)
    }
}

/// A duration as people write it.
fn spelled(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let whole = units
        .iter()
        .find(|(_, each)| millis > 0 && millis.is_multiple_of(*each));
    whole.map_or_else(
        || format!("{millis}ms"),
        |(unit, each)| format!("{}{unit}", millis / each),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_spelled_in_the_largest_whole_unit() {
        assert_eq!(spelled(Duration::ZERO), "0ms");
        assert_eq!(spelled(Duration::from_millis(1500)), "1500ms");
        assert_eq!(spelled(Duration::from_mins(90)), "90m");
        assert_eq!(spelled(Duration::from_hours(24)), "24h");
    }
}
