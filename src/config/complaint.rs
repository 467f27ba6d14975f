//! Owns how mistakes in the settings are told: all at once, by name, without repeating a value.

use std::fmt;

use super::Source;

/// Names longer than this are cut in messages: what stands where a name belongs may be anything.
const LONGEST_NAME: usize = 80;

/// One mistake: which setting, who said it, and what would be right. Never the value, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    setting: String,
    source: Source,
    message: String,
}

impl Complaint {
    /// A mistake in `setting` as `source` gives it. The message continues "the setting …": `must be …`, `is …`.
    pub(super) fn new(setting: &str, source: &Source, message: impl fmt::Display) -> Self {
        Self {
            setting: plain(setting),
            source: source.clone(),
            message: message.to_string().replace(char::is_control, " "),
        }
    }

    /// The dotted name of the setting, or the unknown name as it was given.
    pub fn setting(&self) -> &str {
        &self.setting
    }

    /// Where the setting got the value complained of.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What is wrong and what would be right.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} ({}): {}",
            self.setting, self.source, self.message
        )
    }
}

/// Everything that is wrong with the settings; at least one complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Complaint>);

impl ConfigErrors {
    pub(super) fn new(complaints: Vec<Complaint>) -> Self {
        Self(complaints)
    }

    /// The complaints, in the order of the settings in `config/default.toml`.
    pub fn complaints(&self) -> &[Complaint] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => writeln!(formatter, "the settings hold a mistake:")?,
            count => writeln!(formatter, "the settings hold {count} mistakes:")?,
        }
        for complaint in &self.0 {
            writeln!(formatter, "  {complaint}")?;
        }
        formatter.write_str("nothing was started")
    }
}

impl std::error::Error for ConfigErrors {}

/// A name that may have been anything, fit for one line of a terminal.
fn plain(name: &str) -> String {
    let mut plain: String = name.chars().take(LONGEST_NAME).collect();
    if plain.len() < name.len() {
        plain.push('…');
    }
    plain.escape_debug().to_string().replace("\\\"", "\"")
}

/// The name among `known` that `name` most likely meant.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> &'a str {
    let likeness = |candidate: &&str| strsim::jaro_winkler(name, candidate);
    let ordered = |left: &&str, right: &&str| likeness(left).total_cmp(&likeness(right));
    known.into_iter().max_by(ordered).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_break_the_line_or_fill_the_screen() {
        assert_eq!(plain("a\nb\u{1b}"), "a\\nb\\u{1b}");
        assert_eq!(plain(&"x".repeat(500)).chars().count(), LONGEST_NAME + 1);
    }

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        let known = ["limits.token", "limits.refresh", "session.token_seconds"];
        assert_eq!(nearest("limit.token", known), "limits.token");
        assert_eq!(nearest("limits.refesh", known), "limits.refresh");
        assert_eq!(nearest("anything", []), "");
    }
}
