//! Entries, counters and sessions in memory, and the changes to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::session_row::SessionRow;
use super::state::{Known, State};
use super::{Advance, AdvanceError, Dated, Exceeded, RecordsError, ReserveError};
use crate::clock::Timestamp;
use crate::domain::{
    Account, EntryId, Intent, Kind, Month, Refusal, SessionChange, SessionKey, Settlement,
};

/// Everything that is remembered.
#[derive(Default)]
pub(super) struct Book {
    /// In the order in which they were made.
    pub(super) entries: BTreeMap<EntryId, Known>,
    pub(super) counters: HashMap<(Month, Account), u32>,
    pub(super) sessions: HashMap<SessionKey, SessionRow>,
    /// The time of the last mint of every session, by owner.
    idle: HashMap<Box<str>, BTreeSet<(u64, SessionKey)>>,
    /// The latest month of a reservation, and the one before it. Counters of earlier months are forgotten.
    month: Option<Month>,
    before: Option<Month>,
}

impl Book {
    pub(super) fn reserve(&mut self, intent: &Intent, capacity: usize) -> Result<(), ReserveError> {
        if self.entries.contains_key(&intent.id) {
            return Ok(());
        }
        self.make_room(capacity)?;
        if let Some(account) = &intent.account
            && intent.kind == Kind::Mint
        {
            let month = Month::of(intent.at);
            self.turn_to(month);
            let counter = self.counters.entry((month, account.clone())).or_default();
            match intent.quota.sessions_per_month {
                Some(limit) if *counter >= limit => {
                    let resets_at = month.end();
                    return Err(ReserveError::QuotaExceeded(Exceeded { limit, resets_at }));
                }
                _ => *counter += 1,
            }
        }
        self.entries.insert(intent.id, Known::pending(intent));
        Ok(())
    }

    pub(super) fn advance(
        &mut self,
        intent: &Intent,
        asked: &Advance,
        (now, capacity): (Timestamp, usize),
    ) -> Result<Dated, AdvanceError> {
        let key = intent.session;
        let row = self.sessions.get(&key).ok_or(AdvanceError::Unknown)?;
        if self.entries.contains_key(&intent.id) {
            let session = row.read().ok_or(AdvanceError::Unknown)?;
            return Ok(Dated { session, now });
        }
        let mut row = row.clone();
        let judge = |session: &_| asked.judge(session, now);
        let session = row
            .advance(intent.id, judge)
            .map_err(AdvanceError::Refused)?;
        self.reserve(intent, capacity)
            .map_err(|error| match error {
                ReserveError::Unavailable(error) => AdvanceError::Unavailable(error),
                ReserveError::QuotaExceeded(_) => AdvanceError::Refused(Refusal::Exhausted),
            })?;
        self.put(key, row);
        Ok(Dated { session, now })
    }

    /// Stores a session, in place of what is stored of it.
    fn put(&mut self, key: SessionKey, row: SessionRow) {
        self.drop_session(key);
        let place = (row.minted_at(), key);
        self.idle
            .entry(row.party.clone())
            .or_default()
            .insert(place);
        self.sessions.insert(key, row);
    }

    fn drop_session(&mut self, key: SessionKey) {
        let Some(row) = self.sessions.remove(&key) else {
            return;
        };
        if let Some(theirs) = self.idle.get_mut(&row.party) {
            theirs.remove(&(row.minted_at(), key));
            if theirs.is_empty() {
                self.idle.remove(&row.party);
            }
        }
    }

    /// Changes the session along with an outcome that was accepted.
    pub(super) fn change(&mut self, settlement: &Settlement, now: Timestamp) -> Option<Dated> {
        match &settlement.session {
            SessionChange::Keep => None,
            SessionChange::Open { key, session, most } => {
                let session = session.opened_at(now);
                let row = SessionRow::open(*key, &session, settlement.id);
                // The session that is idle longest gives way.
                while let Some(theirs) = self.idle.get(&row.party)
                    && theirs.len() >= (*most).max(1) as usize
                    && let Some((_, idlest)) = theirs.first().copied()
                {
                    self.drop_session(idlest);
                }
                self.put(*key, row);
                Some(Dated { session, now })
            }
            SessionChange::GiveBack(key) => {
                let mut row = self.sessions.get(key)?.clone();
                row.give_back(settlement.id).then(|| self.put(*key, row));
                None
            }
            SessionChange::Close(key) => {
                let is_theirs = self.sessions.get(key)?.is_of(settlement.id);
                is_theirs.then(|| self.drop_session(*key));
                None
            }
        }
    }

    pub(super) fn end(&mut self, owner: &str) -> u64 {
        let theirs = self.idle.get(owner).cloned().unwrap_or_default();
        for (_, key) in &theirs {
            self.drop_session(*key);
        }
        theirs.len() as u64
    }

    pub(super) fn sweep(&mut self, opened_before: Timestamp, most: usize) -> u64 {
        let ended = |row: &SessionRow| row.opened_at() < opened_before.as_millis();
        let gone = self.sessions.iter().filter(|(_, row)| ended(row));
        let gone: Vec<_> = gone.map(|(key, _)| *key).collect();
        for key in gone {
            self.drop_session(key);
        }
        let excess = self.sessions.len().saturating_sub(most);
        if excess > 0 {
            let mut idlest: Vec<_> = self.idle.values().flatten().copied().collect();
            idlest.sort_unstable();
            for (_, key) in idlest.into_iter().take(excess) {
                self.drop_session(key);
            }
        }
        // Not every time: all live sessions would move, and soon move back.
        if self.sessions.len() < self.sessions.capacity() / 4 {
            self.sessions.shrink_to_fit();
            self.idle.shrink_to_fit();
        }
        self.sessions.len() as u64
    }

    fn make_room(&mut self, capacity: usize) -> Result<(), RecordsError> {
        if self.entries.len() < capacity {
            return Ok(());
        }
        let mut old = self.entries.iter();
        let settled = old.find(|(_, known)| known.state != State::Pending);
        let id = settled.map(|(id, _)| *id).ok_or(RecordsError::Full)?;
        self.entries.remove(&id);
        Ok(())
    }

    /// Forgets the counters of months that no reservation needs any more. The map would grow month by month.
    fn turn_to(&mut self, month: Month) {
        if self.month.is_none_or(|latest| latest < month) {
            self.before = self.month.replace(month);
            let kept = self.before.unwrap_or(month);
            self.counters.retain(|(month, _), _| *month >= kept);
        }
    }

    /// Records an outcome. Returns whether it was accepted.
    pub(super) fn settle(&mut self, id: EntryId, next: State) -> bool {
        let Some(known) = self.entries.get_mut(&id) else {
            return false;
        };
        if !known.state.yields_to(next) {
            return false;
        }
        if let Some((month, account)) = known.counter()
            && !next.counts()
            && let Some(counter) = self.counters.get_mut(&(month, account.clone()))
        {
            *counter = counter.saturating_sub(1);
        }
        known.state = next;
        true
    }

    pub(super) fn remove(&mut self, most: usize, is_meant: impl Fn(&Known) -> bool) -> u64 {
        let meant = self.entries.iter().filter(|(_, known)| is_meant(known));
        let mut meant: Vec<_> = meant.map(|(id, known)| (known.at, *id)).collect();
        meant.sort_unstable();
        meant.truncate(most);
        for (_, id) in &meant {
            self.entries.remove(id);
        }
        meant.len() as u64
    }
}
