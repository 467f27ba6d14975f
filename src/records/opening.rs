//! The reasons why a database cannot be opened.

use std::path::PathBuf;

/// Why a database cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another broker uses the file.
    #[error("another broker is using {}: one file serves one broker", .0.display())]
    InUse(PathBuf),
    /// The file is no SQLite database.
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
        /// The first damage that was found.
        found: String,
    },
    /// There is no such file.
    #[error("there is no ledger at {}", .0.display())]
    Missing(PathBuf),
    /// A later version of this program has changed the schema.
    #[error(
        "the ledger has schema {found}, and this program knows {known}: it was made by a later version"
    )]
    Newer {
        /// The schema of the database.
        found: i64,
        /// The latest schema that this program knows.
        known: i64,
    },
    /// The schema has to be made, or brought up to date, first.
    #[error(
        "the ledger has schema {found}, and this program needs {known}: run `token-broker migrate`"
    )]
    Older {
        /// The schema of the database; 0 when it has none.
        found: i64,
        /// The schema that this program needs.
        known: i64,
    },
    /// Brokers are running, or another migration is.
    #[error("the schema cannot be changed while brokers are running: stop them first")]
    Busy,
    /// A property of the database does not give durability.
    #[error("the database says {name} = {found}; the ledger needs {needed}")]
    Unfit {
        /// The property.
        name: &'static str,
        /// The value of the property.
        found: String,
        /// The value that it must have.
        needed: &'static str,
    },
    /// The file cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The database returned an error.
    #[error("the ledger's database failed")]
    Database(#[from] sqlx::Error),
}
