//! Owns the sessions of a replica among others: shared while the server answers, those it knows while it does not.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::backlog::Backlog;
use crate::clock::Tick;
use crate::domain::{Party, Ripeness, Session, SessionKey};
use crate::store::memory::MemoryStore;
use crate::store::redis::{Over, RedisStore};
use crate::store::{Advance, SessionStore, StoreError, Stored};

/// How much of what was heard last is listened to again: what was under way then may have ended since.
const AGAIN: Duration = Duration::from_secs(5);
/// Least time between two counts of the server: anybody may ask how the service is.
const COUNTED: Duration = Duration::from_secs(1);

/// Sessions on a server, and in memory those that were opened or refreshed here.
///
/// While the server is gone a replica goes by what it knows. What was opened, refreshed or ended meanwhile is told when the
/// server is back; a session that was ended on the server is not revived.
pub struct SharedStore {
    shared: RedisStore,
    local: MemoryStore,
    backlog: Mutex<Backlog>,
    /// When the ends that others have said were last heard.
    heard: Mutex<Option<Tick>>,
    /// When the server was last asked how many there are, and what it said.
    live: Mutex<Option<(Tick, usize)>>,
}

/// A panic elsewhere leaves what is locked usable: every change to it is a single insertion or removal.
fn lock<T>(locked: &Mutex<T>) -> MutexGuard<'_, T> {
    locked.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedStore {
    /// Sessions of `shared`, beside `local`, which is empty.
    pub fn new(shared: RedisStore, local: MemoryStore) -> Self {
        Self {
            shared,
            local,
            backlog: Mutex::default(),
            heard: Mutex::default(),
            live: Mutex::default(),
        }
    }

    /// Tells what this replica has done alone, and hears what others have ended. To be called when the server is back, and every
    /// few seconds: something may have been done alone while that was under way.
    pub async fn send(&self) {
        self.hear().await;
        let sessions = lock(&self.backlog).sessions();
        for key in sessions {
            if self.send_one(key).await.is_err() && !self.shared.is_whole() {
                return;
            }
        }
    }

    /// Says what has ended while nobody heard it. What the server is well enough to hear and refuses is not said again.
    async fn say_ends(&self) {
        let ends = lock(&self.backlog).ends();
        for (party, moment) in ends {
            if let Err(error) = self.shared.end_those_of(party, moment).await {
                if !RedisStore::was_refused(&error) {
                    return;
                }
                tracing::error!(
                    "Redis refused to end the sessions of somebody: others may live on; repeat the request (/sessions/end)"
                );
            }
            lock(&self.backlog).said(party, moment);
        }
    }

    /// Says what has ended while the server was gone, and ends here what others have ended. What has been
    /// heard stays ended, whatever becomes of the server.
    pub async fn hear(&self) {
        if self.shared.is_whole() {
            self.say_ends().await;
        }
        let now = self.local.tick();
        let heard = *lock(&self.heard);
        let lately = heard.map_or(self.shared.longest_age(), |heard| now.since(heard) + AGAIN);
        if let Ok((ends, are_all)) = self.shared.ends(lately).await {
            for (party, moment) in ends {
                self.local.end_those_of(party, moment);
            }
            if are_all {
                *lock(&self.heard) = Some(now);
            }
        }
    }

    /// The session is to be sent when the server is back.
    fn later(&self, key: SessionKey, over: Over) {
        let is_known = |key: &SessionKey| self.local.get(*key).is_some();
        lock(&self.backlog).send((key, over), is_known);
    }

    /// How many there were a moment ago; if that is long ago, this caller is to ask, and the next ones need not.
    fn counted(&self, now: Tick) -> Option<usize> {
        let mut live = lock(&self.live);
        let (asked, known) = (*live)?;
        if now.since(asked) < COUNTED {
            return Some(known);
        }
        *live = Some((now, known));
        None
    }

    async fn send_one(&self, key: SessionKey) -> Result<(), StoreError> {
        let Some(over) = lock(&self.backlog).over(key) else {
            return Ok(());
        };
        let known = self.local.get(key);
        if let Some(stored) = &known {
            self.shared.adopt(key, stored, over).await?;
        }
        // It may have moved on while it was being sent.
        if self.local.get(key) == known {
            lock(&self.backlog).sent(key);
        }
        Ok(())
    }

    /// By what is known here, to be told when the server is back. What is not known may be there: while that is merely in
    /// doubt, nobody is told that his session has ended.
    async fn advance_alone(
        &self,
        key: SessionKey,
        (ripeness, error): (Ripeness, StoreError),
    ) -> Result<Option<Advance>, StoreError> {
        let found = self.local.advance(key, ripeness).await?;
        match &found {
            Some(advance) if advance.moved => self.later(key, Over::Older),
            Some(_) => {}
            None if self.shared.is_gone() => {}
            None => return Err(error),
        }
        Ok(found)
    }
}

/// Why the server is not asked yet.
fn unsaid() -> StoreError {
    StoreError("Redis has not heard of all ends yet".into())
}

#[async_trait]
impl SessionStore for SharedStore {
    async fn open(&self, key: SessionKey, session: Session) -> Result<(), StoreError> {
        self.local.open(key, session.clone()).await?;
        if self.shared.open(key, session).await.is_err() {
            self.later(key, Over::AnyOlder);
        }
        Ok(())
    }

    async fn advance(
        &self,
        key: SessionKey,
        ripeness: Ripeness,
    ) -> Result<Option<Advance>, StoreError> {
        // It may be among those whose end the server is still to hear.
        if lock(&self.backlog).has_ends() {
            return self.advance_alone(key, (ripeness, unsaid())).await;
        }
        if self.shared.is_whole()
            && let Err(error) = self.send_one(key).await
        {
            return self.advance_alone(key, (ripeness, error)).await;
        }
        let found = match self.shared.advance(key, ripeness).await {
            Ok(found) => found,
            Err(error) => return self.advance_alone(key, (ripeness, error)).await,
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
                    self.later(key, Over::Older);
                }
                Ok(saved)
            }
        }
    }

    /// Fails while the server is gone: the sessions have ended here, and elsewhere when it is back.
    async fn end(&self, party: Party) -> Result<usize, StoreError> {
        let moment = self.local.tick();
        let everywhere = self.shared.end_those_of(party, moment).await;
        let here = self.local.end_those_of(party, moment).len();
        if let Err(error) = &everywhere
            && !RedisStore::was_refused(error)
        {
            lock(&self.backlog).say(party, moment);
        }
        everywhere.map(|ended| ended.max(here))
    }

    /// Of a moment ago.
    async fn live(&self) -> Result<usize, StoreError> {
        let now = self.local.tick();
        if let Some(known) = self.counted(now) {
            return Ok(known);
        }
        let known = match self.shared.live().await {
            Ok(live) => live,
            Err(_) => self.local.live().await?,
        };
        *lock(&self.live) = Some((now, known));
        Ok(known)
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        self.local.sweep().await?;
        if self.shared.is_whole() {
            self.shared.sweep().await?;
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.shared.is_whole()
    }
}
