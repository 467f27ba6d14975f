//! Owns the sessions of a replica among others: shared while the server answers, those it knows while it does not.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::ends::Ends;
use crate::domain::{Party, Ripeness, Session, SessionKey};
use crate::store::memory::MemoryStore;
use crate::store::redis::{Over, RedisStore};
use crate::store::{Advance, SessionStore, StoreError, Stored};

/// Most sessions that wait for the server; further ones stay here.
const MOST_UNSENT: usize = 100_000;

/// Sessions on a server, and in memory those that were opened or refreshed here.
///
/// While the server is gone a replica goes by what it knows; an end that was said meanwhile reaches the others when the server
/// is back. What was opened or refreshed meanwhile is sent then; a session that was ended on the server is not revived.
pub struct SharedStore {
    shared: RedisStore,
    local: MemoryStore,
    unsent: Mutex<HashMap<SessionKey, Over>>,
    ends: Ends,
}

impl SharedStore {
    /// Sessions of `shared`, beside `local`, which is empty.
    pub fn new(shared: RedisStore, local: MemoryStore) -> Self {
        Self {
            shared,
            local,
            unsent: Mutex::default(),
            ends: Ends::default(),
        }
    }

    /// Sends what this replica has kept alone, ends first. To be called when the server is back.
    pub async fn send(&self) {
        if self.ends.tell(&self.shared).await.is_err() {
            return;
        }
        let waiting: Vec<_> = self.unsent().keys().copied().collect();
        for key in waiting {
            if self.send_one(key).await.is_err() {
                return;
            }
        }
    }

    async fn send_one(&self, key: SessionKey) -> Result<(), StoreError> {
        if self.ends.are_waiting() {
            self.ends.tell(&self.shared).await?;
        }
        let Some(over) = self.unsent().get(&key).copied() else {
            return Ok(());
        };
        if let Some(stored) = self.local.get(key) {
            self.shared.adopt(key, &stored, over).await?;
        }
        self.unsent().remove(&key);
        Ok(())
    }

    /// By what is known here, to be sent when the server is back.
    async fn advance_alone(
        &self,
        key: SessionKey,
        ripeness: Ripeness,
    ) -> Result<Option<Advance>, StoreError> {
        let found = self.local.advance(key, ripeness).await?;
        if found.as_ref().is_some_and(|advance| advance.moved) {
            self.wait(key, Over::Older);
        }
        Ok(found)
    }

    fn wait(&self, key: SessionKey, over: Over) {
        let mut unsent = self.unsent();
        if unsent.len() < MOST_UNSENT {
            unsent.entry(key).or_insert(over);
        }
    }

    /// A panic elsewhere leaves the map usable: every change to it is a single insertion or removal.
    fn unsent(&self) -> MutexGuard<'_, HashMap<SessionKey, Over>> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SessionStore for SharedStore {
    async fn open(&self, key: SessionKey, session: Session) -> Result<(), StoreError> {
        self.local.open(key, session.clone()).await?;
        if self.shared.open(key, session).await.is_err() {
            self.wait(key, Over::AnyOlder);
        }
        Ok(())
    }

    async fn advance(
        &self,
        key: SessionKey,
        ripeness: Ripeness,
    ) -> Result<Option<Advance>, StoreError> {
        if self.shared.is_whole() && self.send_one(key).await.is_err() {
            return self.advance_alone(key, ripeness).await;
        }
        let Ok(found) = self.shared.advance(key, ripeness).await else {
            return self.advance_alone(key, ripeness).await;
        };
        match &found {
            Some(advance) if advance.moved => self.local.follow(key, &advance.before),
            Some(_) => {}
            None => self.local.forget_one(key),
        }
        Ok(found)
    }

    async fn save(
        &self,
        key: SessionKey,
        session: Session,
        revision: u64,
    ) -> Result<bool, StoreError> {
        match self.shared.save(key, session.clone(), revision).await {
            Ok(true) => {
                let revision = revision + 1;
                self.local.put(key, Stored { session, revision });
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(_) => {
                let saved = self.local.save(key, session, revision).await?;
                if saved {
                    self.wait(key, Over::Older);
                }
                Ok(saved)
            }
        }
    }

    /// Fails while the server is gone: the sessions have ended here, and elsewhere they will when it is back.
    async fn end(&self, party: Party) -> Result<usize, StoreError> {
        let said = self.shared.tick();
        let here = self.local.end(party).await?;
        let ended = self.shared.end(party).await;
        if ended.is_err() {
            self.ends.keep(party, said);
        }
        ended.map(|ended| ended.max(here))
    }

    async fn live(&self) -> Result<usize, StoreError> {
        match self.shared.live().await {
            Ok(live) => Ok(live),
            Err(_) => self.local.live().await,
        }
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        self.local.sweep().await?;
        if self.shared.is_whole() {
            self.ends.tell(&self.shared).await?;
            self.shared.sweep().await?;
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.shared.is_whole()
    }
}
