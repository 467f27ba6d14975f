//! Owns what a batch of commands changes: decided here, over what was read, and then written all at once.

use std::collections::{BTreeMap, HashMap};

use super::page::OutcomeRow;
use super::state::{Known, State, Sums};
use crate::clock::Timestamp;
use crate::domain::{Account, EntryId, Intent, Kind, Month, Settlement, day_of};

/// A counter's name: month, issuer and subject.
pub(super) type CounterKey = (Month, Account);

/// The name of a sum: the day and what it is summed up by.
pub(super) type SumKey = (String, Box<str>, Box<str>);

/// The quota has no place left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exceeded {
    pub(super) limit: u32,
    pub(super) resets_at: Timestamp,
}

/// What was read, as the commands so far have changed it, and the changes.
#[derive(Default)]
pub(super) struct Plan {
    known: HashMap<Box<str>, Known>,
    counters: HashMap<CounterKey, u64>,
    /// New entries: the place of their command in the batch, by id.
    pub(super) added: BTreeMap<Box<str>, usize>,
    pub(super) settled: BTreeMap<Box<str>, OutcomeRow>,
    pub(super) counted: BTreeMap<CounterKey, u64>,
    pub(super) daily: BTreeMap<SumKey, Sums>,
    pub(super) daily_accounts: BTreeMap<SumKey, Sums>,
}

impl Plan {
    /// Over these entries.
    pub(super) fn over(known: Vec<(Box<str>, Known)>) -> Self {
        Self {
            known: known.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Over these counters too.
    pub(super) fn read_counter(&mut self, key: CounterKey, sessions: u64) {
        self.counters.insert(key, sessions);
    }

    /// The counter in which the entry has a place.
    pub(super) fn counter_of(&self, id: EntryId) -> Option<CounterKey> {
        let (month, account) = self.known.get(&*id.to_string())?.counter()?;
        Some((month, account.clone()))
    }

    /// The entries that were read.
    pub(super) fn ids(&self) -> Vec<Box<str>> {
        self.known.keys().cloned().collect()
    }

    /// The command at `place` reserves.
    pub(super) fn reserve(&mut self, place: usize, intent: &Intent) -> Result<(), Exceeded> {
        let id = intent.id.to_string().into_boxed_str();
        if self.known.contains_key(&id) {
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
        let known = Known::pending(intent);
        self.add_sums(&known, known.sums());
        self.added.insert(id.clone(), place);
        self.known.insert(id, known);
        Ok(())
    }

    /// An outcome has become known.
    pub(super) fn settle(&mut self, settlement: &Settlement) {
        let id = settlement.id.to_string().into_boxed_str();
        let row = OutcomeRow::new(id.clone(), settlement);
        self.settle_row(id, row, State::of(&settlement.outcome));
    }

    /// Whoever made the entry is gone.
    pub(super) fn give_up(&mut self, id: Box<str>, now: Timestamp) {
        let row = OutcomeRow::given_up(id.clone(), now);
        self.settle_row(id, row, State::Uncertain);
    }

    fn settle_row(&mut self, id: Box<str>, row: OutcomeRow, next: State) {
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        if !known.state.yields_to(next) {
            return;
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
        let mut change = after.sums();
        change.add(before.sums().taken_back());
        self.add_sums(&after, change);
        let row = match self.settled.remove(&id) {
            Some(earlier) => row.after(earlier),
            None => row,
        };
        self.settled.insert(id, row);
    }

    /// The entry goes; its place in a counter stays.
    pub(super) fn remove(&mut self, known: &Known) {
        self.add_sums(known, known.sums().taken_back());
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
