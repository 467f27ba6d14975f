//! Shows calls to their owners and to operators, and ends them when they ask for it.

use std::time::Duration;

use super::Listening;
use crate::broker::{Broker, BrokerError};
use crate::domain::{
    Account, Call, CallState, CallStep, Caller, EndReason, Party, Ticket, UpstreamCallId,
};
use crate::records::CallQuery;

/// A ticket shows its call for so long after the end.
const TICKET_OUTLIVES: Duration = Duration::from_mins(1);
/// Most calls that are ended, or listed, at a time.
const MOST: u32 = 1_000;

/// Which calls an operator means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// One call.
    One(UpstreamCallId),
    /// Those of one account.
    Of(Account),
    /// All that are live.
    All,
}

impl Broker {
    /// Returns a call of `caller`: the one that its identity opened, or that its ticket belongs to.
    pub async fn call_of(
        &self,
        caller: &Caller,
        ticket: Option<&Ticket>,
        id: &UpstreamCallId,
    ) -> Result<Call, BrokerError> {
        let found = self.0.parts.records.call(id).await;
        let call = found.map_err(BrokerError::NotRead)?;
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
            self.end_row(&call, EndReason::HungUp).await;
        }
        Ok(())
    }

    /// Counts a page that listens to the events of `call`. A page that listens has joined.
    pub fn listen(&self, call: &Call) -> Result<Listening, BrokerError> {
        let listening = self.0.watches.listen(call);
        let listening = listening.ok_or(BrokerError::TooManyCalls("events"))?;
        self.0.watches.wake(call.entry);
        Ok(listening)
    }

    /// Returns the row of a call that a page listens to.
    pub async fn row(&self, listening: &Listening) -> Result<Option<Call>, BrokerError> {
        let found = self.0.parts.records.call(&listening.call).await;
        found.map_err(BrokerError::NotRead)
    }

    /// Returns the calls that are live, and those that ended a moment ago, the latest first.
    pub async fn calls(&self) -> Result<Vec<Call>, BrokerError> {
        let query = CallQuery {
            account: None,
            most: MOST,
        };
        let found = self.0.parts.records.calls(query).await;
        found.map_err(BrokerError::NotRead)
    }

    /// Ends live calls. Returns their number.
    pub async fn end_calls(&self, which: &Which, reason: EndReason) -> Result<u64, BrokerError> {
        let records = &self.0.parts.records;
        let found = match which {
            Which::One(id) => records
                .call(id)
                .await
                .map(|call| call.into_iter().collect()),
            Which::Of(account) => {
                let account = Some(account.clone());
                records
                    .calls(CallQuery {
                        account,
                        most: MOST,
                    })
                    .await
            }
            Which::All => {
                let query = CallQuery {
                    account: None,
                    most: MOST,
                };
                records.calls(query).await
            }
        };
        let found: Vec<Call> = found.map_err(BrokerError::NotRead)?;
        let live = found.iter().filter(|call| is_running(call));
        let ended = futures_util::future::join_all(live.map(|call| self.end_row(call, reason)));
        Ok(ended.await.len() as u64)
    }

    async fn end_row(&self, call: &Call, reason: EndReason) {
        if let Some(upstream) = &call.upstream {
            self.0.end_call(call.entry, upstream, reason).await;
        } else {
            // Whoever dials the call hangs it up as soon as it has an id.
            let end = CallStep::End(reason).by_anybody();
            self.0.change_call(call.entry, end).await;
        }
    }
}

/// True for a call whose end is not decided yet.
const fn is_running(call: &Call) -> bool {
    matches!(call.state, CallState::Dialling | CallState::Open)
}
