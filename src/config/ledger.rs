//! Owns the settings of the record of use.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// How use is recorded.
#[derive(Clone, Debug)]
pub struct LedgerSettings {
    /// Where.
    pub place: LedgerPlace,
    /// The key of pseudonyms: present when identities are recorded by keyed hash.
    pub pseudonym_key: Option<SecretString>,
    /// How long entries are kept.
    pub retention: Duration,
    /// Longest time a caller waits for an entry to be written.
    pub timeout: Duration,
}

/// Where use is recorded.
#[derive(Clone, Debug)]
pub enum LedgerPlace {
    /// In memory: gone with the process. For trying out.
    Memory,
    /// In one file.
    Sqlite(PathBuf),
    /// In a database of a `PostgreSQL` server; the URL may hold a password.
    Postgres(SecretString),
}
