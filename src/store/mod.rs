//! Owns the contract of session stores: where sessions rest between refreshes.

pub mod kept;
pub mod memory;
mod record;
pub mod redis;
pub mod shared;

use async_trait::async_trait;

use crate::domain::{Party, Ripeness, Session, SessionKey, Shelved};

/// A session as it was read, with the revision to write it back over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The session.
    pub session: Session,
    /// Grows by one with every save.
    pub revision: u64,
}

/// A session that was asked to move on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// As it was found.
    pub before: Stored,
    /// True when it was ripe, and now stands as refreshed at the next revision.
    pub moved: bool,
}

/// A store that did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the session store did not answer")]
pub struct StoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where sessions are written down so that they survive the process: a foreign world.
///
/// * What is written over a later revision changes nothing; a removal always counts.
/// * `write` happens as a whole or not at all. It is safe to cancel and to repeat.
#[async_trait]
pub trait Shelf: Send + Sync {
    /// Gives all that is there to `take`, many at once. How many could not be read: they stay where they are.
    async fn read(&self, take: &mut (dyn FnMut(Vec<Shelved>) + Send)) -> Result<u64, StoreError>;

    /// Writes some down and removes others.
    async fn write(&self, kept: Vec<Shelved>, gone: Vec<SessionKey>) -> Result<(), StoreError>;
}

/// Where sessions rest.
///
/// * Not found is `None`, not an error; whether a session has ended is the session's own word, not the store's.
/// * The number of sessions is bounded, per party and in total: the one that minted longest ago gives way.
/// * Every method is safe to cancel: it has happened or it has not.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Adds a new session; others give way when there are too many.
    async fn open(&self, key: SessionKey, session: Session) -> Result<(), StoreError>;

    /// Reads a session and, when it is ripe, refreshes it in the same step: of two who ask at once, one moves it.
    async fn advance(
        &self,
        key: SessionKey,
        ripeness: Ripeness,
    ) -> Result<Option<Advance>, StoreError>;

    /// Replaces a session, only if it is still at `revision`. False: somebody has moved it since, or it is gone.
    async fn save(
        &self,
        key: SessionKey,
        session: Session,
        revision: u64,
    ) -> Result<bool, StoreError>;

    /// Ends all sessions of `party`; how many there were. When it fails, some that are out of reach may live on for a while.
    async fn end(&self, party: Party) -> Result<usize, StoreError>;

    /// How many sessions there are.
    async fn live(&self) -> Result<usize, StoreError>;

    /// Forgets sessions that have ended. Called once in a while, off the request path.
    async fn sweep(&self) -> Result<(), StoreError>;

    /// False while some sessions may be elsewhere, out of reach.
    fn is_whole(&self) -> bool;
}
