//! Owns the reasons why a ledger cannot be opened.

use std::path::PathBuf;

/// Why a ledger cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another broker serves with this file.
    #[error("another broker is using {}: one file serves one broker", .0.display())]
    InUse(PathBuf),
    /// The file holds something else.
    #[error("{} is not a SQLite database", .0.display())]
    NotADatabase(PathBuf),
    /// The database belongs to another program.
    #[error("{0} is a database, but not a ledger of this program")]
    NotALedger(String),
    /// The file is damaged.
    #[error("{} is damaged ({found}): restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong first.
        found: String,
    },
    /// There is no such file.
    #[error("there is no ledger at {}", .0.display())]
    Missing(PathBuf),
    /// A later version of this program has been here.
    #[error(
        "the ledger has schema {found}, and this program knows {known}: it was made by a later version"
    )]
    Newer {
        /// What it has.
        found: i64,
        /// What is known.
        known: i64,
    },
    /// The schema has to be made or brought up to date first.
    #[error(
        "the ledger has schema {found}, and this program needs {known}: run `token-broker migrate`"
    )]
    Older {
        /// What it has; 0 when there is none.
        found: i64,
        /// What is needed.
        known: i64,
    },
    /// Brokers are writing, or somebody else is migrating.
    #[error("the schema cannot be changed while brokers are running: stop them first")]
    Busy,
    /// The database does not do what durability needs.
    #[error("the database says {name} = {found}; the ledger needs {needed}")]
    Unfit {
        /// Which setting.
        name: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        needed: &'static str,
    },
    /// The file cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database refused.
    #[error("the ledger's database failed")]
    Database(#[from] sqlx::Error),
}
