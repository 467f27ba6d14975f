//! The cache of live sessions in front of the database. Judges a refresh before the database is read, and bounds look-ups of
//! tickets and of sessions that are not in the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use quick_cache::sync::Cache;

use super::{Dated, DatedTicket, Records, RecordsError, Turns};
use crate::clock::{Clock, Tick};
use crate::domain::{
    Caller, ConnectMode, Network, Opening, Party, RefreshRules, Refusal, SessionKey,
};

/// Most look-ups at once. Bounds what unknown session ids cost the database.
const LOOK_UPS: usize = 64;
/// How long a used ticket is remembered, so that a caller who sends it in a loop costs the database nothing.
const USED_FOR: Duration = Duration::from_secs(30);
/// Most used tickets that are remembered.
const USED_CAPACITY: usize = 10_000;

/// Why a session was not found.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// There is no such session.
    #[error("there is no such session")]
    Unknown,
    /// The session may not be refreshed.
    #[error(transparent)]
    Refused(Refusal),
    /// Too many look-ups are waiting.
    #[error("too many sessions are being looked up")]
    Crowded,
    /// The database did not answer.
    #[error(transparent)]
    Unavailable(#[from] RecordsError),
}

/// Live sessions, by key. The cache refuses only what can never become untrue; the database decides everything else.
pub struct Sessions {
    records: Arc<dyn Records>,
    clock: Arc<dyn Clock>,
    /// Sessions as they were last read or written, and when that was.
    known: DashMap<SessionKey, (Dated, Tick)>,
    capacity: usize,
    /// Tickets of calls that were found used, and when. A used ticket never opens anything again.
    used: Cache<Box<str>, (DatedTicket, Tick)>,
    turns: Turns,
    /// The number of live sessions when the database was last swept, and of those opened here since.
    live: AtomicU64,
}

impl Sessions {
    /// Returns an empty cache in front of `records` for at most `capacity` sessions.
    pub fn new(records: Arc<dyn Records>, clock: Arc<dyn Clock>, capacity: usize) -> Self {
        Self {
            records,
            clock,
            known: DashMap::new(),
            capacity,
            used: Cache::new(USED_CAPACITY),
            turns: Turns::new(LOOK_UPS),
            live: AtomicU64::new(0),
        }
    }

    /// Judges whether `caller` may refresh the session of `key`. A refusal that may have become untrue elsewhere is
    /// confirmed by the session's row.
    pub async fn judge(
        &self,
        key: SessionKey,
        caller: &Caller,
        rules: &RefreshRules,
    ) -> Result<Opening, LookUpError> {
        let known = self.known.get(&key).map(|known| {
            let (Dated { session, now }, tick) = &*known;
            let now = now.plus(self.clock.tick().since(*tick));
            session.refresh(caller, now, rules)
        });
        match known {
            Some(Ok(opening)) => return Ok(opening),
            Some(Err(refusal)) if refusal.is_final() => return Err(LookUpError::Refused(refusal)),
            Some(Err(_)) | None => {}
        }
        let Some(found) = self.look_up(key, caller.network()).await? else {
            self.forget(key);
            return Err(LookUpError::Unknown);
        };
        let judged = found.session.refresh(caller, found.now, rules);
        self.learn(key, found);
        judged.map_err(LookUpError::Refused)
    }

    /// Takes in a session as the database has it.
    pub fn learn(&self, key: SessionKey, found: Dated) {
        let is_full = self.known.len() >= self.capacity;
        if is_full && !self.known.contains_key(&key) {
            return;
        }
        self.known.insert(key, (found, self.clock.tick()));
    }

    /// Takes in a session that was opened.
    pub fn opened(&self, key: SessionKey, found: Dated) {
        self.live.fetch_add(1, Ordering::Relaxed);
        self.learn(key, found);
    }

    /// Drops a session that is gone from the database.
    pub fn forget(&self, key: SessionKey) {
        self.known.remove(&key);
    }

    /// Drops the sessions of `owner` from memory. The database has ended `number` of them.
    pub fn ended(&self, owner: Party, number: u64) {
        self.known
            .retain(|_, (known, _)| known.session.owner != owner);
        let left = |live: u64| Some(live.saturating_sub(number));
        let order = Ordering::Relaxed;
        // The closure always gives a value.
        let _ = self.live.fetch_update(order, order, left);
    }

    /// Reads a ticket's row by its hash, once it is this network's turn.
    pub async fn ticket(
        &self,
        hash: &str,
        network: Network,
    ) -> Result<Option<DatedTicket>, LookUpError> {
        let now = self.clock.tick();
        let known = self.used.get(hash);
        if let Some((used, _)) = known.filter(|(_, since)| now.since(*since) < USED_FOR) {
            return Ok(Some(used));
        }
        let found = self.in_turn(network, self.records.ticket(hash)).await?;
        let is_used = |found: &&DatedTicket| {
            // The ticket of a relay is good for more than one connection.
            found.ticket.uses > 0 && found.ticket.mode == ConnectMode::Call
        };
        if let Some(used) = found.as_ref().filter(is_used) {
            self.used.insert(hash.into(), (used.clone(), now));
        }
        Ok(found)
    }

    /// Returns the number of live sessions: as of the last sweep, plus those that were opened here since.
    pub fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// Removes ended sessions from the database, those idle longest beyond `most`, and ended ones from the cache.
    pub async fn sweep(&self, max_age: Duration, most: u64) -> Result<(), RecordsError> {
        let tick = self.clock.tick();
        self.known.retain(|_, (known, read)| {
            let now = known.now.plus(tick.since(*read));
            !known.session.has_ended(now, max_age)
        });
        // Not every time: all live sessions would move, and soon move back.
        if self.known.len() < self.known.capacity() / 4 {
            self.known.shrink_to_fit();
        }
        let live = self.records.sweep_sessions(max_age, most).await?;
        self.live.store(live, Ordering::Relaxed);
        Ok(())
    }

    /// Reads a session's row, once it is this network's turn.
    async fn look_up(
        &self,
        key: SessionKey,
        network: Network,
    ) -> Result<Option<Dated>, LookUpError> {
        self.in_turn(network, self.records.session(key)).await
    }

    /// Looks something up, once it is this network's turn.
    async fn in_turn<T>(
        &self,
        network: Network,
        look_up: impl Future<Output = Result<T, RecordsError>> + Send,
    ) -> Result<T, LookUpError> {
        let turn = self.turns.take(Some(network), &*self.clock);
        let _turn = turn.await?;
        Ok(look_up.await?)
    }
}
