//! Owns the record of use that lives and dies with the process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::reports::{self, Line};
use super::state::{Known, State};
use super::{Recent, Records, RecordsCondition, RecordsError, ReserveError, UsageQuery, UsageRow};
use crate::clock::Timestamp;
use crate::domain::{Account, EntryId, Intent, Kind, Month, Settlement};

/// Most entries that are remembered unless told otherwise.
pub const CAPACITY: usize = 100_000;

/// Entries in this process' memory. Beyond its capacity the oldest with an outcome are forgotten; the months' counts
/// stay exact.
pub struct MemoryRecords {
    book: Mutex<Book>,
    capacity: usize,
}

/// All that is remembered.
#[derive(Default)]
struct Book {
    /// In the order in which they were made.
    entries: BTreeMap<EntryId, Known>,
    counters: HashMap<(Month, Account), u32>,
    /// The latest month of a reservation: counters of the one before it are kept, earlier ones are not.
    month: Option<Month>,
    before: Option<Month>,
}

impl MemoryRecords {
    /// An empty one that remembers so many entries.
    pub fn new(capacity: usize) -> Self {
        Self {
            book: Mutex::default(),
            capacity,
        }
    }

    /// A panic elsewhere leaves the book usable: nothing between two changes of one command can panic.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryRecords {
    fn default() -> Self {
        Self::new(CAPACITY)
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
                    return Err(ReserveError::QuotaExceeded { limit, resets_at });
                }
                _ => *counter += 1,
            }
        }
        self.entries.insert(intent.id, Known::pending(intent));
        Ok(())
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

    /// Forgets what no reservation asks for any more: the map of counters would grow month by month.
    fn turn_to(&mut self, month: Month) {
        if self.month.is_none_or(|latest| latest < month) {
            self.before = self.month.replace(month);
            let kept = self.before.unwrap_or(month);
            self.counters.retain(|(month, _), _| *month >= kept);
        }
    }

    fn settle(&mut self, id: EntryId, next: State) {
        let Some(known) = self.entries.get_mut(&id) else {
            return;
        };
        if !known.state.yields_to(next) {
            return;
        }
        if let Some((month, account)) = known.counter()
            && !next.counts()
            && let Some(counter) = self.counters.get_mut(&(month, account.clone()))
        {
            *counter = counter.saturating_sub(1);
        }
        known.state = next;
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

    async fn settle(&self, settlement: Settlement) -> Result<(), RecordsError> {
        self.book()
            .settle(settlement.id, State::of(&settlement.outcome));
        Ok(())
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
    use std::time::Duration;

    use super::*;
    use crate::domain::{Network, Outcome, PersonaName, Quota, RequestId};

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
            session: "s".into(),
            request_id: RequestId::random(),
            quota: Quota {
                sessions_per_month: Some(limit),
            },
        }
    }

    #[tokio::test]
    async fn the_oldest_with_an_outcome_gives_way_and_the_count_stays_exact() {
        let ledger = MemoryRecords::new(3);
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
        };
        ledger.settle(settled).await.unwrap();
        let exceeded = ledger.reserve(intent(5, 4)).await;
        assert!(matches!(
            exceeded,
            Err(ReserveError::QuotaExceeded { limit: 4, .. })
        ));
    }
}
