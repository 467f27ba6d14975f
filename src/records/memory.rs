//! Records that live and die with the process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::reports::{self, Line};
use super::sessions::SessionRow;
use super::state::{Known, State};
use super::{
    Advance, AdvanceError, Dated, Exceeded, Recent, Records, RecordsCondition, RecordsError,
    ReserveError, UsageQuery, UsageRow,
};
use crate::clock::{Clock, Timestamp};
use crate::domain::{
    Account, EntryId, Intent, Kind, Month, Party, Refusal, SafetyKey, SessionChange, SessionKey,
    Settlement,
};

/// Most entries that are remembered unless told otherwise.
pub const CAPACITY: usize = 100_000;

/// The shortest time between two moments of a timestamp.
const MILLISECOND: Duration = Duration::from_millis(1);

/// Records in this process' memory. Beyond the capacity the oldest entries with an outcome are forgotten. The counts of
/// the months stay exact.
pub struct MemoryRecords {
    book: Mutex<Book>,
    capacity: usize,
    clock: Arc<dyn Clock>,
    safety_key: SafetyKey,
}

/// Everything that is remembered.
#[derive(Default)]
struct Book {
    /// In the order in which they were made.
    entries: BTreeMap<EntryId, Known>,
    counters: HashMap<(Month, Account), u32>,
    sessions: HashMap<SessionKey, SessionRow>,
    /// The time of the last mint of every session, by owner.
    idle: HashMap<Box<str>, BTreeSet<(u64, SessionKey)>>,
    /// The latest month of a reservation, and the one before it. Counters of earlier months are forgotten.
    month: Option<Month>,
    before: Option<Month>,
}

