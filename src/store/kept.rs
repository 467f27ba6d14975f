//! Owns sessions that rest in memory and are written down beside it, so that they survive a restart of the process.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for another machine on the real clock until its room takes a Clock"
)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::memory::MemoryStore;
use super::record::{self, Course};
use super::{Advance, SessionStore, Shelf, StoreError, Stored};
use crate::clock::{Clock, Tick, Timestamp, millis};
use crate::domain::{Party, Ripeness, Session, SessionKey, Shelved};

/// Most sessions that are written at once: mints wait for them.
const CHUNK: usize = 125;
/// Least time between two writings, and about what a process that is killed forgets.
const PACE: Duration = Duration::from_millis(100);
/// How often it is tried again after a failure.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Sessions in memory, which is the truth, and on a shelf, which follows it.
///
/// No request waits for the shelf, and none fails because of it: what has changed waits, by key, and is written as it
/// then stands. Only who ends sessions waits until they are gone from there too.
pub struct KeptStore {
    memory: MemoryStore,
    shelf: Arc<dyn Shelf>,
    clock: Arc<dyn Clock>,
    changes: Mutex<Changes>,
    news: Notify,
    /// One at a time, so that what is older is never written after what is newer.
    writing: tokio::sync::Mutex<()>,
    is_behind: AtomicBool,
}

/// What has changed and is not written down yet.
#[derive(Default)]
struct Changes {
    /// By key, the number of its last change.
    waiting: HashMap<SessionKey, u64>,
    last: u64,
    /// Most that wait.
    most: usize,
    /// The last writing has been: nothing waits any more.
    is_over: bool,
}

impl Changes {
    fn add(&mut self, key: SessionKey) {
        self.last += 1;
        self.waiting.insert(key, self.last);
    }
}

/// What was found on the shelf at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Go on.
    pub live: usize,
    /// Had ended meanwhile, or were more than may be; they are removed.
    pub ended: usize,
    /// Could not be read; they stay where they are.
    pub unreadable: u64,
}

impl KeptStore {
    /// Sessions of `memory`, which is empty, and of `shelf`: see [`KeptStore::load`].
    pub fn new(memory: MemoryStore, shelf: Arc<dyn Shelf>, clock: Arc<dyn Clock>) -> Self {
        let changes = Changes {
            // As many as there may be, and as many again that were there before.
            most: memory.bounds().total.saturating_mul(2),
            ..Changes::default()
        };
        Self {
            memory,
            shelf,
            clock,
            changes: Mutex::new(changes),
            news: Notify::new(),
            writing: tokio::sync::Mutex::default(),
            is_behind: AtomicBool::new(false),
        }
    }

    /// Takes up what the last run has left. Of too many the latest minted stay.
    pub async fn load(&self) -> Result<Loaded, StoreError> {
        let started = self.clock.tick();
        let mut load = Load::new(self);
        let unread = self.shelf.read(&mut |page| load.take(page)).await?;
        let (mut found, mut loaded) = (load.found, load.loaded);
        loaded.unreadable += unread;
        // Who comes later displaces who minted longest ago.
        found.sort_unstable_by_key(|(key, stored)| (stored.session.minted, *key));
        for (key, stored) in found {
            loaded.live += 1;
            let gone = self.memory.put(key, stored);
            loaded.live -= gone.len();
            loaded.ended += gone.len();
            self.note_found(gone);
        }
        if loaded.unreadable > 0 {
            let rows = loaded.unreadable;
            tracing::warn!(rows, "sessions could not be read: they are passed over");
        }
        tracing::info!(
            sessions = loaded.live,
            ended = loaded.ended,
            took_ms = millis(self.clock.tick().since(started)),
            "sessions of the last run go on"
        );
        Ok(loaded)
    }

    /// Writes changes down soon after they happen. Never returns.
    pub async fn keep(&self) {
        loop {
            self.news.notified().await;
            let written = self.write_down().await;
            if written.is_err() {
                self.news.notify_one();
            }
            sleep(written.map_or(TRY_AGAIN, |()| PACE)).await;
        }
    }

    /// Writes down what is left, for the last time.
    pub async fn close(&self) {
        let written = self.write_down().await;
        let mut changes = self.changes();
        changes.is_over = true;
        if written.is_err() {
            let sessions = changes.waiting.len();
            tracing::error!(
                sessions,
                "not written down: after the restart these stand as they last could be, or are gone"
            );
        }
    }

    /// Writes down what has changed until now.
    pub async fn write_down(&self) -> Result<(), StoreError> {
        let _alone = self.writing.lock().await;
        let due: Vec<_> = self
            .changes()
            .waiting
            .iter()
            .map(|(key, number)| (*key, *number))
            .collect();
        for some in due.chunks(CHUNK) {
            let (mut kept, mut gone) = (Vec::new(), Vec::new());
            for (key, _) in some {
                match self.memory.get(*key) {
                    Some(stored) => kept.extend(self.shelve(*key, &stored)),
                    None => gone.push(*key),
                }
            }
            let written = self.shelf.write(kept, gone).await;
            self.tell(written.as_ref().err());
            written?;
            let mut changes = self.changes();
            for (key, number) in some {
                // Unless it has changed again meanwhile.
                if changes.waiting.get(key) == Some(number) {
                    changes.waiting.remove(key);
                }
            }
        }
        Ok(())
    }

