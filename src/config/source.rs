//! Owns where settings come from.

use std::fmt;
use std::io;
use std::path::Path;

use super::{Complaint, ConfigErrors};

/// Read when no other file is named, and then only if it is there.
const USUAL_FILE: &str = "config/broker.toml";

/// Reads a file that a setting names.
pub type ReadFile = fn(&Path) -> io::Result<String>;

/// All that the operator said, beside the defaults. Later fields win. Holds secrets, so it has no `Debug`.
#[derive(Clone)]
pub struct Sources {
    /// The settings file, if there is one.
    pub file: Option<SettingsFile>,
    /// The environment, whole: what is not ours is ignored. A variable that is empty counts as not given.
    pub environment: Vec<(String, String)>,
    /// Settings from the command line: dotted name and text.
    pub flags: Vec<(String, String)>,
    /// How files are read that settings name: secrets, personas, certificates.
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

/// A settings file that has been read but not understood yet. May hold secrets, so it has no `Debug`.
#[derive(Clone)]
pub struct SettingsFile {
    /// How messages call it.
    pub path: String,
    /// What it holds.
    pub text: String,
}

impl SettingsFile {
    /// A line of it, from 1.
    pub(super) fn line(&self, line: usize) -> Source {
        Source::File {
            path: self.path.clone(),
            line,
        }
    }
}

/// Reads the settings file that was `given`, or else the usual one when it is there.
///
/// Fails when a given file cannot be read, or the usual one is there and cannot.
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

/// Who gave a setting its value.
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
