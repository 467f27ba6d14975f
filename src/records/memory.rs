//! Records in memory, which end with the process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use super::alerts::Raised;
use super::announcements::Announced;
use super::book::Book;
use super::calls::{KEPT, UsedRow};
use super::entry::{ENDED, Entry, LEFT_PENDING, State};
use super::{
    Advance, AlertTimes, Announcement, Dated, DatedTicket, HourCosts, Recent, Records,
    RecordsCondition, RecordsError, ReserveError, Settled, UsageQuery, UsageRow, reports,
};
use crate::clock::{Clock, Timestamp};
use crate::domain::{
    Account, CallUse, Intent, Month, Party, SafetyKey, SessionKey, Settlement, Used,
};

/// The shortest time between two moments of a timestamp.
const MILLISECOND: Duration = Duration::from_millis(1);

/// Records in this process' memory. Beyond the capacity the oldest entries with an outcome are forgotten. The counts of
/// the months stay exact.
pub struct MemoryRecords {
    pub(super) book: Mutex<Book>,
    raised: Mutex<Raised>,
    announced: Mutex<Announced>,
    /// When each replica last renewed its lease. In service there is one replica.
    pub(super) renewed: Mutex<HashMap<Box<str>, Timestamp>>,
    capacity: usize,
    pub(super) clock: Arc<dyn Clock>,
    safety_key: SafetyKey,
}

impl MemoryRecords {
    /// Returns empty records that remember up to `capacity` entries.
    pub fn new(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self {
            book: Mutex::default(),
            raised: Mutex::default(),
            announced: Mutex::default(),
            renewed: Mutex::default(),
            capacity,
            clock,
            safety_key: SafetyKey::random(),
        }
    }

    /// Adds a call of the past with all that it used, as if it had been recorded then.
    pub fn add_past(&self, intent: &Intent, seconds: u64, uses: Vec<CallUse>) {
        let (mut book, mut sums) = (self.book.lock(), Used::default());
        for more in uses {
            sums = sums.plus(&more);
            book.uses.insert((intent.id, more.id.clone()), Some(more));
        }
        let mut entry = Entry::pending(intent);
        entry.state = State::Minted;
        entry.used = UsedRow::new(&Used { seconds, ..sums });
        book.entries.insert(intent.id, entry);
    }

    /// Returns the book with a free place for the entry of `intent`. In a full book the oldest entry with an outcome is evicted.
    pub(super) fn room_for(&self, intent: &Intent) -> Result<MutexGuard<'_, Book>, RecordsError> {
        let mut book = self.book.lock();
        if book.entries.len() >= self.capacity && !book.entries.contains_key(&intent.id) {
            let mut old = book.entries.iter();
            let is_live = |id| book.calls.get(id).is_some_and(|call| call.state.is_live());
            let settled = old.find(|(id, entry)| entry.state != State::Pending && !is_live(id));
            let id = settled.map(|(id, _)| *id).ok_or(RecordsError::Full)?;
            book.entries.remove(&id);
        }
        Ok(book)
    }
}

/// Removes the oldest entries for which `is_meant` is true, at most `most` of them. Returns their number.
fn remove(book: &mut Book, most: usize, is_meant: impl Fn(&Entry) -> bool) -> u64 {
    let meant = book.entries.iter().filter(|(_, entry)| is_meant(entry));
    let mut meant: Vec<_> = meant.map(|(id, entry)| (entry.at(), *id)).collect();
    meant.sort_unstable();
    meant.truncate(most);
    for (_, id) in &meant {
        book.entries.remove(id);
    }
    meant.len() as u64
}

#[async_trait]
impl Records for MemoryRecords {
    async fn reserve(&self, intent: Intent) -> Result<(), ReserveError> {
        self.room_for(&intent)?.reserve(&intent).map(drop)
    }

