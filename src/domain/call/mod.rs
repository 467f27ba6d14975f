//! Calls: whom a call belongs to, who watches it, and the only moves it can make.

mod change;
mod limits;
mod reason;
#[cfg(test)]
mod tests;
mod used;

use std::sync::Arc;
use std::time::Duration;

use super::{
    Account, Amount, Budgets, Caller, EntryId, Intent, Money, Network, Origin, Party, PersonaName,
    UpstreamCall,
};
use crate::clock::Timestamp;

pub use change::{CallChange, CallStep, LATE};
pub use limits::{CallLimits, Hold, LONGEST_CALL};
pub use reason::EndReason;
pub use used::{CallUse, Used};

/// The state of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallState {
    /// The offer is on its way. The provider may have created the call.
    Dialling,
    /// The caller has the answer.
    Open,
    /// A hang-up is owed.
    Ending,
    /// The upstream call is over.
    Ended,
    /// Nobody knows whether the provider has created the call.
    Lost,
}

impl CallState {
    /// Returns the word for it in events and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dialling => "dialling",
            Self::Open => "open",
            Self::Ending => "ending",
            Self::Ended => "ended",
            Self::Lost => "lost",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [
            Self::Dialling,
            Self::Open,
            Self::Ending,
            Self::Ended,
            Self::Lost,
        ];
        all.into_iter().find(|state| state.as_str() == word)
    }

    /// True while somebody has to watch the call.
    pub const fn is_live(self) -> bool {
        match self {
            Self::Dialling | Self::Open | Self::Ending => true,
            Self::Ended | Self::Lost => false,
        }
    }
}

/// One call. All its times are on the database's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The name of the call in the records: its entry.
    pub entry: EntryId,
    /// The call at the provider, once the provider has named it.
    pub upstream: Option<UpstreamCall>,
    /// The owner, to whom the call is counted: an identity, or a neighbourhood.
    pub owner: Party,
    /// The owner's account; `None` for a caller without identity.
    pub account: Option<Account>,
    /// The owner's verified role.
    pub role: Option<Box<str>>,
    /// The persona.
    pub persona: PersonaName,
    /// The wide network around the caller's address.
    pub neighbourhood: Network,
    /// The page's origin.
    pub origin: Option<Origin>,
    /// The hash of the caller's `Idempotency-Key`.
    pub idempotency: Option<Box<str>>,
    /// The hash of the ticket that opened the call, or that the caller got with the answer.
    pub ticket: Option<Box<str>>,
    /// The state.
    pub state: CallState,
    /// The time at which the call was written down.
    pub dialled_at: Timestamp,
    /// The time at which the caller got the answer.
    pub opened_at: Option<Timestamp>,
    /// The time of the page's first sign of life.
    pub joined_at: Option<Timestamp>,
    /// The time at which the call has to end. While the call is dialled: at which it is given up. Of a lost call: until
    /// when its place is taken.
    pub deadline_at: Timestamp,
    /// True once the page was warned of the end.
    pub is_warned: bool,
    /// The time at which the end was decided.
    pub ending_at: Option<Timestamp>,
    /// The time at which the upstream call was over.
    pub ended_at: Option<Timestamp>,
    /// The first reason for the end.
    pub end_reason: Option<EndReason>,
    /// The hang-ups that the provider did not confirm.
    pub hang_up_attempts: u32,
    /// The time at which the next hang-up is due. `None` when none is owed, or there is no id yet to hang up.
    pub hang_up_due: Option<Timestamp>,
    /// The replica that watches the call, as long as the replica renews its lease.
    pub replica: Box<str>,
    /// The number of replicas that watched the call before.
    pub epoch: u32,
    /// Of a call that was just claimed from another replica: the last time at which that replica was known to watch it.
    pub watched_until: Option<Timestamp>,
    /// What is held for the call. What the call used is part of the hold while the call runs.
    pub held: Amount,
    /// The sums of use.
    pub used: Used,
    /// Grows with every change that a page may see.
    pub revision: u64,
}

/// A call that is about to be dialled: what differs from call to call.
#[derive(Clone, Debug)]
pub struct Dial {
    /// The caller.
    pub caller: Arc<Caller>,
    /// The hash of the caller's `Idempotency-Key`.
    pub idempotency: Option<Box<str>>,
    /// The hash of the ticket that opens the call, or that the caller gets with the answer.
    pub ticket: Option<Box<str>>,
    /// How often the ticket that opens the call had been redeemed when the limits of the call were reckoned.
    pub uses: u32,
    /// The replica that watches the call.
    pub replica: Box<str>,
    /// The time after which the call is given up, unless it was opened.
    pub gives_up: Duration,
    /// The time and money that are to be held for the call.
    pub want: Amount,
    /// The budgets that hold for the call.
    pub budgets: Budgets,
    /// The group of calls of which the provider limits the number at once; `None` for a call without such a limit.
    pub kin: Option<Kin>,
}

/// Calls that count together, by their personas: those of one GPT-Live model.
#[derive(Clone, Debug)]
pub struct Kin {
    /// The personas.
    pub personas: Box<[PersonaName]>,
    /// Most live calls.
    pub most: u32,
}

impl Call {
    /// Returns the call of `intent` that is dialled at `now`.
    pub fn dialled(intent: &Intent, dial: &Dial, now: Timestamp) -> Self {
        let caller = &dial.caller;
        Self {
            entry: intent.id,
            upstream: None,
            owner: caller.crowd(),
            account: intent.account.clone(),
            role: intent.role.clone(),
            persona: intent.persona.clone(),
            neighbourhood: caller.neighbourhood(),
            origin: caller.origin.clone(),
            idempotency: dial.idempotency.clone(),
            ticket: dial.ticket.clone(),
            state: CallState::Dialling,
            dialled_at: now,
            opened_at: None,
            joined_at: None,
            deadline_at: now.plus(dial.gives_up),
            is_warned: false,
            ending_at: None,
            ended_at: None,
            end_reason: None,
            hang_up_attempts: 0,
            hang_up_due: None,
            replica: dial.replica.clone(),
            epoch: 0,
            watched_until: None,
            held: dial.want,
            used: Used::default(),
            revision: 0,
        }
    }

    /// True while the call takes a place among the calls of its owner, and of everybody.
    pub fn takes_a_place(&self, now: Timestamp) -> bool {
        self.state.is_live() || (self.state == CallState::Lost && now < self.deadline_at)
    }

    /// Returns what is held for the call at `now`, beyond what the call used already.
    pub fn still_held(&self, now: Timestamp) -> Amount {
        if !self.takes_a_place(now) {
            return Amount::default();
        }
        Amount {
            seconds: self.held.seconds,
            money: (self.held.money - self.used.cost).max(Money::ZERO),
        }
    }

    /// True when nobody verified owns the call.
    pub const fn is_anonymous(&self) -> bool {
        matches!(self.owner, Party::Network(_))
    }

    /// Returns the seconds that are left at `now`, rounded up; zero for a call that is not open.
    pub fn seconds_left(&self, now: Timestamp) -> u64 {
        match self.state {
            CallState::Open => crate::clock::seconds_up(self.deadline_at.since(now)),
            CallState::Dialling | CallState::Ending | CallState::Ended | CallState::Lost => 0,
        }
    }
}
