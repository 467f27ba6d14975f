//! Shows calls to their owners and to operators, knows their tickets, and ends them when they ask for it.

use std::time::Duration;

use super::Listening;
use crate::broker::{Broker, BrokerError};
use crate::domain::{
    Account, Call, CallState, CallStep, Caller, ConnectMode, EndReason, KnownTicket, Network,
    Party, Ticket, TicketRefusal, UpstreamCallId,
};
use crate::records::{CallQuery, CallSums, DatedTicket, Turns};

/// How long after its end a call is shown to its ticket.
const TICKET_OUTLIVES: Duration = Duration::from_mins(1);
/// Most calls that are ended at a time.
const MOST: u32 = 1_000;

/// Which calls an operator means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// One call.
    One(UpstreamCallId),
    /// The calls of one account.
    Of(Account),
    /// All live calls.
    All,
}

impl Broker {
    /// Returns what the records know of the ticket that `caller` shows, if it opens `mode` there. A ticket that was used may
    /// be shown again in a repeated request.
    pub async fn ticket(
        &self,
        caller: &Caller,
        shown: &Ticket,
        mode: ConnectMode,
    ) -> Result<KnownTicket, BrokerError> {
        let sessions = &self.0.sessions;
        let found = sessions.ticket(&shown.hash(), caller.network()).await?;
        let DatedTicket { ticket, now } = found.ok_or(TicketRefusal::Unknown)?;
        ticket.admit(mode, caller.origin.as_ref())?;
        match ticket.is_open(now) {
            Err(TicketRefusal::Used) | Ok(()) => Ok(ticket),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Returns a call of `caller`: the one that its identity opened, or that its ticket belongs to.
    pub async fn call_of(
        &self,
        caller: &Caller,
        ticket: Option<&Ticket>,
        id: &UpstreamCallId,
    ) -> Result<Call, BrokerError> {
        let call = self.read(id, caller.network()).await?;
        let now = self.0.parts.clock.now();
        let is_theirs = |call: &Call| {
            let is_fresh = call
                .ended_at
                .is_none_or(|ended| now.since(ended) < TICKET_OUTLIVES);
            let shows_ticket = ticket
                .zip(call.ticket.as_ref())
                .is_some_and(|(shown, known)| shown.hash() == *known);
            let is_owner = matches!(call.owner, Party::Identity(_)) && call.owner == caller.party();
            is_owner || (shows_ticket && is_fresh)
        };
        call.filter(is_theirs).ok_or(BrokerError::UnknownCall)
    }

    /// Hangs a call of `caller` up. A call that is over stays so.
    pub async fn hang_up_call(
        &self,
        caller: &Caller,
        ticket: Option<&Ticket>,
        id: &UpstreamCallId,
    ) -> Result<(), BrokerError> {
        let call = self.call_of(caller, ticket, id).await?;
        if is_running(&call) {
            self.end_row(&call, EndReason::HungUp).await?;
        }
        Ok(())
    }

    /// Counts a page that listens to the events of `call`. A page that listens has joined.
    pub async fn listen(&self, call: &Call) -> Result<Listening, BrokerError> {
        let watches = &self.0.watches;
        let listening = watches.listen(call);
        let listening = listening.ok_or(BrokerError::TooManyCalls("events"))?;
        if call.joined_at.is_none() {
            self.0
                .change_call(call.entry, CallStep::Joined.by_anybody())
                .await;
            watches.wake(call.entry);
        }
        Ok(listening)
    }

    /// Returns the row of a call that a page listens to.
    pub async fn row(&self, listening: &Listening) -> Result<Option<Call>, BrokerError> {
        self.follow(&listening.call).await
    }

    /// Reads a call for somebody in `network` who asks about it. Few may do so at a time, so that they keep nobody else from the
    /// records, and strangers who ask for calls that are not theirs keep no owner from ending one.
    async fn read(
        &self,
        id: &UpstreamCallId,
        network: Network,
    ) -> Result<Option<Call>, BrokerError> {
        let reads = &self.0.watches.reads;
        self.read_in(reads, id, Some(network)).await
    }

    /// Reads a call for somebody who follows it, once a second. All of them keep no owner from ending a call.
    pub(super) async fn follow(&self, id: &UpstreamCallId) -> Result<Option<Call>, BrokerError> {
        self.read_in(&self.0.watches.follows, id, None).await
    }

    async fn read_in(
        &self,
        turns: &Turns,
        id: &UpstreamCallId,
        network: Option<Network>,
    ) -> Result<Option<Call>, BrokerError> {
        let parts = &self.0.parts;
        let _turn = turns.take(network, &*parts.clock).await?;
        let found = parts.records.call(id).await;
        found.map_err(BrokerError::NotRead)
    }

    /// Returns the calls of an account, or of everybody: those that run, those that are ending, and those that ended within the
    /// hour, of each the latest first. Leaves the first `skip` out, and returns `most` of the others.
    pub async fn calls(
        &self,
        account: Option<&Account>,
        (skip, most): (u32, u32),
    ) -> Result<Vec<Call>, BrokerError> {
        let query = CallQuery {
            account: account.cloned(),
            ticket: None,
            skip,
            most,
        };
        let found = self.0.parts.records.calls(query).await;
        found.map_err(BrokerError::NotRead)
    }

    /// Sums up the calls of everybody.
    pub async fn sum_up_calls(&self) -> Result<CallSums, BrokerError> {
        let summed = self.0.parts.records.sum_up_calls().await;
        summed.map_err(BrokerError::NotRead)
    }

    /// Ends live calls. Returns their number.
    pub async fn end_calls(&self, which: &Which, reason: EndReason) -> Result<u64, BrokerError> {
        let records = &self.0.parts.records;
        let account = match which {
            Which::One(id) => {
                let found = records.call(id).await.map_err(BrokerError::NotRead)?;
                let found: Vec<_> = found.into_iter().collect();
                return self.end_rows(&found, reason).await;
            }
            Which::Of(account) => Some(account.clone()),
            Which::All => None,
        };
        let mut number = 0;
        loop {
            let found = self.calls(account.as_ref(), (0, MOST)).await?;
            number += self.end_rows(&found, reason).await?;
            // Calls that run come first, so that more of them may follow a full page of them.
            if !found.iter().all(is_running) || found.len() < MOST as usize {
                return Ok(number);
            }
        }
    }

    /// Ends the live ones of `calls`. Returns their number.
    async fn end_rows(&self, calls: &[Call], reason: EndReason) -> Result<u64, BrokerError> {
        let live = calls.iter().filter(|call| is_running(call));
        let ended = live.map(|call| self.end_row(call, reason));
        let ended = futures_util::future::join_all(ended).await;
        let number = ended.len() as u64;
        ended.into_iter().collect::<Result<(), _>>()?;
        Ok(number)
    }

    async fn end_row(&self, call: &Call, reason: EndReason) -> Result<(), BrokerError> {
        let ended = if let Some(upstream) = &call.upstream {
            self.0.end_call((call.entry, None), upstream, reason).await
        } else {
            // The task that dials the call hangs it up as soon as the call has an id.
            let end = CallStep::End(reason).by_anybody();
            let changed = self.0.parts.records.change_call(call.entry, end);
            changed.await.map(drop)
        };
        ended.map_err(BrokerError::NotRecorded)
    }
}

/// True for a call whose end is not decided yet.
const fn is_running(call: &Call) -> bool {
    matches!(call.state, CallState::Dialling | CallState::Open)
}
