//! Sources of settings.

use std::fmt;
use std::io;
use std::path::Path;

use super::{Complaint, ConfigErrors};

/// The file that is read when no other is named, if it exists.
const USUAL_FILE: &str = "config/broker.toml";

/// A function that reads a file named by a setting.
pub type ReadFile = fn(&Path) -> io::Result<String>;

/// Everything the operator gave beside the defaults. Later fields win. Holds secrets, so it has no `Debug`.
#[derive(Clone)]
pub struct Sources {
    /// The settings file, if there is one.
    pub file: Option<SettingsFile>,
    /// The whole environment. Variables of other programs are ignored; an empty variable counts as not given.
    pub environment: Vec<(String, String)>,
    /// Settings from the command line: dotted name and text.
    pub flags: Vec<(String, String)>,
    /// Reads the files that settings name: secrets, personas, certificates.
    pub read: ReadFile,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            file: None,
            environment: Vec::new(),
            flags: Vec::new(),
            read: |path| std::fs::read_to_string(path),
        }
    }
}

/// The text of a settings file. May hold secrets, so it has no `Debug`.
#[derive(Clone)]
pub struct SettingsFile {
    /// The name of the file in messages.
    pub path: String,
    /// The text of the file.
    pub text: String,
}

impl SettingsFile {
    /// Returns the line of the byte at `offset` as a source, and the column, from 1.
    pub(super) fn position(&self, offset: usize) -> (Source, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let column = before.rsplit('\n').next().map_or(0, str::len) + 1;
        let source = Source::File {
            path: self.path.clone(),
            line: before.matches('\n').count() + 1,
        };
        (source, column)
    }
}

/// Reads the settings file that was `given`, or else the usual file if it exists.
///
/// Fails when the given file cannot be read, or when the usual file exists and cannot be read.
pub fn read_file(given: Option<&Path>) -> Result<Option<SettingsFile>, ConfigErrors> {
    let path = given.unwrap_or(Path::new(USUAL_FILE));
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(SettingsFile { path: name, text })),
        Err(error) if given.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let source = Source::File {
                path: name,
                line: 1,
            };
            let message = format_args!("cannot be read: {}", error.kind());
            let complaint = Complaint::new("--config", &source, message);
            Err(ConfigErrors::new(vec![complaint]))
        }
    }
}

/// The source of a setting's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The compiled-in `config/default.toml`.
    Default,
    /// A line of a file.
    File {
        /// The file, as it was named.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment, by name.
    Environment(String),
    /// The command line, by the dotted name of the setting.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { path, line } => write!(formatter, "{path}:{line}"),
            Self::Environment(name) => write!(formatter, "environment {name}"),
            Self::Flag(name) => write!(formatter, "flag {name}"),
        }
    }
}
