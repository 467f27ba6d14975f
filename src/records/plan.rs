//! The changes of one batch of commands: decided here over the rows that were read, and then written all at once.

use std::collections::{BTreeMap, HashMap};

use super::Exceeded;
use super::measures::Sums;
use super::rows::OutcomeRow;
use super::state::{Known, State};
use crate::clock::Timestamp;
use crate::domain::{Account, EntryId, Intent, Kind, Month, Settlement, day_of};

/// The name of a counter: the month and the account.
pub(super) type CounterKey = (Month, Account);

/// The name of a sum: the day, and the two columns that it is summed up by.
pub(super) type SumKey = (String, Box<str>, Box<str>);

/// The rows that were read, as the commands so far have changed them, and the changes.
#[derive(Default)]
pub(super) struct Plan<'a> {
    known: HashMap<Box<str>, Known>,
    counters: HashMap<CounterKey, u64>,
    pub(super) added: BTreeMap<Box<str>, &'a Intent>,
    pub(super) settled: BTreeMap<Box<str>, OutcomeRow>,
    pub(super) counted: BTreeMap<CounterKey, u64>,
    pub(super) daily: BTreeMap<SumKey, Sums>,
    pub(super) daily_accounts: BTreeMap<SumKey, Sums>,
}

impl<'a> Plan<'a> {
    /// Returns a plan over these entries.
    pub(super) fn over(known: Vec<(Box<str>, Known)>) -> Self {
        Self {
            known: known.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Takes in a counter that was read.
    pub(super) fn read_counter(&mut self, key: CounterKey, sessions: u64) {
        self.counters.insert(key, sessions);
    }

    /// Returns the counter in which the entry has a place.
    pub(super) fn counter_of(&self, id: EntryId) -> Option<CounterKey> {
        let (month, account) = self.known.get(&*id.to_string())?.counter()?;
        Some((month, account.clone()))
    }

    /// True when the entry is recorded.
    pub(super) fn knows(&self, id: EntryId) -> bool {
        self.known.contains_key(&*id.to_string())
    }

    /// Returns the ids of the entries that were read.
    pub(super) fn ids(&self) -> Vec<Box<str>> {
        self.known.keys().cloned().collect()
    }

    /// Adds an entry, and counts it if the quota has a place. An entry that is recorded already changes nothing.
    pub(super) fn reserve(&mut self, intent: &'a Intent) -> Result<(), Exceeded> {
        if self.knows(intent.id) {
            return Ok(());
        }
        if let Some(account) = &intent.account
            && intent.kind == Kind::Mint
        {
            let month = Month::of(intent.at);
            let counter = self.counters.entry((month, account.clone())).or_default();
            if let Some(limit) = intent.quota.sessions_per_month
                && *counter >= u64::from(limit)
            {
                let resets_at = month.end();
                return Err(Exceeded { limit, resets_at });
            }
            *counter += 1;
            self.counted.insert((month, account.clone()), *counter);
        }
        let id = intent.id.to_string().into_boxed_str();
        let known = Known::pending(intent);
        self.add_sums(&known, Sums::of(&known));
        self.added.insert(id.clone(), intent);
        self.known.insert(id, known);
        Ok(())
    }

    /// Records an outcome. Returns whether it was accepted.
    pub(super) fn settle(&mut self, settlement: &Settlement) -> bool {
        let id = settlement.id.to_string().into_boxed_str();
        let row = OutcomeRow::new(id.clone(), settlement);
        self.settle_row(id, row, State::of(&settlement.outcome))
    }

    /// Records that the maker of the entry is gone.
    pub(super) fn give_up(&mut self, id: Box<str>, now: Timestamp) {
        let row = OutcomeRow::given_up(id.clone(), now);
        self.settle_row(id, row, State::Uncertain);
    }

    fn settle_row(&mut self, id: Box<str>, row: OutcomeRow, next: State) -> bool {
        let Some(known) = self.known.get_mut(&id) else {
            return false;
        };
        if !known.state.yields_to(next) {
            return false;
        }
        let before = known.clone();
        known.state = next;
        let after = known.clone();
        if let Some((month, account)) = before.counter()
            && after.counter().is_none()
        {
            let key = (month, account.clone());
            let counter = self.counters.entry(key.clone()).or_default();
            *counter = counter.saturating_sub(1);
            self.counted.insert(key, *counter);
        }
        let mut change = Sums::of(&after);
        change.add(Sums::of(&before).taken_back());
        self.add_sums(&after, change);
        let row = match self.settled.remove(&id) {
            Some(earlier) => row.after(earlier),
            None => row,
        };
        self.settled.insert(id, row);
        true
    }

    /// Takes an entry out of the sums. Its place in a counter stays.
    pub(super) fn remove(&mut self, known: &Known) {
        self.add_sums(known, Sums::of(known).taken_back());
    }

    fn add_sums(&mut self, known: &Known, change: Sums) {
        let day = day_of(known.at);
        let role = known.role.clone().unwrap_or_default();
        let by_role = (day.clone(), role, known.persona.clone());
        self.daily.entry(by_role).or_default().add(change);
        let account = known.account.as_ref();
        let part = |pick: fn(&Account) -> &str| account.map(pick).unwrap_or_default().into();
        let by_account = (
            day,
            part(|account| &account.issuer),
            part(|account| &account.subject),
        );
        self.daily_accounts
            .entry(by_account)
            .or_default()
            .add(change);
    }
}
