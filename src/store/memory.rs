//! Owns sessions that live and die with the process.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dashmap::DashMap;

use super::{Advance, SessionStore, StoreError, Stored};
use crate::clock::{Clock, Tick};
use crate::domain::{Party, Ripeness, Session, SessionKey};

/// How many sessions there may be, and how old they get.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most sessions of one identity, or of one network without.
    pub per_party: usize,
    /// Most sessions of all.
    pub total: usize,
    /// Age at which a session has ended and is forgotten.
    pub max_age: Duration,
}

/// Sessions in this process' memory.
pub struct MemoryStore {
    sessions: DashMap<SessionKey, Stored>,
    order: Mutex<Order>,
    bounds: Bounds,
    clock: Arc<dyn Clock>,
}

/// Who gives way next. Taken before any shard of `sessions`, never after.
#[derive(Default)]
struct Order {
    by_idleness: BTreeSet<(Tick, SessionKey)>,
    /// In order. A plain list: a party has few, and most have one.
    by_party: HashMap<Party, Vec<(Tick, SessionKey)>>,
}

impl Order {
    fn insert(&mut self, key: SessionKey, session: &Session) {
        let place = (session.minted, key);
        self.by_idleness.insert(place);
        let theirs = self
            .by_party
            .entry(session.owner)
            .or_insert_with(|| Vec::with_capacity(1));
        theirs.insert(theirs.partition_point(|other| *other < place), place);
    }

    fn remove(&mut self, key: SessionKey, session: &Session) {
        let place = (session.minted, key);
        self.by_idleness.remove(&place);
        if let Some(theirs) = self.by_party.get_mut(&session.owner) {
            theirs.retain(|other| *other != place);
            if theirs.is_empty() {
                self.by_party.remove(&session.owner);
            }
        }
    }

    /// The session that must give way before `party` may open another one.
    fn in_the_way(&self, party: Party, bounds: &Bounds) -> Option<SessionKey> {
        let theirs = self
            .by_party
            .get(&party)
            .filter(|theirs| theirs.len() >= bounds.per_party);
        let crowded = || (self.by_idleness.len() >= bounds.total).then(|| self.by_idleness.first());
        let place = theirs.map_or_else(|| crowded().flatten(), |theirs| theirs.first());
        place.map(|(_, key)| *key)
    }
}

impl Stored {
    fn replace(&mut self, order: &mut Order, key: SessionKey, session: Session) {
        order.remove(key, &self.session);
        order.insert(key, &session);
        self.session = session;
        self.revision += 1;
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new(bounds: Bounds, clock: Arc<dyn Clock>) -> Self {
        Self {
            sessions: DashMap::new(),
            order: Mutex::default(),
            bounds,
            clock,
        }
    }

    /// What time it is for these sessions.
    pub(super) fn tick(&self) -> Tick {
        self.clock.tick()
    }

    /// What is known of a session.
    pub(super) fn get(&self, key: SessionKey) -> Option<Stored> {
        self.sessions.get(&key).map(|stored| stored.clone())
    }

    /// Puts a session in the place of what is known of it, whatever its revision. Gives those that gave way.
    pub(super) fn put(&self, key: SessionKey, stored: Stored) -> Vec<SessionKey> {
        let mut order = self.order();
        self.forget(&mut order, key);
        self.add(&mut order, key, stored)
    }

    /// Adds a new session. Gives those that gave way.
    pub(super) fn admit(&self, key: SessionKey, session: Session) -> Vec<SessionKey> {
        let revision = 0;
        self.add(&mut self.order(), key, Stored { session, revision })
    }

    /// Forgets what has ended, and gives it.
    pub(super) fn forget_ended(&self) -> Vec<SessionKey> {
        let (now, max_age) = (self.clock.tick(), self.bounds.max_age);
        let ended = |stored: &Stored| stored.session.has_ended(now, max_age);
        let gone: Vec<_> = self
            .sessions
            .iter()
            .filter(|entry| ended(entry))
            .map(|entry| *entry.key())
            .collect();
        for key in &gone {
            let mut order = self.order();
            self.forget(&mut order, *key);
        }
        // Not every time: all that is live would move, and soon move back.
        if self.sessions.len() < self.sessions.capacity() / 4 {
            self.sessions.shrink_to_fit();
        }
        gone
    }

    /// How many there may be, and how old they get.
    pub(super) const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Knows a session as it stands once it was refreshed elsewhere.
    pub(super) fn follow(&self, key: SessionKey, before: &Stored) {
        let stored = Stored {
            session: before.session.refreshed(self.clock.tick()),
            revision: before.revision + 1,
        };
        self.put(key, stored);
    }

    /// Ends the sessions that `party` had at `moment`, and gives their keys.
    pub(super) fn end_those_of(&self, party: Party, moment: Tick) -> Vec<SessionKey> {
        let mut order = self.order();
        let theirs = order.by_party.get(&party).cloned().unwrap_or_default();
        let was_open = |key: &SessionKey| {
            let stored = self.sessions.get(key);
            stored.is_some_and(|stored| stored.session.opened <= moment)
        };
        let ended: Vec<_> = theirs
            .into_iter()
            .map(|(_, key)| key)
            .filter(was_open)
            .collect();
        for key in &ended {
            self.forget(&mut order, *key);
        }
        ended
    }

    /// Forgets one session.
    pub(super) fn forget_one(&self, key: SessionKey) {
        self.forget(&mut self.order(), key);
    }

    fn add(&self, order: &mut Order, key: SessionKey, stored: Stored) -> Vec<SessionKey> {
        let mut gone = Vec::new();
        while let Some(oldest) = order.in_the_way(stored.session.owner, &self.bounds) {
            self.forget(order, oldest);
            gone.push(oldest);
        }
        order.insert(key, &stored.session);
        self.sessions.insert(key, stored);
        gone
    }

    /// A panic elsewhere leaves the order usable: every change to it is a single insertion or removal.
    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, order: &mut Order, key: SessionKey) {
        if let Some((_, stored)) = self.sessions.remove(&key) {
            order.remove(key, &stored.session);
        }
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn open(&self, key: SessionKey, session: Session) -> Result<(), StoreError> {
        self.admit(key, session);
        Ok(())
    }

    async fn advance(
        &self,
        key: SessionKey,
        ripeness: Ripeness,
    ) -> Result<Option<Advance>, StoreError> {
        let mut order = self.order();
        let Some(mut stored) = self.sessions.get_mut(&key) else {
            return Ok(None);
        };
        let (before, now) = (stored.clone(), self.clock.tick());
        let moved = before.session.is_ripe(now, &ripeness);
        if moved {
            stored.replace(&mut order, key, before.session.refreshed(now));
        }
        Ok(Some(Advance { before, moved }))
    }

    async fn save(
        &self,
        key: SessionKey,
        session: Session,
        revision: u64,
    ) -> Result<bool, StoreError> {
        let mut order = self.order();
        let Some(mut stored) = self
            .sessions
            .get_mut(&key)
            .filter(|stored| stored.revision == revision)
        else {
            return Ok(false);
        };
        stored.replace(&mut order, key, session);
        Ok(true)
    }

    async fn end(&self, party: Party) -> Result<usize, StoreError> {
        Ok(self.end_those_of(party, self.clock.tick()).len())
    }

    async fn live(&self) -> Result<usize, StoreError> {
        Ok(self.order().by_idleness.len())
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        self.forget_ended();
        Ok(())
    }

    fn is_whole(&self) -> bool {
        true
    }
}