impl MemoryRecords {
    /// Returns empty records that remember so many entries.
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            book: Mutex::default(),
            capacity,
            clock,
            safety_key: SafetyKey::random(),
        }
    }

    /// A panic elsewhere leaves the book usable: nothing between two changes of one command can panic.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn reserve(&mut self, intent: &Intent, capacity: usize) -> Result<(), ReserveError> {
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

    fn advance(
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
    fn change(&mut self, settlement: &Settlement, now: Timestamp) -> Option<Dated> {
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

    fn end(&mut self, owner: &str) -> u64 {
        let theirs = self.idle.get(owner).cloned().unwrap_or_default();
        for (_, key) in &theirs {
            self.drop_session(*key);
        }
        theirs.len() as u64
    }

    fn sweep(&mut self, opened_before: Timestamp, most: usize) -> u64 {
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
    fn settle(&mut self, id: EntryId, next: State) -> bool {
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

    fn remove(&mut self, most: usize, is_meant: impl Fn(&Known) -> bool) -> u64 {
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

#[async_trait]
impl Records for MemoryRecords {
    async fn reserve(&self, intent: Intent) -> Result<(), ReserveError> {
        self.book().reserve(&intent, self.capacity)
    }

    async fn advance(&self, intent: Intent, asked: Advance) -> Result<Dated, AdvanceError> {
        let bounds = (self.clock.now(), self.capacity);
        self.book().advance(&intent, &asked, bounds)
    }

    async fn settle(&self, settlement: Settlement) -> Result<Option<Dated>, RecordsError> {
        let (now, mut book) = (self.clock.now(), self.book());
        let is_accepted = book.settle(settlement.id, State::of(&settlement.outcome));
        let opened = is_accepted.then(|| book.change(&settlement, now));
        Ok(opened.flatten())
    }

    async fn session(&self, key: SessionKey) -> Result<Option<Dated>, RecordsError> {
        let (now, book) = (self.clock.now(), self.book());
        let session = book.sessions.get(&key).and_then(SessionRow::read);
        Ok(session.map(|session| Dated { session, now }))
    }

    async fn end_sessions(&self, owner: Party) -> Result<u64, RecordsError> {
        Ok(self.book().end(&owner.to_text()))
    }

    async fn sweep_sessions(&self, max_age: Duration, most: u64) -> Result<u64, RecordsError> {
        // A session has ended at its age, not after it.
        let opened_before = self.clock.now().minus(max_age).plus(MILLISECOND);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(self.book().sweep(opened_before, most))
    }

    async fn safety_key(&self) -> Result<SafetyKey, RecordsError> {
        Ok(self.safety_key.clone())
    }

    async fn give_up(&self, before: Timestamp) -> Result<u64, RecordsError> {
        let mut number = 0;
        for known in self.book().entries.values_mut() {
            if known.state == State::Pending && known.at < before {
                known.state = State::Uncertain;
                number += 1;
            }
        }
        Ok(number)
    }

    async fn recent(&self, since: Timestamp) -> Result<Vec<Recent>, RecordsError> {
        let book = self.book();
        let counted = book.entries.iter();
        let counted = counted.filter(|(_, known)| known.at >= since && known.state.counts());
        let mut counted: Vec<_> = counted.collect();
        counted.sort_unstable_by_key(|(id, known)| (known.at, **id));
        Ok(counted
            .into_iter()
            .map(|(_, known)| Recent {
                at: known.at,
                kind: known.kind,
                account: known.account.clone(),
            })
            .collect())
    }

    async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, RecordsError> {
        let book = self.book();
        let lines = book.entries.values().map(Line::of);
        Ok(reports::sum_up(lines, query))
    }

    async fn erase(&self, account: &Account) -> Result<u64, RecordsError> {
        let mut book = self.book();
        book.end(&Party::Identity(account.key()).to_text());
        book.counters.retain(|(_, other), _| other != account);
        Ok(book.remove(usize::MAX, |known| known.account.as_ref() == Some(account)))
    }

    async fn forget(&self, before: Timestamp) -> Result<u64, RecordsError> {
        Ok(self.book().remove(1000, |known| known.at < before))
    }

    fn condition(&self) -> RecordsCondition {
        RecordsCondition::Operational
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::domain::{Network, Outcome, PersonaName, Quota, RequestId, SessionId};

    fn intent(at: u64, limit: u32) -> Intent {
        let at = Timestamp::from_seconds(1_795_341_600 + at);
        Intent {
            id: EntryId::new(at),
            at,
            kind: Kind::Mint,
            account: Some(Account {
                issuer: "https://id".into(),
                subject: "ana".into(),
            }),
            role: None,
            persona: PersonaName::parse("default").unwrap(),
            network: Network::around([203, 0, 113, 7].into()),
            origin: None,
            session: SessionKey::of(&SessionId::random()),
            request_id: RequestId::random(),
            quota: Quota {
                sessions_per_month: Some(limit),
            },
        }
    }

    #[tokio::test]
    async fn the_oldest_entry_with_an_outcome_is_forgotten_and_the_count_stays_exact() {
        let ledger = MemoryRecords::new(3, Arc::new(ManualClock::at(Timestamp::from_seconds(0))));
        let intents: Vec<_> = (0..4).map(|at| intent(at, 4)).collect();
        for intent in &intents[..3] {
            ledger.reserve(intent.clone()).await.unwrap();
        }
        let full = ledger.reserve(intents[3].clone()).await;
        assert!(matches!(
            full,
            Err(ReserveError::Unavailable(RecordsError::Full))
        ));
        let settlement = Settlement {
            id: intents[1].id,
            at: intents[1].at,
            took: Duration::ZERO,
            outcome: Outcome::Undelivered,
            session: SessionChange::Keep,
        };
        ledger.settle(settlement).await.unwrap();
        ledger.reserve(intents[3].clone()).await.unwrap();
        let recent = ledger.recent(Timestamp::from_millis(0)).await.unwrap();
        let seen: Vec<_> = recent.iter().map(|recent| recent.at).collect();
        assert_eq!(seen, [intents[0].at, intents[2].at, intents[3].at]);
        let settled = Settlement {
            id: intents[0].id,
            at: intents[0].at,
            took: Duration::ZERO,
            outcome: Outcome::Undelivered,
            session: SessionChange::Keep,
        };
        ledger.settle(settled).await.unwrap();
        let exceeded = ledger.reserve(intent(5, 4)).await;
        assert!(matches!(
            exceeded,
            Err(ReserveError::QuotaExceeded(Exceeded { limit: 4, .. }))
        ));
    }
}
