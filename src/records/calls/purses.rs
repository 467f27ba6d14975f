//! What was spent and what is held, by those who spend together.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::domain::{Account, Amount, Budgets, Call, Exhausted, Money, Party, Period, Purse};
use crate::records::book::Book;
use crate::records::entry::Entry;

/// A new call, or a call that needs more money.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) owner: Party,
    pub(super) account: Option<&'a Account>,
    pub(super) budgets: Budgets,
}

impl Asked<'_> {
    pub(super) const fn is_anonymous(&self) -> bool {
        matches!(self.owner, Party::Network(_))
    }
}

/// A purse. The party is present only when the purse is that of one identity.
pub(super) type Key = (Purse, Option<Party>);

pub(super) fn key(purse: Purse, owner: Party) -> Key {
    (purse, (purse == Purse::Owner).then_some(owner))
}

/// What is held for live calls, and what was spent in each period that has a limit.
#[derive(Clone, Debug, Default)]
pub(in crate::records) struct Purses {
    held: HashMap<Key, Amount>,
    spent: HashMap<(Key, Period), Amount>,
}

impl Purses {
    /// Notes what is held for calls.
    pub(super) fn note_held(&mut self, purse: Purse, owner: Party, amount: Amount) {
        self.held.insert(key(purse, owner), amount);
    }

    /// Notes what was spent in a period.
    pub(super) fn note_spent(
        &mut self,
        (purse, period): (Purse, Period),
        owner: Party,
        amount: Amount,
    ) {
        self.spent.insert((key(purse, owner), period), amount);
    }

    /// Adds what is held for one call, or was spent beyond its hold.
    pub(super) fn hold(&mut self, owner: Party, amount: Amount) {
        let own = match owner {
            Party::Identity(_) => Purse::Owner,
            Party::Network(_) => Purse::Anonymous,
        };
        for purse in [own, Purse::Everybody] {
            *self.held.entry(key(purse, owner)).or_default() += amount;
        }
    }

    /// Holds what the budgets grant of `want`. See [`Budgets::grant`].
    pub(super) fn grant(
        &mut self,
        asked: &Asked<'_>,
        want: Amount,
        now: Timestamp,
    ) -> Result<Amount, Exhausted> {
        let spent = |purse, period| {
            let key = key(purse, asked.owner);
            let held = self.held.get(&key).copied().unwrap_or_default();
            let spent = self.spent.get(&(key, period)).copied();
            held + spent.unwrap_or_default()
        };
        let granted = asked
            .budgets
            .grant(asked.is_anonymous(), (want, now), spent)?;
        self.hold(asked.owner, granted);
        Ok(granted)
    }
}

impl Book {
    /// Counts, for a book in memory, what was spent and what is held.
    pub(super) fn count_purses(&mut self, asked: &Asked<'_>, now: Timestamp) {
        let mut purses = Purses::default();
        for call in self.calls.values() {
            purses.hold(call.owner, call.still_held(now));
        }
        for (purse, period, _) in asked.budgets.limits(asked.is_anonymous()) {
            let start = period.start(now);
            let is_theirs = |entry: &&Entry| match purse {
                Purse::Owner => entry.account().as_ref() == asked.account,
                Purse::Anonymous => entry.account().is_none(),
                Purse::Everybody => true,
            };
            let entries = self.entries.values().filter(|entry| entry.at() >= start);
            let mut amount = Amount::default();
            for entry in entries.filter(is_theirs) {
                let used = entry.used.read();
                amount += Amount {
                    seconds: used.seconds,
                    money: used.cost,
                };
            }
            purses.note_spent((purse, period), asked.owner, amount);
        }
        self.purses = purses;
    }
}

/// The money that is to be held for a call before the call spends more.
#[derive(Clone, Copy, Debug)]
pub struct TopUp {
    /// The epoch of the replica that watches the call.
    pub epoch: u32,
    /// The money that is to be held in total.
    pub to: Money,
    /// The budgets that it is held against.
    pub budgets: Budgets,
}

impl TopUp {
    pub(super) fn asked<'a>(&self, call: &'a Call) -> Asked<'a> {
        Asked {
            owner: call.owner,
            account: call.account.as_ref(),
            budgets: self.budgets,
        }
    }
}
