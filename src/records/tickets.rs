//! Tickets in the records: stored with the settlement of their mint, redeemed with the call that they open.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::book::Book;
use super::command::Paid;
use super::database::{Connection, Fault, page};
use super::statement::{NO_PAGE, Statement};
use super::{DatedTicket, ReserveError};
use crate::clock::Timestamp;
use crate::domain::{
    Account, ConnectMode, Dial, EntryId, Intent, Kind, KnownTicket, Language, Origin, Party,
    PersonaName, Settlement, TicketRefusal,
};

/// The columns of [`TicketRow`], with types.
const TICKET: &str = "ticket text, mode text, party text, issuer text, subject text, role text, name text, persona text, \
     language text, origin text, expires_at bigint, uses bigint, entry text";

/// The columns of [`TicketRow`] with the time at which it is looked up.
const FOUND: &str = "ticket, mode, party, issuer, subject, role, name, persona, language, origin, expires_at, uses, entry, now";

/// Lists the tickets on the page.
static READ: Statement = Statement::list(
    "ticket text",
    TICKET,
    "SELECT {columns} FROM tickets WHERE ticket IN (SELECT page.ticket FROM page) ORDER BY ticket FOR UPDATE",
);

/// Lists the ticket `$1`, and the time.
pub(super) static FIND: Statement = Statement::list(
    NO_PAGE,
    FOUND,
    "SELECT *, {now} AS now FROM tickets WHERE ticket = $1",
);

static WRITE: Statement = Statement::change(
    TICKET,
    "INSERT INTO tickets ({page}) SELECT {page} FROM page WHERE true ORDER BY 1 \
     ON CONFLICT (ticket) DO UPDATE SET uses = excluded.uses, entry = excluded.entry, expires_at = excluded.expires_at",
);

/// Ends all tickets of the owner `$1`.
pub(super) static END: Statement = Statement::change(
    NO_PAGE,
    "DELETE FROM tickets WHERE ticket IN \
     (SELECT ticket FROM tickets WHERE party = $1 ORDER BY ticket FOR UPDATE)",
);

/// Removes the `$3` oldest tickets that expired `$1` milliseconds ago.
pub(super) static FORGET: Statement = Statement::change(
    NO_PAGE,
    "DELETE FROM tickets WHERE ticket IN (SELECT ticket FROM tickets WHERE expires_at < {now} - $1 \
     ORDER BY expires_at LIMIT $3 FOR UPDATE SKIP LOCKED)",
);

/// Names a ticket.
#[derive(Serialize)]
struct KeyRow<'a> {
    ticket: &'a str,
}

/// A ticket as it is stored.
#[derive(Deserialize, Serialize)]
struct TicketRow {
    ticket: Box<str>,
    mode: Cow<'static, str>,
    party: Option<String>,
    issuer: Option<Box<str>>,
    subject: Option<Box<str>>,
    role: Option<Box<str>>,
    name: Option<Box<str>>,
    persona: Box<str>,
    language: Option<Box<str>>,
    origin: Option<Box<str>>,
    /// In milliseconds since the Unix epoch.
    expires_at: u64,
    uses: u32,
    entry: Option<String>,
}

/// A ticket as it is looked up, and the database's time.
#[derive(Deserialize)]
pub(super) struct FoundRow {
    #[serde(flatten)]
    row: TicketRow,
    now: u64,
}

impl FoundRow {
    /// Returns the ticket, or `None` when a later version of this program has written the row.
    pub(super) fn read(self) -> Option<DatedTicket> {
        let now = Timestamp::from_millis(self.now);
        let ticket = self.row.read()?;
        Some(DatedTicket { ticket, now })
    }
}

impl TicketRow {
    fn new(ticket: &KnownTicket) -> Self {
        let account = ticket.account.as_ref();
        Self {
            ticket: ticket.hash.clone(),
            mode: ticket.mode.as_str().into(),
            party: account.map(|account| Party::Identity(account.key()).to_text()),
            issuer: account.map(|account| (*account.issuer).into()),
            subject: account.map(|account| (*account.subject).into()),
            role: ticket.role.clone(),
            name: ticket.name.clone(),
            persona: ticket.persona.as_str().into(),
            language: ticket.language.as_ref().map(|tag| tag.as_str().into()),
            origin: ticket.origin.as_ref().map(|origin| origin.as_str().into()),
            expires_at: ticket.expires_at.as_millis(),
            uses: ticket.uses,
            entry: ticket.entry.map(|entry| entry.to_string()),
        }
    }

