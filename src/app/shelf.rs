//! Owns the way by which sessions are written down in the ledger's database.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::{SessionKey, Shelved};
use crate::ledger::{LedgerError, SqlLedger};
use crate::store::{Shelf, StoreError};

/// A shelf in the ledger's database: its one writer carries sessions along with entries.
pub struct LedgerShelf(pub Arc<SqlLedger>);

fn failed(error: LedgerError) -> StoreError {
    StoreError(Box::new(error))
}

#[async_trait]
impl Shelf for LedgerShelf {
    async fn read(&self, take: &mut (dyn FnMut(Vec<Shelved>) + Send)) -> Result<u64, StoreError> {
        self.0.shelved(take).await.map_err(failed)
    }

    async fn write(&self, kept: Vec<Shelved>, gone: Vec<SessionKey>) -> Result<(), StoreError> {
        self.0.shelve(&kept, &gone).await.map_err(failed)
    }
}
