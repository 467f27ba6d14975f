//! Entries, counters, sessions, tickets and calls, and what the commands of the paid path do to them. The memory records keep
//! all rows in one book. For a database, a book holds the rows of one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::calls::{Purses, Taken};
use super::entry::{CounterKey, ENDED, Entry, State};
use super::kept::Kept;
use super::{Advance, Dated, Exceeded, ReserveError, Settled};
use crate::clock::Timestamp;
use crate::domain::{
    Call, CallUse, EntryId, Intent, KnownTicket, Month, Party, SessionChange, SessionKey,
    Settlement,
};

/// The effect of a command.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The number of entries or other rows that were changed.
    pub(super) rows: u64,
    /// The session that was opened or refreshed.
    pub(super) session: Option<Dated>,
    /// True when what was minted must not be delivered: see [`Settled::Ended`].
    pub(super) is_ended: bool,
    /// The call that was opened or changed, or the calls that were claimed.
    pub(super) calls: Vec<Call>,
}

impl Done {
    fn new(rows: u64, session: Option<Dated>) -> Self {
        Self {
            rows,
            session,
            ..Self::default()
        }
    }

    pub(super) fn of_calls(rows: u64, calls: Vec<Call>) -> Self {
        Self {
            rows,
            calls,
            ..Self::default()
        }
    }

    /// Returns the result of a settlement.
    pub(super) fn settled(self) -> Settled {
        match self.session {
            _ if self.is_ended => Settled::Ended,
            Some(session) => Settled::Opened(session),
            None => Settled::Recorded,
        }
    }
}

/// Entries, counters, sessions, tickets and calls.
#[derive(Clone, Default)]
pub(super) struct Book {
    /// In the order in which they were made.
    pub(super) entries: BTreeMap<EntryId, Entry>,
    pub(super) counters: HashMap<CounterKey, u64>,
    pub(super) sessions: HashMap<SessionKey, Kept>,
    /// By their hash.
    pub(super) tickets: HashMap<Box<str>, KnownTicket>,
    pub(super) calls: HashMap<EntryId, Call>,
    /// The uses of calls that are counted, by entry and the provider's id; `None` for those that a database has.
    pub(super) uses: HashMap<(EntryId, Box<str>), Option<CallUse>>,
    /// The places that calls take: those at the start of the transaction, and those of calls that it has opened.
    pub(super) taken: Taken,
    /// What was spent and is held: at the start of the transaction, and by what it has granted.
    pub(super) purses: Purses,
    /// Every session by its owner and the time of its last mint.
    idle: BTreeSet<(Party, Timestamp, SessionKey)>,
}

impl Book {
    /// Records and counts a use, if the quota has a place. An entry that is recorded already changes nothing.
    pub(super) fn reserve(&mut self, intent: &Intent) -> Result<Done, ReserveError> {
        if self.entries.contains_key(&intent.id) {
            return Ok(Done::default());
        }
        let entry = Entry::pending(intent);
        if let Some(key) = entry.counter() {
            let resets_at = Month::of(intent.at).end();
            let counter = self.counters.entry(key).or_default();
            if let Some(limit) = intent.quota.sessions_per_month
                && *counter >= u64::from(limit)
            {
                return Err(ReserveError::QuotaExceeded(Exceeded { limit, resets_at }));
            }
            *counter += 1;
        }
        self.entries.insert(intent.id, entry);
        Ok(Done::new(1, None))
    }

    /// Records a refresh, and moves its session on, if the session allows it.
    pub(super) fn advance(
        &mut self,
        intent: &Intent,
        asked: &Advance,
        now: Timestamp,
    ) -> Result<Done, ReserveError> {
        let key = intent.session;
        let kept = self.sessions.get(&key).ok_or(ReserveError::Unknown)?;
        // An earlier attempt was committed although its answer was lost.
        if self.entries.contains_key(&intent.id) {
            let session = kept.session.clone();
            return Ok(Done::new(0, Some(Dated { session, now })));
        }
        let opening = kept.session.refresh(&asked.caller, now, &asked.rules);
        let kept = Kept {
            minted_before: kept.session.minted,
            entry: Some(intent.id),
            session: opening.map_err(ReserveError::Refused)?.session,
        };
        let (rows, session) = (self.reserve(intent)?.rows, kept.session.clone());
        self.put(key, kept);
        Ok(Done::new(rows, Some(Dated { session, now })))
    }

    /// Records an outcome, if it may replace what is known, and changes the session along with it.
    pub(super) fn settle(&mut self, settlement: &Settlement, now: Timestamp) -> Done {
        let next = State::of(&settlement.outcome);
        let known = self.entries.get_mut(&settlement.id);
        let Some(entry) = known.filter(|entry| entry.state.yields_to(next)) else {
            return self.settled_before(settlement, now);
        };
        let counter = entry.counter();
        // Keeps the code that says that the owner's sessions were ended, because the settlement may be repeated.
        entry.code.take_if(|code| **code != *ENDED);
        let is_ended = entry.code.is_some();
        entry.state = next;
        if !entry.counts()
            && let Some(counter) = counter.and_then(|key| self.counters.get_mut(&key))
        {
            *counter = counter.saturating_sub(1);
        }
        if next == State::Failed {
            self.take_back_call(settlement.id, now);
        }
        let is_refused = is_ended && matches!(settlement.session, SessionChange::Open { .. });
        let session = if is_refused {
            None
        } else {
            self.change(settlement, now)
        };
        if !is_ended {
            self.keep_ticket(settlement, now);
        }
        Done {
            is_ended,
            ..Done::new(1, session)
        }
    }

