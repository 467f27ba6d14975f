//! The contract of databases: one connection that writes, some that only read, and the severity of errors.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::RecordsError;
use super::statement::{NO_PAGE, Statement};
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

/// An error of the database. Cheap to clone, because many callers may wait for one transaction.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{cause}")]
pub(super) struct Fault {
    pub(super) severity: Severity,
    cause: Arc<dyn std::error::Error + Send + Sync>,
}

impl Fault {
    pub(super) fn new(
        severity: Severity,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let cause = cause.into().into();
        Self { severity, cause }
    }
}

impl From<Fault> for RecordsError {
    fn from(fault: Fault) -> Self {
        Self::Failed(Box::new(fault))
    }
}

/// Returns the database's own error code.
pub(super) fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub(super) enum Bind {
    Text(String),
    Number(i64),
}

impl From<&str> for Bind {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Bind {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Bind {
    fn from(number: usize) -> Self {
        (number as u64).into()
    }
}

impl From<Timestamp> for Bind {
    fn from(moment: Timestamp) -> Self {
        moment.as_millis().into()
    }
}

/// In milliseconds.
impl From<Duration> for Bind {
    fn from(length: Duration) -> Self {
        u64::try_from(length.as_millis()).unwrap_or(u64::MAX).into()
    }
}

/// Returns rows as the parameter of a statement over a page.
pub(super) fn page<R: Serialize>(rows: &[R]) -> Result<Bind, Fault> {
    let encoded = serde_json::to_string(rows);
    encoded
        .map(Bind::Text)
        .map_err(|error| Fault::new(Severity::Command, error))
}

fn decode<R: DeserializeOwned>(text: &str) -> Result<Vec<R>, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::new(Severity::Broken, error))
}

/// A database, as the writer opens it.
#[async_trait]
pub(super) trait Base: Send {
    /// Opens a connection that can write.
    async fn connect(&self) -> Result<Box<dyn Connection>, Fault>;
}

/// The one connection that writes.
#[async_trait]
pub(super) trait Connection: Send {
    /// Begins a transaction that may write. Returns the time on the database's clock.
    async fn begin(&mut self) -> Result<Timestamp, Fault>;

    /// Ends the transaction. When this returns, its changes are on disk.
    async fn commit(&mut self) -> Result<(), Fault>;

    /// Undoes the transaction.
    async fn rollback(&mut self) -> Result<(), Fault>;

    /// Makes brokers that open calls or hold money wait for each other until the transaction ends. The next statement sees what
    /// the others have committed. A writer that is alone needs no lock.
    async fn lock_calls(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// Changes rows. Returns their number.
    async fn change(&mut self, statement: &'static Statement, binds: &[Bind])
    -> Result<u64, Fault>;

    /// Lists rows as a JSON array.
    async fn list(
        &mut self,
        statement: &'static Statement,
        binds: &[Bind],
    ) -> Result<String, Fault>;

    /// Fails when a change that is written now would be lost. Called once a second, so it must be quick.
    async fn assert_lasting(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    /// Closes the connection in good order.
    async fn close(self: Box<Self>);
}

static PROBE: Statement = Statement::change(
    NO_PAGE,
    "INSERT INTO probe (id, at) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET at = excluded.at",
);

impl dyn Connection + '_ {
    /// Lists rows.
    pub(super) async fn rows<R: DeserializeOwned>(
        &mut self,
        statement: &'static Statement,
        binds: &[Bind],
    ) -> Result<Vec<R>, Fault> {
        decode(&self.list(statement, binds).await?)
    }

    /// Proves that the connection can write.
    pub(super) async fn probe(&mut self) -> Result<(), Fault> {
        let now = self.begin().await?;
        self.change(&PROBE, &[now.into()]).await?;
        self.commit().await
    }
}

/// Connections that only read.
#[async_trait]
pub(super) trait Reader: Send + Sync {
    /// Lists rows as a JSON array.
    async fn list(&self, statement: &'static Statement, binds: &[Bind]) -> Result<String, Fault>;

    /// Closes all connections.
    async fn close(&self);
}

impl dyn Reader + '_ {
    /// Lists rows.
    pub(super) async fn rows<R: DeserializeOwned>(
        &self,
        statement: &'static Statement,
        binds: &[Bind],
    ) -> Result<Vec<R>, Fault> {
        decode(&self.list(statement, binds).await?)
    }
}
