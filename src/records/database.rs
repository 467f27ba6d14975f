//! The contract of databases: one connection that writes, some that only read, and how bad an error is.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use serde::Serialize;

use super::RecordsError;
use super::rows::{encode, millis};
use super::statement::{Statement, insert, number};
use crate::clock::Timestamp;

/// The severity of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// One of the commands cannot be written. The connection is fine.
    Command,
    /// Another writer was in the way. The transaction is worth a retry.
    Conflict,
    /// The server is out of reach. The last transaction may have been committed; a retry is safe.
    Lost,
    /// The connection cannot be used any longer.
    Broken,
}

/// An error of the database. Cheap to clone for everybody who waits.
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

/// A database, as the writer opens it.
#[async_trait]
pub(super) trait Base: Send {
    /// Opens a connection, and proves that it can write.
    async fn connect(&self) -> Result<Box<dyn Connection>, Fault>;
}

/// The one connection that writes. Rows go in and come out as one JSON array: one statement for many rows.
#[async_trait]
pub(super) trait Connection: Send {
    /// Begins a transaction that may write. Returns the time on the database's clock.
    async fn begin(&mut self) -> Result<Timestamp, Fault>;

    /// Ends the transaction. When this returns, its changes are on disk.
    async fn commit(&mut self) -> Result<(), Fault>;

    /// Undoes the transaction.
    async fn rollback(&mut self) -> Result<(), Fault>;

    /// Changes rows. Returns their number.
    async fn change(&mut self, statement: &'static Statement, rows: &str) -> Result<u64, Fault>;

    /// Lists rows.
    async fn list(&mut self, statement: &'static Statement, rows: &str) -> Result<String, Fault>;

    /// Does periodic work, after `rows` more rows were written.
    async fn tidy(&mut self, rows: usize) -> Result<(), Fault>;

    /// Closes the connection in good order.
    async fn close(self: Box<Self>);
}

/// The row that is written to prove that a connection can write.
#[derive(Serialize)]
struct ProbeRow {
    id: u8,
    at: i64,
}

static PROBE: LazyLock<Statement> = LazyLock::new(|| {
    let conflict = "ON CONFLICT (id) DO UPDATE SET at = excluded.at";
    insert("probe", &[number("id"), number("at")], conflict)
});

/// Proves that a connection can write.
pub(super) async fn probe(connection: &mut dyn Connection) -> Result<(), Fault> {
    let at = millis(connection.begin().await?);
    let page = encode(&[ProbeRow { id: 1, at }])?;
    connection.change(&PROBE, &page).await?;
    connection.commit().await
}

/// A parameter of a statement that only reads.
#[derive(Clone, Debug)]
pub(super) enum Bind {
    Text(String),
    Number(i64),
}

/// Connections that only read.
#[async_trait]
pub(super) trait Reader: Send + Sync {
    /// Lists rows.
    async fn read(&self, statement: &'static Statement, binds: &[Bind]) -> Result<String, Fault>;

    /// Closes all connections.
    async fn close(&self);
}
