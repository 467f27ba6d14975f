//! What commands do to calls in a book.

use std::collections::HashMap;
use std::collections::hash_map::Entry::Vacant;

use super::{CallBound, CallBounds, Dialled, Spending, TopUp, UsedRow};
use crate::clock::Timestamp;
use crate::domain::{
    Amount, Call, CallChange, CallState, CallStep, EndReason, EntryId, Kin, Money, Party,
    PersonaName, Settlement,
};
use crate::records::ReserveError;
use crate::records::book::{Book, Done};
use crate::records::entry::State;

/// The places that calls take.
#[derive(Clone, Debug, Default)]
pub(in crate::records) struct Taken {
    pub(super) owners: HashMap<Party, u64>,
    /// By persona, as far as somebody asks for them.
    pub(super) personas: HashMap<PersonaName, u64>,
    pub(super) anonymous: u64,
    pub(super) total: u64,
}

impl Taken {
    /// Counts the places that `calls` take at `now`.
    pub(super) fn of<'a>(calls: impl Iterator<Item = &'a Call>, now: Timestamp) -> Self {
        let mut taken = Self::default();
        for call in calls.filter(|call| call.takes_a_place(now)) {
            taken.add(call);
        }
        taken
    }

    fn add(&mut self, call: &Call) {
        *self.owners.entry(call.owner).or_default() += 1;
        *self.personas.entry(call.persona.clone()).or_default() += 1;
        self.anonymous += u64::from(call.is_anonymous());
        self.total += 1;
    }

    /// Returns the bound that has no place for another call of `owner`, which counts together with its `kin`.
    fn full(&self, owner: Party, bounds: CallBounds, kin: Option<&Kin>) -> Option<CallBound> {
        let of_owner = self.owners.get(&owner).copied().unwrap_or_default();
        let is_anonymous = matches!(owner, Party::Network(_));
        let full = [
            (CallBound::Owner, of_owner >= u64::from(bounds.owner)),
            (
                CallBound::Anonymous,
                is_anonymous && self.anonymous >= u64::from(bounds.anonymous),
            ),
            (CallBound::Total, self.total >= u64::from(bounds.total)),
            (CallBound::Kin, kin.is_some_and(|kin| self.is_full_of(kin))),
        ];
        let full = full.into_iter().find(|(_, is_full)| *is_full);
        full.map(|(bound, _)| bound)
    }

    fn is_full_of(&self, kin: &Kin) -> bool {
        let taken = kin.personas.iter().filter_map(|one| self.personas.get(one));
        taken.sum::<u64>() >= u64::from(kin.most)
    }
}

impl Book {
    /// Records and counts a use, and writes its call down, if everything has a place. An entry that is recorded already
    /// changes nothing.
    pub(in crate::records) fn open_call(
        &mut self,
        dialled: &Dialled,
        now: Timestamp,
    ) -> Result<Done, ReserveError> {
        let (intent, owner) = (&dialled.intent, dialled.dial.caller.crowd());
        if let Some(call) = self.calls.get(&intent.id) {
            return Ok(Done::of_calls(0, vec![call.clone()]));
        }
        if let Some(entry) = self.same(owner, dialled) {
            return Err(ReserveError::Repeated(entry));
        }
        let kin = dialled.dial.kin.as_ref();
        if let Some(bound) = self.taken.full(owner, dialled.bounds, kin) {
            return Err(ReserveError::TooManyCalls(bound));
        }
        let redeemed = self.redeemed(intent, &dialled.dial, now)?;
        let mut call = Call::dialled(intent, &dialled.dial, now);
        let purses = self.purses.clone();
        let granted = self.purses.grant(&dialled.asked(), dialled.dial.want, now);
        call.held = granted.map_err(ReserveError::Exhausted)?;
        let rows = match self.reserve(intent) {
            Ok(done) => done.rows,
            Err(error) => {
                self.purses = purses;
                return Err(error);
            }
        };
        self.taken.add(&call);
        self.calls.insert(call.entry, call.clone());
        let redeemed = redeemed.map(|ticket| (ticket.hash.clone(), ticket));
        self.tickets.extend(redeemed);
        Ok(Done::of_calls(rows, vec![call]))
    }

    /// Returns the call that its owner has asked for before, under the same `Idempotency-Key`.
    fn same(&self, owner: Party, dialled: &Dialled) -> Option<EntryId> {
        let key = dialled.dial.idempotency.as_ref()?;
        let mut calls = self.calls.values();
        let same = calls.find(|call| call.owner == owner && call.idempotency.as_ref() == Some(key));
        same.map(|call| call.entry)
    }

    /// Changes a call, if the call allows the change.
    pub(in crate::records) fn change_call(
        &mut self,
        entry: EntryId,
        change: &CallChange,
        now: Timestamp,
    ) -> Done {
        let known = self.calls.get(&entry);
        let changed = known.and_then(|known| known.apply(change, now));
        if let Some(call) = &changed {
            self.put_call(call.clone());
        }
        Done::of_calls(u64::from(changed.is_some()), changed.into_iter().collect())
    }

