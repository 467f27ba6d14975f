//! Records that live and die with the process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::book::Book;
use super::reports::{self, Line};
use super::session_row::SessionRow;
use super::state::State;
use super::{
    Advance, AdvanceError, Dated, Recent, Records, RecordsCondition, RecordsError, ReserveError,
    UsageQuery, UsageRow,
};
use crate::clock::{Clock, Timestamp};
use crate::domain::{Account, Intent, Party, SafetyKey, SessionKey, Settlement};

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
    use crate::domain::{
        EntryId, Kind, Network, Outcome, PersonaName, Quota, RequestId, SessionChange, SessionId,
    };
    use crate::records::Exceeded;

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
