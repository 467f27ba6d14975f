//! What every kind promises of sessions: opened, moved on and given back with the use that they belong to, bounded,
//! ended everywhere.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::Timestamp;
use token_broker::domain::{
    Account, Binding, Bindings, Caller, EntryId, Identity, Intent, Kind, Language, Network, Origin,
    Outcome, PersonaName, RefreshRules, Refusal, RequestId, Session, SessionChange, SessionId,
    SessionKey, Settlement, random_bytes,
};
use token_broker::records::{Advance, Dated, Records, ReserveError, Settled};

use super::kinds::{FAILED, START, Subject, UNCERTAIN, account, each, mint, minted, settled};

/// Rules that allow a refresh at any time.
pub const RULES: RefreshRules = RefreshRules {
    min_interval: Duration::ZERO,
    max_refreshes: 1000,
    max_age: Duration::from_hours(1),
    binding: Bindings {
        anonymous: Binding::AtMost(4),
        identified: Binding::Soft,
    },
};

/// Rules that allow no second mint within an hour.
pub const SELDOM: RefreshRules = RefreshRules {
    min_interval: Duration::from_hours(1),
    ..RULES
};

/// Somebody who calls from an address of their own.
pub fn somebody() -> Arc<Caller> {
    let [a, b, c] = random_bytes();
    Arc::new(from([10, a, b, c].into()))
}

fn from(address: IpAddr) -> Caller {
    let mut caller = Caller::at(address, RequestId::random());
    caller.origin = Some(Origin::parse("https://app.example.com").unwrap());
    caller
}

/// Somebody who is verified.
pub fn verified(account: Account) -> Arc<Caller> {
    let identity = Identity {
        key: account.key(),
        account,
        role: None,
        name: None,
        personas: Arc::default(),
    };
    let mut caller = Arc::unwrap_or_clone(somebody());
    caller.identity = Some(Arc::new(identity));
    Arc::new(caller)
}

pub fn key() -> SessionKey {
    SessionKey::of(&SessionId::random())
}

/// A session of `caller`. What it says of time is replaced by the database's time.
fn session(caller: &Caller) -> Session {
    let persona = PersonaName::parse("student-es").unwrap();
    Session {
        language: Some(Language::parse("es-MX").unwrap()),
        ..Session::open(caller, persona, Timestamp::from_seconds(1))
    }
}

/// The settlement of the mint `id` that opens a session, where its owner may have `most`.
pub fn opening(id: EntryId, key: SessionKey, (caller, most): (&Caller, u32)) -> Settlement {
    Settlement {
        session: SessionChange::Open {
            key,
            session: Box::new(session(caller)),
            most,
        },
        ..settled(id, minted())
    }
}

/// Opens a session of `caller`, who may have `most`.
pub async fn open_of(records: &dyn Records, caller: &Caller, most: u32) -> (SessionKey, Dated) {
    let (intent, key) = (mint("ana", START), key());
    let id = intent.id;
    records.reserve(intent).await.unwrap();
    let settled = records.settle(opening(id, key, (caller, most))).await;
    match settled.unwrap() {
        Settled::Opened(opened) => (key, opened),
        other => panic!("{other:?}"),
    }
}

pub async fn open(records: &dyn Records, caller: &Caller) -> SessionKey {
    open_of(records, caller, 1000).await.0
}

/// A refresh that is about to happen.
pub fn intent(key: SessionKey) -> Intent {
    Intent {
        kind: Kind::Refresh,
        session: key,
        ..mint("ana", START)
    }
}

pub fn asked(caller: &Arc<Caller>, rules: RefreshRules) -> Advance {
    let caller = Arc::clone(caller);
    Advance { caller, rules }
}

pub async fn refresh(
    records: &dyn Records,
    key: SessionKey,
    caller: &Arc<Caller>,
) -> Result<EntryId, ReserveError> {
    let intent = intent(key);
    let id = intent.id;
    let moved = records.advance(intent, asked(caller, RULES)).await;
    moved.map(|_| id)
}