    async fn advance(&self, intent: Intent, asked: Advance) -> Result<Dated, ReserveError> {
        let now = self.clock.now();
        let done = self.room_for(&intent)?.advance(&intent, &asked, now)?;
        done.session.ok_or(ReserveError::Unknown)
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled, RecordsError> {
        let now = self.clock.now();
        Ok(self.book.lock().settle(&settlement, now).settled())
    }

    async fn session(&self, key: SessionKey) -> Result<Option<Dated>, RecordsError> {
        let (now, book) = (self.clock.now(), self.book.lock());
        let session = book.sessions.get(&key).map(|kept| kept.session.clone());
        Ok(session.map(|session| Dated { session, now }))
    }

    async fn ticket(&self, hash: &str) -> Result<Option<DatedTicket>, RecordsError> {
        let (now, book) = (self.clock.now(), self.book.lock());
        let ticket = book.tickets.get(hash).cloned();
        Ok(ticket.map(|ticket| DatedTicket { ticket, now }))
    }

    async fn end_sessions(&self, owner: Party) -> Result<u64, RecordsError> {
        Ok(self.book.lock().end(owner))
    }

    async fn sweep_sessions(&self, max_age: Duration, most: u64) -> Result<u64, RecordsError> {
        // A session has ended at its age, not after it.
        let opened_before = self.clock.now().minus(max_age).plus(MILLISECOND);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(self.book.lock().sweep(opened_before, most))
    }

    async fn safety_key(&self) -> Result<SafetyKey, RecordsError> {
        Ok(self.safety_key.clone())
    }

    async fn give_up(&self, before: Timestamp, of: Option<&Account>) -> Result<u64, RecordsError> {
        let (mut number, mut book) = (0, self.book.lock());
        let code = of.map_or(LEFT_PENDING, |_| ENDED);
        let old = book.entries.values_mut();
        for entry in old.filter(|entry| entry.at() < before) {
            if of.is_some_and(|account| entry.account().as_ref() != Some(account)) {
                continue;
            }
            if entry.state == State::Pending {
                entry.state = State::Uncertain;
                number += 1;
            } else if entry.code.as_deref() != Some(LEFT_PENDING) {
                continue;
            }
            entry.code = Some(code.into());
        }
        Ok(number)
    }

    async fn recent(&self, since: Timestamp) -> Result<Vec<Recent>, RecordsError> {
        let book = self.book.lock();
        let entries = book.entries.values();
        let counted = entries.filter(|entry| entry.at() >= since && entry.counts());
        let mut recent: Vec<_> = counted.map(Entry::recent).collect();
        recent.sort_by_key(|recent| recent.at);
        Ok(recent)
    }

    async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, RecordsError> {
        Ok(reports::sum_up(&self.book.lock(), query))
    }

    async fn usage_of(
        &self,
        account: &Account,
        since: Timestamp,
    ) -> Result<Vec<UsageRow>, RecordsError> {
        Ok(reports::days_of(&self.book.lock(), account, since))
    }

    async fn erase(&self, account: &Account) -> Result<u64, RecordsError> {
        let mut book = self.book.lock();
        let owner = Party::Identity(account.key());
        book.end(owner);
        book.erase_calls(owner, self.clock.now());
        book.counters.retain(|key, _| !key.is_of(account));
        let is_meant = |entry: &Entry| entry.account().as_ref() == Some(account);
        Ok(remove(&mut book, usize::MAX, is_meant))
    }

    async fn forget(&self, before: Timestamp) -> Result<u64, RecordsError> {
        let (mut book, month) = (self.book.lock(), Month::of(before).to_string());
        book.counters.retain(|key, _| key.month >= month);
        let now = self.clock.now();
        self.announced.lock().forget(now);
        let long_ago = now.minus(KEPT);
        book.forget_calls(long_ago);
        book.tickets
            .retain(|_, ticket| ticket.expires_at >= long_ago);
        Ok(remove(&mut book, 1000, |entry| entry.at() < before))
    }

    async fn raise_alert(&self, name: &str, times: AlertTimes) -> Result<bool, RecordsError> {
        Ok(self.raised.lock().raise(name, times, self.clock.now()))
    }

    async fn end_alerts(&self) -> Result<Vec<String>, RecordsError> {
        Ok(self.raised.lock().end_over(self.clock.now()))
    }

    async fn hour_costs(&self, until: Timestamp) -> Result<Option<HourCosts>, RecordsError> {
        Ok(self.book.lock().costs_by_hour(until))
    }

    async fn announce(&self, new: Announcement) -> Result<bool, RecordsError> {
        Ok(self.announced.lock().write(&new, self.clock.now()))
    }

    async fn due_announcements(&self) -> Result<Vec<Announcement>, RecordsError> {
        Ok(self.announced.lock().take(self.clock.now()))
    }

    async fn judged(&self, webhook: &str, again: Option<Duration>) -> Result<(), RecordsError> {
        let again = again.map(|wait| self.clock.now().plus(wait));
        self.announced.lock().judge(webhook, again);
        Ok(())
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
                ..Quota::default()
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
            ticket: None,
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
            ticket: None,
        };
        ledger.settle(settled).await.unwrap();
        let exceeded = ledger.reserve(intent(5, 4)).await;
        assert!(matches!(
            exceeded,
            Err(ReserveError::QuotaExceeded(Exceeded { limit: 4, .. }))
        ));
    }
}
