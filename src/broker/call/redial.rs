//! Records relays and redeems their tickets: all connections of one ticket share the limits of one session.

use std::sync::Arc;
use std::time::Duration;

use super::terms::Terms;
use crate::broker::{BrokerError, Inner};
use crate::config::CallSettings;
use crate::domain::{
    Call, Caller, Dial, Kind, KnownTicket, Money, PersonaName, RELAY_USES, TicketRefusal,
};
use crate::records::CallQuery;

/// Attempts to find that the last relay of a ticket has ended.
const TRIES: usize = 5;
/// The wait before each of these attempts.
const PAUSE: Duration = Duration::from_millis(200);

impl Inner {
    /// Returns what earlier relays of the ticket have left of its limits. Fails when a limit is used up.
    pub(super) async fn rest(
        &self,
        ticket: &KnownTicket,
        limits: &CallSettings,
    ) -> Result<CallSettings, BrokerError> {
        let mut limits = limits.clone();
        if ticket.uses == 0 {
            return Ok(limits);
        }
        let query = CallQuery {
            account: None,
            ticket: Some(ticket.hash.clone()),
            skip: 0,
            most: RELAY_USES,
        };
        let earlier = self.parts.records.calls(query).await;
        let earlier = earlier.map_err(BrokerError::NotRead)?;
        let cost = earlier
            .iter()
            .fold(Money::ZERO, |sum, call| sum + call.used.cost);
        let turns = earlier.iter().map(|call| call.used.turns).sum();
        let time = ticket.expires_at.since(self.parts.clock.now());
        let left = limits.leave_rest(time, turns, cost);
        left.map_err(TicketRefusal::Spent)?;
        Ok(limits)
    }

    /// Records a relay, within what its ticket has left. Waits briefly for the end of the ticket's last relay: a client may
    /// connect again before that end is recorded. Reads what is left again when another client used the ticket first.
    pub(super) async fn write_relay_down(
        &self,
        caller: &Arc<Caller>,
        persona: &PersonaName,
        (ticket, terms): (Option<&KnownTicket>, &mut Terms),
    ) -> Result<Call, BrokerError> {
        let Some(ticket) = ticket else {
            let dial = self.to_dial(caller, terms, (None, None));
            return self.write_down((Kind::Call, persona), dial).await;
        };
        let usual = terms.settings.clone();
        let (mut ticket, mut tries) = (ticket.clone(), TRIES);
        loop {
            terms.settings = self.rest(&ticket, &usual).await?;
            let hash = ticket.hash.clone();
            let dial = Dial {
                uses: ticket.uses,
                ..self.to_dial(caller, terms, (None, Some(hash)))
            };
            let written = self.write_down((Kind::Redemption, persona), dial).await;
            let is_used = matches!(written, Err(BrokerError::Ticket(TicketRefusal::Used)));
            if tries == 0 || !is_used {
                return written;
            }
            tries -= 1;
            self.parts.clock.sleep(PAUSE).await;
            let found = self.parts.records.ticket(&ticket.hash).await;
            let found = found.map_err(BrokerError::NotRead)?;
            ticket = found.ok_or(TicketRefusal::Unknown)?.ticket;
        }
    }
}
