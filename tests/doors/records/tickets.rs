//! What every kind promises of tickets: stored with their mint, and redeemed once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use token_broker::clock::Timestamp;
use token_broker::domain::{
    Amount, Call, CallStep, Caller, ConnectMode, Dial, EndReason, EntryId, Intent, Kind,
    KnownTicket, Language, Origin, Party, PersonaName, Quota, RELAY_USES, Settlement, Ticket,
    TicketRefusal,
};
use token_broker::records::{CallBound, CallBounds, CallQuery, Records, ReserveError, Settled};

use super::calls::{MANY, dial, use_of};
use super::kinds::{START, Subject, account, each, limited, mint, minted, postgres_at, settled};
use super::sessions::{somebody, verified};
use crate::kit::postgres::empty_database;

/// A ticket for `caller`.
fn ticket(caller: &Caller) -> KnownTicket {
    let identity = caller.identity.as_deref();
    KnownTicket {
        hash: Ticket::random().hash(),
        mode: ConnectMode::Call,
        account: identity.map(|known| known.account.clone()),
        role: Some("student".into()),
        name: Some("sealed".into()),
        persona: PersonaName::parse("student-es").unwrap(),
        language: Some(Language::parse("es-MX").unwrap()),
        origin: Some(Origin::parse("https://app.example.com").unwrap()),
        expires_at: START.plus(Duration::from_mins(1)),
        uses: 0,
        entry: None,
    }
}

fn minting(id: EntryId, ticket: &KnownTicket) -> Settlement {
    Settlement {
        at: START,
        ticket: Some(Box::new(ticket.clone())),
        ..settled(id, minted())
    }
}

/// Records a mint of this ticket.
async fn keep(records: &dyn Records, ticket: &KnownTicket) -> Settled {
    let intent = mint("ana", START);
    let id = intent.id;
    records.reserve(intent).await.unwrap();
    records.settle(minting(id, ticket)).await.unwrap()
}

/// Opens a call of `caller` with this ticket.
async fn redeem(
    records: &dyn Records,
    caller: &Arc<Caller>,
    (ticket, bounds): (&KnownTicket, CallBounds),
) -> Result<Call, ReserveError> {
    let intent = Intent {
        kind: Kind::Redemption,
        ..use_of(caller)
    };
    let dial = Dial {
        ticket: Some(ticket.hash.clone()),
        uses: ticket.uses,
        want: Amount {
            seconds: 600,
            ..Amount::default()
        },
        ..dial(caller)
    };
    records.open_call(intent, dial, bounds).await
}