pub async fn refreshes(records: &dyn Records, key: SessionKey) -> Option<u32> {
    let found = records.session(key).await.unwrap();
    found.map(|found| found.session.refreshes)
}

async fn sums(records: &dyn Records) -> (u64, u64) {
    let query = token_broker::records::UsageQuery {
        by: token_broker::records::By::Role,
        since: Timestamp::from_millis(0),
        most: 100,
    };
    let rows = records.usage(query).await.unwrap();
    let sum = |name| rows.iter().map(|row| row.sums.get(name)).sum();
    (sum("sessions"), sum("refreshes"))
}

#[tokio::test]
async fn a_session_opens_with_its_mint_and_is_read_as_it_was_opened_at_the_databases_time() {
    each(async |Subject { name, ledger, .. }| {
        let caller = somebody();
        let (key, opened) = open_of(&*ledger, &caller, 20).await;
        assert_eq!(opened.session.opened, opened.now, "{name}");
        assert_eq!(opened.session.minted, opened.now, "{name}");
        let found = ledger.session(key).await.unwrap().unwrap();
        assert_eq!(found.session, opened.session, "{name}");
        assert!(found.now >= opened.now);
        let expected = Session {
            opened: opened.now,
            minted: opened.now,
            ..session(&caller)
        };
        assert_eq!(found.session, expected, "{name}");
        assert!(ledger.session(self::key()).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_refresh_moves_the_session_in_the_transaction_that_records_it() {
    each(async |Subject { name, ledger, .. }| {
        let caller = somebody();
        let (key, opened) = open_of(&*ledger, &caller, 20).await;
        let moved = ledger.advance(intent(key), asked(&caller, RULES)).await;
        let moved = moved.unwrap();
        assert_eq!(moved.session.refreshes, 1, "{name}");
        assert!(moved.session.minted >= opened.session.minted);
        let found = ledger.session(key).await.unwrap().unwrap();
        assert_eq!(found.session, moved.session, "{name}");
        assert_eq!(sums(&*ledger).await, (1, 1), "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_refusal_records_nothing_and_says_why() {
    each(async |Subject { name, ledger, .. }| {
        let (caller, stranger) = (somebody(), verified(account("ben")));
        let key = open(&*ledger, &verified(account("ana"))).await;
        let theirs = ledger.advance(intent(key), asked(&stranger, RULES)).await;
        let foreign = Err(Refusal::Foreign);
        assert_eq!(theirs.map_err(refusal).map(drop), foreign, "{name}");
        let key = open(&*ledger, &caller).await;
        let early = ledger.advance(intent(key), asked(&caller, SELDOM)).await;
        let Err(ReserveError::Refused(Refusal::TooSoon { wait })) = early else {
            panic!("{name}: {early:?}");
        };
        let hour = SELDOM.min_interval;
        assert!(wait <= hour && wait > hour / 2);
        let unknown = ledger.advance(intent(self::key()), asked(&caller, RULES));
        assert!(matches!(unknown.await, Err(ReserveError::Unknown)));
        assert_eq!(refreshes(&*ledger, key).await, Some(0), "{name}");
        assert_eq!(sums(&*ledger).await, (2, 0), "{name}");
    })
    .await;
}

fn refusal(error: ReserveError) -> Refusal {
    match error {
        ReserveError::Refused(refusal) => refusal,
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn of_many_refreshes_at_once_one_moves_the_session() {
    each(async |Subject { name, ledger, .. }| {
        let caller = somebody();
        let key = open(&*ledger, &caller).await;
        let once = RefreshRules {
            max_refreshes: 1,
            ..RULES
        };
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (ledger, asked) = (Arc::clone(&ledger), asked(&caller, once));
            callers.spawn(async move { ledger.advance(intent(key), asked).await });
        }
        let answers = callers.join_all().await;
        let moved = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(moved, 1, "{name}");
        let refused = |answer: &Result<_, _>| {
            matches!(
                answer,
                Err(ReserveError::Refused(Refusal::Exhausted { .. }))
            )
        };
        assert_eq!(answers.iter().filter(|answer| refused(answer)).count(), 99);
        assert_eq!(refreshes(&*ledger, key).await, Some(1), "{name}");
        assert_eq!(sums(&*ledger).await, (1, 1), "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_refresh_that_plainly_failed_is_given_back_with_its_outcome_and_only_once() {
    each(async |Subject { name, ledger, .. }| {
        let (ledger, caller) = (&*ledger, somebody());
        let (key, opened) = open_of(ledger, &caller, 20).await;
        let give_back = |id, outcome| Settlement {
            session: SessionChange::GiveBack(key),
            ..settled(id, outcome)
        };
        let failed = refresh(ledger, key, &caller).await.unwrap();
        for _ in 0..3 {
            ledger.settle(give_back(failed, FAILED)).await.unwrap();
        }
        let found = ledger.session(key).await.unwrap().unwrap();
        assert_eq!(found.session, opened.session, "{name}");

        // An outcome that is not accepted gives nothing back, and neither does one that came too late.
        let done = refresh(ledger, key, &caller).await.unwrap();
        ledger.settle(settled(done, minted())).await.unwrap();
        ledger.settle(give_back(done, FAILED)).await.unwrap();
        assert_eq!(refreshes(ledger, key).await, Some(1), "{name}");
        let late = refresh(ledger, key, &caller).await.unwrap();
        refresh(ledger, key, &caller).await.unwrap();
        ledger.settle(give_back(late, FAILED)).await.unwrap();
        assert_eq!(refreshes(ledger, key).await, Some(3), "{name}");
        let unsure = refresh(ledger, key, &caller).await.unwrap();
        ledger.settle(settled(unsure, UNCERTAIN)).await.unwrap();
        assert_eq!(refreshes(ledger, key).await, Some(4), "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_session_that_nobody_got_is_closed_and_a_used_one_is_not() {
    each(async |Subject { name, ledger, .. }| {
        let (ledger, caller) = (&*ledger, somebody());
        for (is_used, left) in [(false, None), (true, Some(1))] {
            let (entry, key) = (mint("ana", START), key());
            let id = entry.id;
            ledger.reserve(entry).await.unwrap();
            let open = opening(id, key, (&caller, 20));
            ledger.settle(open).await.unwrap();
            if is_used {
                refresh(ledger, key, &caller).await.unwrap();
            }
            let close = Settlement {
                session: SessionChange::Close(key),
                ..settled(id, Outcome::Undelivered)
            };
            ledger.settle(close).await.unwrap();
            assert_eq!(refreshes(ledger, key).await, left, "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_remembers_the_networks_that_it_was_used_from() {
    each(async |Subject { name, ledger, .. }| {
        let (ledger, caller) = (&*ledger, somebody());
        let key = open(ledger, &caller).await;
        let from = |address: &str| Arc::new(from(address.parse().unwrap()));
        let others = ["2001:db8:5:6::9", "203.0.113.9", "203.0.113.10"].map(from);
        for other in &others {
            refresh(ledger, key, other).await.unwrap();
        }
        refresh(ledger, key, &caller).await.unwrap();
        refresh(ledger, key, &others[0]).await.unwrap();
        let fifth = refresh(ledger, key, &from("198.51.100.1")).await;
        assert_eq!(fifth.map_err(refusal).map(drop), Err(Refusal::Network));
        let found = ledger.session(key).await.unwrap().unwrap().session;
        let networks: Vec<Network> = std::iter::once(&caller)
            .chain(&others)
            .map(|caller| caller.network())
            .collect();
        assert_eq!(found.networks, networks, "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_repeated_intent_moves_the_session_once() {
    each(async |Subject { name, ledger, .. }| {
        let caller = somebody();
        let key = open(&*ledger, &caller).await;
        let intent = intent(key);
        for _ in 0..3 {
            let asked = asked(&caller, RULES);
            let moved = ledger.advance(intent.clone(), asked).await.unwrap();
            assert_eq!(moved.session.refreshes, 1, "{name}");
        }
        assert_eq!(sums(&*ledger).await, (1, 1), "{name}");
    })
    .await;
}