    /// One line when it begins to fail, and one when it no longer does.
    fn tell(&self, failure: Option<&StoreError>) {
        let was_behind = self.is_behind.swap(failure.is_some(), Ordering::SeqCst);
        match failure {
            Some(StoreError(cause)) if !was_behind => tracing::error!(
                %cause,
                "sessions cannot be written down: they go on, and changes wait"
            ),
            None if was_behind => tracing::info!("sessions are written down again"),
            _ => {}
        }
    }

    /// These have changed, or are gone. False: too many wait already, and it is not noted.
    fn note(&self, keys: impl IntoIterator<Item = SessionKey>) -> bool {
        let mut changes = self.changes();
        for key in keys {
            let is_full = changes.waiting.len() >= changes.most;
            if changes.is_over || is_full && !changes.waiting.contains_key(&key) {
                return false;
            }
            changes.add(key);
            self.news.notify_one();
        }
        true
    }

    /// The same for what stood on the shelf at the start: however many there are, they go.
    fn note_found(&self, keys: impl IntoIterator<Item = SessionKey>) {
        let mut changes = self.changes();
        for key in keys {
            changes.add(key);
            changes.most += 1;
        }
        self.news.notify_one();
    }

    /// A panic elsewhere leaves the map usable: every change to it is a single insertion or removal.
    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shelve(&self, key: SessionKey, stored: &Stored) -> Option<Shelved> {
        let (now, tick) = (self.clock.now(), self.clock.tick());
        let session = &stored.session;
        Some(Shelved {
            key,
            owner: session.owner,
            what: record::write(session)?.into(),
            revision: stored.revision,
            refreshes: session.refreshes,
            opened: now.minus(tick.since(session.opened)),
            minted: now.minus(tick.since(session.minted)),
        })
    }
}

/// What has been read from the shelf so far.
struct Load<'a> {
    store: &'a KeptStore,
    now: Timestamp,
    tick: Tick,
    found: Vec<(SessionKey, Stored)>,
    loaded: Loaded,
}

impl<'a> Load<'a> {
    fn new(store: &'a KeptStore) -> Self {
        Self {
            store,
            now: store.clock.now(),
            tick: store.clock.tick(),
            found: Vec::new(),
            loaded: Loaded::default(),
        }
    }

    fn take(&mut self, page: Vec<Shelved>) {
        for shelved in page {
            self.take_one(&shelved);
        }
        // The shelf may hold any number, memory may not.
        let most = self.store.memory.bounds().total;
        if self.found.len() >= most.saturating_mul(2) {
            let surplus = self.found.len() - most;
            self.found
                .sort_unstable_by_key(|(key, stored)| (stored.session.minted, *key));
            self.loaded.ended += surplus;
            self.store
                .note_found(self.found.drain(..surplus).map(|(key, _)| key));
        }
    }

    fn take_one(&mut self, shelved: &Shelved) {
        // Nothing is younger than just now, whatever was done to the clock.
        let age = self.now.since(shelved.opened);
        let idle = self.now.since(shelved.minted).min(age);
        let course = Course {
            opened: self.tick.minus(age),
            minted: self.tick.minus(idle),
            refreshes: shelved.refreshes,
        };
        let Some(session) = record::read(&shelved.what, shelved.owner, course) else {
            self.loaded.unreadable += 1;
            return;
        };
        let has_ended = session.has_ended(self.tick, self.store.memory.bounds().max_age);
        if has_ended || shelved.opened.max(shelved.minted) > self.now {
            // Removed, or dated anew: from a clock that ran ahead it would be young again after every restart.
            self.store.note_found([shelved.key]);
        }
        if has_ended {
            self.loaded.ended += 1;
            return;
        }
        let revision = shelved.revision;
        self.found.push((shelved.key, Stored { session, revision }));
    }
}

#[async_trait]
impl SessionStore for KeptStore {
    async fn open(&self, key: SessionKey, session: Session) -> Result<(), StoreError> {
        let gone = self.memory.admit(key, session);
        self.note(gone.into_iter().chain([key]));
        Ok(())
    }

    async fn advance(
        &self,
        key: SessionKey,
        ripeness: Ripeness,
    ) -> Result<Option<Advance>, StoreError> {
        let found = self.memory.advance(key, ripeness).await?;
        if found.as_ref().is_some_and(|advance| advance.moved) {
            self.note([key]);
        }
        Ok(found)
    }

    async fn save(
        &self,
        key: SessionKey,
        session: Session,
        revision: u64,
    ) -> Result<bool, StoreError> {
        let saved = self.memory.save(key, session, revision).await?;
        if saved {
            self.note([key]);
        }
        Ok(saved)
    }

    /// Fails while they cannot be removed from the shelf: they have ended here, and after a restart they might not have.
    /// Asked again it waits again.
    async fn end(&self, party: Party) -> Result<usize, StoreError> {
        let gone = self.memory.end_those_of(party, self.memory.tick());
        let number = gone.len();
        // However much waits: what has ended is not asked for again.
        if !self.note(gone.iter().copied()) {
            if self.changes().is_over {
                return Err(StoreError("the service is shutting down".into()));
            }
            self.note_found(gone);
        }
        self.write_down().await.map(|()| number)
    }

    async fn live(&self) -> Result<usize, StoreError> {
        self.memory.live().await
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        self.note(self.memory.forget_ended());
        Ok(())
    }

    /// False while what changes here would be lost with the process.
    fn is_whole(&self) -> bool {
        !self.is_behind.load(Ordering::SeqCst)
    }
}