fn refusal(redeemed: Result<Call, ReserveError>) -> TicketRefusal {
    match redeemed {
        Err(ReserveError::Ticket(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn ti1_ti3_a_ticket_is_found_as_it_was_minted_and_opens_one_call() {
    each(async |Subject { name, ledger, .. }| {
        let (records, ana) = (&*ledger, verified(account("ana")));
        let ticket = ticket(&ana);
        assert_eq!(records.ticket(&ticket.hash).await.unwrap(), None, "{name}");
        assert_eq!(keep(records, &ticket).await, Settled::Recorded, "{name}");
        let found = records.ticket(&ticket.hash).await.unwrap().unwrap();
        assert_eq!(found.ticket.is_open(found.now), Ok(()), "{name}");
        // Dated by the database, whose clock may differ from ours.
        let expires_at = found.ticket.expires_at;
        let expected = KnownTicket {
            expires_at,
            ..ticket.clone()
        };
        assert_eq!(found.ticket, expected, "{name}");

        // A refusal for want of a place uses nothing up.
        let none = CallBounds { total: 0, ..MANY };
        let full = redeem(records, &ana, (&ticket, none)).await;
        let is_full = matches!(full, Err(ReserveError::TooManyCalls(CallBound::Total)));
        assert!(is_full, "{name}: {full:?}");
        let call = redeem(records, &ana, (&ticket, MANY)).await.unwrap();
        assert_eq!(call.ticket.as_ref(), Some(&ticket.hash), "{name}");
        let again = redeem(records, &ana, (&ticket, MANY)).await;
        assert_eq!(refusal(again), TicketRefusal::Used, "{name}");
        let found = records.ticket(&ticket.hash).await.unwrap().unwrap();
        let used = (found.ticket.uses, found.ticket.entry);
        assert_eq!(used, (1, Some(call.entry)), "{name}");
    })
    .await;
}

#[tokio::test]
async fn ti2_an_expired_or_unknown_ticket_opens_nothing() {
    each(async |subject| {
        let (name, records) = (subject.name, &*subject.ledger);
        let caller = somebody();
        let short = KnownTicket {
            expires_at: START.plus(Duration::from_millis(1)),
            ..ticket(&caller)
        };
        keep(records, &short).await;
        subject.tick().await;
        let late = redeem(records, &caller, (&short, MANY)).await;
        assert_eq!(refusal(late), TicketRefusal::Expired, "{name}");
        let unknown = redeem(records, &caller, (&ticket(&caller), MANY)).await;
        assert_eq!(refusal(unknown), TicketRefusal::Unknown, "{name}");
        // Too young to be forgotten: its bearer is told the reason.
        records.forget(Timestamp::from_millis(0)).await.unwrap();
        let known = records.ticket(&short.hash).await.unwrap();
        assert!(known.is_some(), "{name}");
    })
    .await;
}

#[tokio::test]
async fn ti5_the_ticket_of_a_relay_opens_another_one_once_the_last_is_over() {
    each(async |Subject { name, ledger, .. }| {
        let (records, ana) = (&*ledger, verified(account("ana")));
        let mut ticket = KnownTicket {
            mode: ConnectMode::Relay,
            ..ticket(&ana)
        };
        keep(records, &ticket).await;
        let mut ends = Vec::new();
        for number in 1..=RELAY_USES {
            let call = redeem(records, &ana, (&ticket, MANY)).await.unwrap();
            let live = redeem(records, &ana, (&ticket, MANY)).await;
            assert_eq!(refusal(live), TicketRefusal::Used, "{name}");
            let over = CallStep::Over(EndReason::HungUp).by_anybody();
            records.change_call(call.entry, over).await.unwrap();
            // Whoever has reckoned before that with what the ticket had left has to do so again.
            let late = redeem(records, &ana, (&ticket, MANY)).await;
            let refused = refusal(late);
            if number < RELAY_USES {
                assert_eq!(refused, TicketRefusal::Used, "{name}");
            }
            ticket = records.ticket(&ticket.hash).await.unwrap().unwrap().ticket;
            assert_eq!(ticket.uses, number, "{name}");
            ends.push(ticket.expires_at);
        }
        // The time of the session begins with the first redemption.
        ends.dedup();
        assert_eq!(ends.len(), 1, "{name}: {ends:?}");
        let spent = redeem(records, &ana, (&ticket, MANY)).await;
        assert_eq!(refusal(spent), TicketRefusal::Spent("redials"), "{name}");
        let query = CallQuery {
            account: None,
            ticket: Some(ticket.hash.clone()),
            skip: 0,
            most: 10,
        };
        let all = records.calls(query).await.unwrap();
        assert_eq!(all.len(), RELAY_USES as usize, "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_ticket_counts_as_a_session_when_it_is_minted_and_not_when_it_is_redeemed() {
    each(async |Subject { name, ledger, .. }| {
        let (records, ana) = (&*ledger, verified(account("ana")));
        let ticket = ticket(&ana);
        let intent = limited("ana", START, 1);
        let id = intent.id;
        records.reserve(intent).await.unwrap();
        records.settle(minting(id, &ticket)).await.unwrap();
        let full = records.reserve(limited("ana", START, 1)).await;
        assert!(matches!(full, Err(ReserveError::QuotaExceeded(_))));
        let quota = Quota {
            sessions_per_month: Some(1),
            ..Quota::default()
        };
        let intent = Intent {
            kind: Kind::Redemption,
            quota,
            ..use_of(&ana)
        };
        let dial = Dial {
            ticket: Some(ticket.hash.clone()),
            ..dial(&ana)
        };
        let opened = records.open_call(intent, dial, MANY).await;
        assert!(opened.is_ok(), "{name}: {opened:?}");
        let recent = records.recent(START).await.unwrap();
        let kinds: Vec<_> = recent.iter().map(|recent| recent.kind).collect();
        assert!(kinds.contains(&Kind::Redemption), "{name}: {kinds:?}");
    })
    .await;
}

#[tokio::test]
async fn ti8_tickets_end_with_the_sessions_of_their_account_and_with_its_erasure() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let (ana, ben) = (verified(account("ana")), verified(account("ben")));
        let of_ben = ticket(&ben);
        keep(records, &of_ben).await;
        for erases in [false, true] {
            let of_ana = ticket(&ana);
            keep(records, &of_ana).await;
            if erases {
                records.erase(&account("ana")).await.unwrap();
            } else {
                let owner = Party::Identity(account("ana").key());
                records.end_sessions(owner).await.unwrap();
            }
            assert_eq!(records.ticket(&of_ana.hash).await.unwrap(), None, "{name}");
            let late = redeem(records, &ana, (&of_ana, MANY)).await;
            assert_eq!(refusal(late), TicketRefusal::Unknown, "{name}");
        }
        assert!(redeem(records, &ben, (&of_ben, MANY)).await.is_ok());

        // A mint that is under way when its account is signed out gives no ticket.
        let (intent, late) = (mint("ana", START), ticket(&ana));
        let id = intent.id;
        records.reserve(intent).await.unwrap();
        let always = Timestamp::from_millis(u64::MAX);
        let ana = account("ana");
        records.give_up(always, Some(&ana)).await.unwrap();
        let settled = records.settle(minting(id, &late)).await.unwrap();
        assert_eq!(settled, Settled::Ended, "{name}");
        assert_eq!(records.ticket(&late.hash).await.unwrap(), None, "{name}");
    })
    .await;
}

#[tokio::test]
async fn ti4_of_a_hundred_redemptions_at_once_over_two_replicas_one_opens_a_call() {
    let url = empty_database().await;
    let (one, two) = (postgres_at(&url).await, postgres_at(&url).await);
    let caller = verified(account("ana"));
    let ticket = ticket(&caller);
    keep(&*one, &ticket).await;
    let redeemed = (0..100).map(|number| {
        let records = if number % 2 == 0 { &one } else { &two };
        redeem(&**records, &caller, (&ticket, MANY))
    });
    let redeemed = join_all(redeemed).await;
    let (opened, refused): (Vec<_>, Vec<_>) = redeemed.into_iter().partition(Result::is_ok);
    assert_eq!(opened.len(), 1);
    assert!(
        refused
            .into_iter()
            .all(|refused| refusal(refused) == TicketRefusal::Used)
    );
    one.close().await;
    two.close().await;
}