    /// Makes all changes of a call, and records the outcome of its entry, if both allow it. Otherwise nothing changes.
    pub(in crate::records) fn answer_call(
        &mut self,
        settlement: &Settlement,
        changes: &[CallChange],
        now: Timestamp,
    ) -> Done {
        let Some(known) = self.calls.get(&settlement.id).cloned() else {
            return Done::default();
        };
        let mut steps = changes.iter();
        let after = steps.try_fold(known.clone(), |call, change| call.apply(change, now));
        let Some(call) = after else {
            // An earlier attempt was committed although its answer was lost.
            let entry = self.entries.get(&settlement.id);
            let was_answered = known.state == CallState::Open
                && entry.is_some_and(|entry| entry.state == State::of(&settlement.outcome));
            return Done::of_calls(0, was_answered.then_some(known).into_iter().collect());
        };
        if self.settle(settlement, now).rows == 0 {
            return Done::default();
        }
        self.put_call(call.clone());
        Done::of_calls(1, vec![call])
    }

    /// Adds uses to a call, and then holds money for it. Only the first use of an id counts. Of an entry that was erased,
    /// nothing is counted any more.
    pub(in crate::records) fn spend_call(
        &mut self,
        entry: EntryId,
        spending: &Spending,
        now: Timestamp,
    ) -> Done {
        let Some(known) = self.calls.get(&entry).cloned() else {
            return Done::default();
        };
        let mut call = known.clone();
        if self.entries.contains_key(&entry) {
            for more in &spending.uses {
                if let Vacant(place) = self.uses.entry((entry, more.id.clone())) {
                    place.insert(Some(more.clone()));
                    call = call.with_use(more);
                }
            }
        }
        // What goes beyond the hold is spent before others get more.
        let freed = known.still_held(now).money - call.still_held(now).money;
        let beyond = Amount {
            seconds: 0,
            money: call.used.cost - known.used.cost - freed,
        };
        self.purses.hold(call.owner, beyond);
        if let Some(top_up) = &spending.top_up {
            call.held.money = self.hold(&call, top_up, now);
        }
        let is_changed = call != known;
        if is_changed {
            self.put_call(call.clone());
        }
        Done::of_calls(is_changed.into(), vec![call])
    }

    /// Returns the money that is held for a call: more than before if its budgets have it and the replica with that epoch
    /// watches the call.
    fn hold(&mut self, call: &Call, top_up: &TopUp, now: Timestamp) -> Money {
        let held = call.held.money;
        let is_theirs = top_up.epoch == call.epoch && call.state.is_live();
        // A top-up that was committed although its answer was lost is repeated.
        if !is_theirs || top_up.to <= held {
            return held;
        }
        // What the call used beyond its hold is spent already.
        let want = Amount {
            seconds: 0,
            money: (top_up.to - held.max(call.used.cost)).max(Money::ZERO),
        };
        let granted = self.purses.grant(&top_up.asked(call), want, now);
        granted.map_or(held, |_| top_up.to)
    }

    /// Stores a call, and its sums of use with its entry.
    fn put_call(&mut self, call: Call) {
        if let Some(entry) = self.entries.get_mut(&call.entry) {
            entry.used = UsedRow::new(&call.used);
        }
        self.calls.insert(call.entry, call);
    }

    /// Takes back the call of an entry that failed. A call that the provider knows has to be hung up.
    pub(in crate::records) fn take_back_call(&mut self, entry: EntryId, now: Timestamp) {
        let is_named = |call: &Call| call.upstream.is_some();
        let step = match self.calls.get(&entry) {
            Some(call) if is_named(call) => CallStep::Disown(EndReason::Provider),
            Some(_) | None => CallStep::Over(EndReason::Provider),
        };
        self.change_call(entry, &step.by_anybody(), now);
    }

    /// Removes the calls that were over before `before`, and those whose entry was erased.
    pub(in crate::records) fn forget_calls(&mut self, before: Timestamp) {
        let entries = &self.entries;
        self.calls.retain(|entry, call| match call.state {
            CallState::Ended => {
                entries.contains_key(entry) && call.ended_at.is_some_and(|ended| ended >= before)
            }
            CallState::Lost => call.deadline_at >= before,
            CallState::Dialling | CallState::Open | CallState::Ending => true,
        });
        self.uses
            .retain(|(entry, _), _| entries.contains_key(entry));
    }

    /// Owes a hang-up to all calls of `owner`, and takes the account's name out of them.
    pub(in crate::records) fn erase_calls(&mut self, owner: Party, now: Timestamp) {
        let change = CallStep::Disown(EndReason::LoggedOut).by_anybody();
        for call in self.calls.values_mut().filter(|call| call.owner == owner) {
            call.account = None;
            if let Some(ending) = call.apply(&change, now) {
                *call = ending;
            }
        }
    }
}
