//! Mistakes in the settings: reported all at once, by name, without repeating a value.

use std::fmt;

use super::Source;

/// Bounds the length of names in messages, because an unknown name may be any text.
const LONGEST_NAME: usize = 80;

/// One mistake: the setting, its source, and what would be right. Never holds the value, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    setting: String,
    source: Source,
    message: String,
}

impl Complaint {
    /// Makes a complaint of `setting` as `source` gives it. The message continues "the setting …": `must be …`, `is …`.
    pub(super) fn new(setting: &str, source: &Source, message: impl fmt::Display) -> Self {
        Self {
            setting: plain(setting),
            source: source.clone(),
            message: message.to_string().replace(char::is_control, " "),
        }
    }

    /// Returns the dotted name of the setting, or the unknown name as it was given.
    pub fn setting(&self) -> &str {
        &self.setting
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

    /// Returns the complaints, in the order of the settings in `config/default.toml`.
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

/// Makes a name fit for one line of a terminal: cut and escaped.
fn plain(name: &str) -> String {
    let mut plain: String = name.chars().take(LONGEST_NAME).collect();
    if plain.len() < name.len() {
        plain.push('…');
    }
    plain.escape_debug().to_string().replace("\\\"", "\"")
}

/// Returns the name among `known` that is most like `name`.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> &'a str {
    let likeness = |candidate: &&str| strsim::jaro_winkler(name, candidate);
    let ordered = |left: &&str, right: &&str| likeness(left).total_cmp(&likeness(right));
    known.into_iter().max_by(ordered).unwrap_or_default()
}
