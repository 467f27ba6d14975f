//! Owns the way by which sessions are written down in the ledger's database.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::{SessionKey, Shelved};
use crate::records::{RecordsError, SqlRecords};
use crate::store::{Shelf, StoreError};

/// A shelf in the ledger's database: its one writer carries sessions along with entries.
pub struct LedgerShelf(pub Arc<SqlRecords>);

fn failed(error: RecordsError) -> StoreError {
    StoreError(Box::new(error))
}

#[async_trait]
impl Shelf for LedgerShelf {
    async fn read(&self, take: &mut (dyn FnMut(Vec<Shelved>) + Send)) -> Result<u64, StoreError> {
        if !self.0.claim_sessions().await.map_err(failed)? {
            tracing::warn!(
                "another broker writes sessions into the same database: neither knows what the other changes \
                 (several brokers share sessions on redis.url)"
            );
        }
        self.0.shelved(take).await.map_err(failed)
    }

    async fn write(&self, kept: Vec<Shelved>, gone: Vec<SessionKey>) -> Result<(), StoreError> {
        self.0.shelve(&kept, &gone).await.map_err(failed)
    }
}