    /// Returns the ticket, or `None` when a later version of this program has written the row.
    fn read(self) -> Option<KnownTicket> {
        let named = self.issuer.zip(self.subject);
        let language = self.language.as_deref().map(Language::parse);
        let origin = self.origin.as_deref().map(Origin::parse);
        Some(KnownTicket {
            hash: self.ticket,
            mode: ConnectMode::parse(&self.mode)?,
            account: named.map(|(issuer, subject)| Account {
                issuer: issuer.into(),
                subject: subject.into(),
            }),
            role: self.role,
            name: self.name,
            persona: PersonaName::parse(&self.persona).ok()?,
            language: language.transpose().ok()?,
            origin: origin.transpose().ok()?,
            expires_at: Timestamp::from_millis(self.expires_at),
            uses: self.uses,
            entry: self.entry.as_deref().and_then(EntryId::parse),
        })
    }
}

impl Book {
    /// Stores the ticket that was minted. It expires by the clock of the records.
    pub(super) fn keep_ticket(&mut self, settlement: &Settlement, now: Timestamp) {
        if let Some(minted) = settlement.ticket.as_deref() {
            let lasts = minted.expires_at.since(settlement.at);
            let ticket = KnownTicket {
                expires_at: now.plus(lasts),
                ..minted.clone()
            };
            self.tickets.insert(ticket.hash.clone(), ticket);
        }
    }

    /// Returns the ticket that opens a call after its redemption, or `None` for a call that needs none.
    pub(super) fn redeemed(
        &self,
        intent: &Intent,
        dial: &Dial,
        now: Timestamp,
    ) -> Result<Option<KnownTicket>, ReserveError> {
        if intent.kind != Kind::Redemption {
            return Ok(None);
        }
        let hash = dial.ticket.as_deref();
        let known = hash.and_then(|hash| self.tickets.get(hash));
        let opens = (intent.id, Duration::from_secs(dial.want.seconds));
        let redeemed = known.ok_or(TicketRefusal::Unknown).and_then(|known| {
            let opened = known.entry.and_then(|entry| self.calls.get(&entry));
            let is_up = opened.is_some_and(|call| call.state.is_live());
            if is_up {
                return Err(TicketRefusal::Used);
            }
            let redeemed = known.redeem(opens, now)?;
            // If the ticket was used in between, less is left of it than was reckoned.
            let is_reckoned = known.uses == dial.uses;
            is_reckoned.then_some(redeemed).ok_or(TicketRefusal::Used)
        });
        redeemed.map(Some).map_err(ReserveError::Ticket)
    }

    /// Ends the tickets of `owner`.
    pub(super) fn end_tickets(&mut self, owner: Party) {
        self.tickets.retain(|_, ticket| {
            let account = ticket.account.as_ref();
            account.is_none_or(|account| Party::Identity(account.key()) != owner)
        });
    }
}

/// Reads the tickets that the commands redeem. PostgreSQL locks them, in one order for all brokers.
pub(super) async fn read(
    connection: &mut dyn Connection,
    book: &mut Book,
    commands: &[&Paid],
) -> Result<(), Fault> {
    let keys = commands.iter().filter_map(|command| command.ticket());
    let keys: Vec<_> = keys.map(|ticket| KeyRow { ticket }).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let rows: Vec<TicketRow> = connection.rows(&READ, &[page(&keys)?]).await?;
    let tickets = rows.into_iter().filter_map(TicketRow::read);
    let keyed = tickets.map(|ticket| (ticket.hash.clone(), ticket));
    book.tickets.extend(keyed);
    Ok(())
}

/// Writes the tickets that are new or differ.
pub(super) async fn write(
    connection: &mut dyn Connection,
    (before, after): (&Book, &Book),
) -> Result<(), Fault> {
    let tickets = after.tickets.iter();
    let changed = tickets.filter(|(hash, ticket)| before.tickets.get(*hash) != Some(ticket));
    let rows: Vec<_> = changed.map(|(_, ticket)| TicketRow::new(ticket)).collect();
    if !rows.is_empty() {
        connection.change(&WRITE, &[page(&rows)?]).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_ticket_of_a_later_version_is_passed_over_and_breaks_nothing() {
        let read = |mode: &str| {
            let row = json!({ "ticket": "hash", "mode": mode, "persona": "default", "expires_at": 1, "uses": 0 });
            serde_json::from_value::<TicketRow>(row).unwrap().read()
        };
        assert!(read("call").is_some());
        assert!(read("of_tomorrow").is_none());
    }
}