    /// Returns the result of an earlier attempt of the settlement, which was committed although its answer was lost. A session
    /// that was ended since then is gone, and so is an entry that was erased.
    fn settled_before(&self, settlement: &Settlement, now: Timestamp) -> Done {
        let entry = self.entries.get(&settlement.id);
        let was_settled = entry.is_some_and(|entry| {
            let is_ended = entry.code.as_deref() == Some(ENDED);
            entry.state == State::of(&settlement.outcome) && !is_ended
        });
        let opened = match &settlement.session {
            SessionChange::Open { key, .. } => Some(self.minted_by(settlement.id, key)),
            _ => None,
        };
        let is_ended = !was_settled || matches!(opened, Some(None));
        let session = opened.flatten().filter(|_| !is_ended);
        let session = session.map(|kept| kept.session.clone());
        Done {
            is_ended,
            ..Done::new(0, session.map(|session| Dated { session, now }))
        }
    }

    /// Changes the session along with an outcome that was accepted. Returns a session that was opened.
    fn change(&mut self, settlement: &Settlement, now: Timestamp) -> Option<Dated> {
        match &settlement.session {
            SessionChange::Keep => {}
            SessionChange::Open { key, session, most } => {
                let session = session.opened_at(now);
                self.evict(session.owner, *most);
                let kept = Kept {
                    session: session.clone(),
                    entry: Some(settlement.id),
                    minted_before: now,
                };
                self.put(*key, kept);
                return Some(Dated { session, now });
            }
            SessionChange::GiveBack(key) => {
                if let Some(mut kept) = self.minted_by(settlement.id, key).cloned() {
                    kept.entry = None;
                    kept.session.refreshes = kept.session.refreshes.saturating_sub(1);
                    kept.session.minted = kept.minted_before;
                    self.put(*key, kept);
                }
            }
            SessionChange::Close(key) => {
                if self.minted_by(settlement.id, key).is_some() {
                    self.drop_session(*key);
                }
            }
        }
        None
    }

    /// Returns the session, if `entry` made its last mint.
    fn minted_by(&self, entry: EntryId, key: &SessionKey) -> Option<&Kept> {
        let kept = self.sessions.get(key)?;
        (kept.entry == Some(entry)).then_some(kept)
    }

    /// Returns the sessions of `owner`, those that are idle longest first.
    fn sessions_of(&self, owner: Party) -> impl Iterator<Item = SessionKey> {
        let first = (owner, Timestamp::from_millis(0), SessionKey::LEAST);
        let theirs = self.idle.range(first..);
        let theirs = theirs.take_while(move |(party, ..)| *party == owner);
        theirs.map(|(.., key)| *key)
    }

    /// Ends the sessions of `owner` that are idle longest, until it has room for one more among `most`.
    fn evict(&mut self, owner: Party, most: u32) {
        let excess = (self.sessions_of(owner).count() + 1).saturating_sub(most.max(1) as usize);
        let idlest: Vec<_> = self.sessions_of(owner).take(excess).collect();
        for key in idlest {
            self.drop_session(key);
        }
    }

    /// Stores a session, in place of what is stored of it.
    pub(super) fn put(&mut self, key: SessionKey, kept: Kept) {
        self.drop_session(key);
        let (owner, minted) = (kept.session.owner, kept.session.minted);
        self.idle.insert((owner, minted, key));
        self.sessions.insert(key, kept);
    }

    fn drop_session(&mut self, key: SessionKey) {
        if let Some(Kept { session, .. }) = self.sessions.remove(&key) {
            self.idle.remove(&(session.owner, session.minted, key));
        }
    }

    /// Ends all sessions and tickets of `owner`. Returns the number of sessions.
    pub(super) fn end(&mut self, owner: Party) -> u64 {
        self.end_tickets(owner);
        let theirs: Vec<_> = self.sessions_of(owner).collect();
        for key in &theirs {
            self.drop_session(*key);
        }
        theirs.len() as u64
    }

    /// Removes sessions that were opened before a moment, and those idle longest beyond `most`. Returns the number of
    /// sessions that are left.
    pub(super) fn sweep(&mut self, opened_before: Timestamp, most: usize) -> u64 {
        let ended = |kept: &Kept| kept.session.opened < opened_before;
        let gone = self.sessions.iter().filter(|(_, kept)| ended(kept));
        let gone: Vec<_> = gone.map(|(key, _)| *key).collect();
        for key in gone {
            self.drop_session(key);
        }
        let excess = self.sessions.len().saturating_sub(most);
        if excess > 0 {
            let idle = self.idle.iter().map(|(_, minted, key)| (*minted, *key));
            let mut idlest: Vec<_> = idle.collect();
            idlest.sort_unstable();
            for (_, key) in idlest.into_iter().take(excess) {
                self.drop_session(key);
            }
        }
        // Not every time: all live sessions would move, and soon move back.
        if self.sessions.len() < self.sessions.capacity() / 4 {
            self.sessions.shrink_to_fit();
        }
        self.sessions.len() as u64
    }
}
