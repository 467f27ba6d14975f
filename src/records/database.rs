//! Owns what the ledger wants of a database, whichever it is.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::RecordsError;
use super::statements::Statement;

/// How bad an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Something in one of the commands cannot be written; the connection is fine.
    Command,
    /// Another writer was in the way; once more will do.
    Conflict,
    /// The server is out of reach. Whether it did what it was asked last is unknown; asking again is safe.
    Lost,
    /// The connection cannot be trusted any longer.
    Broken,
}

/// What went wrong in the database; cheap to hand to everybody who waits.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) severity: Severity,
    source: Arc<dyn Error + Send + Sync>,
}

impl Fault {
    pub(super) fn new(severity: Severity, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            severity,
            source: source.into().into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(formatter)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

impl From<Fault> for RecordsError {
    fn from(fault: Fault) -> Self {
        Self::Failed(Box::new(fault))
    }
}

/// A database that can be written to.
#[async_trait]
pub(super) trait Base: Send {
    /// A fresh connection that has just proved that it can write.
    async fn connect(&self) -> Result<Box<dyn Connection>, Fault>;
}

/// The one connection that writes. Rows go in and come out as one JSON array of arrays: one statement for many rows.
#[async_trait]
pub(super) trait Connection: Send {
    /// Begins a transaction that may write.
    async fn begin(&mut self) -> Result<(), Fault>;

    /// Ends it; when this returns, it is on disk.
    async fn commit(&mut self) -> Result<(), Fault>;

    /// Undoes it.
    async fn rollback(&mut self) -> Result<(), Fault>;

    /// Changes rows, and says how many.
    async fn change(&mut self, statement: &Statement, rows: &str) -> Result<u64, Fault>;

    /// Reads rows.
    async fn list(&mut self, statement: &Statement, rows: &str) -> Result<String, Fault>;

    /// What has to be done from time to time, after `rows` more were written.
    async fn tidy(&mut self, rows: usize) -> Result<(), Fault>;

    /// Leaves everything in order.
    async fn close(self: Box<Self>);
}

/// A parameter of a reading statement.
#[derive(Clone, Debug)]
pub(super) enum Bind {
    Text(String),
    Number(i64),
}

/// Connections that only read.
#[async_trait]
pub(super) trait Reader: Send + Sync {
    /// Reads rows, as one JSON array.
    async fn read(&self, statement: &Statement, binds: &[Bind]) -> Result<String, Fault>;

    /// Closes all of them.
    async fn close(&self);
}
