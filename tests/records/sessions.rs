//! What every kind promises of sessions: opened, moved on and given back with the use that they belong to, bounded,
//! ended everywhere.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::Timestamp;
use token_broker::domain::{
    Account, Binding, Bindings, Caller, EntryId, Identity, Intent, Kind, Language, Network, Origin,
    Outcome, Party, PersonaName, RefreshRules, Refusal, RequestId, Session, SessionChange,
    SessionId, SessionKey, Settlement, random_bytes,
};
use token_broker::records::{Advance, AdvanceError, Dated, Records, postgres};

use crate::kinds::{
    FAILED, START, Subject, TIMEOUT, UNCERTAIN, account, clock, each, mint, minted, postgres_at,
    settled,
};
use crate::server::empty_database;

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
const SELDOM: RefreshRules = RefreshRules {
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
fn verified(account: Account) -> Arc<Caller> {
    let identity = Identity {
        key: account.key(),
        account,
        role: None,
        name: None,
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
fn opening(id: EntryId, key: SessionKey, (caller, most): (&Caller, u32)) -> Settlement {
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
async fn open_of(records: &dyn Records, caller: &Caller, most: u32) -> (SessionKey, Dated) {
    let (intent, key) = (mint("ana", START), key());
    let id = intent.id;
    records.reserve(intent).await.unwrap();
    let opened = records.settle(opening(id, key, (caller, most))).await;
    (key, opened.unwrap().unwrap())
}

pub async fn open(records: &dyn Records, caller: &Caller) -> SessionKey {
    open_of(records, caller, 1000).await.0
}

/// A refresh that is about to happen.
fn intent(key: SessionKey) -> Intent {
    Intent {
        kind: Kind::Refresh,
        session: key,
        ..mint("ana", START)
    }
}

fn asked(caller: &Arc<Caller>, rules: RefreshRules) -> Advance {
    let caller = Arc::clone(caller);
    Advance { caller, rules }
}

async fn refresh(
    records: &dyn Records,
    key: SessionKey,
    caller: &Arc<Caller>,
) -> Result<EntryId, AdvanceError> {
    let intent = intent(key);
    let id = intent.id;
    let moved = records.advance(intent, asked(caller, RULES)).await;
    moved.map(|_| id)
}

async fn refreshes(records: &dyn Records, key: SessionKey) -> Option<u32> {
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
        let Err(AdvanceError::Refused(Refusal::TooSoon { wait })) = early else {
            panic!("{name}: {early:?}");
        };
        let hour = SELDOM.min_interval;
        assert!(wait <= hour && wait > hour / 2);
        let unknown = ledger.advance(intent(self::key()), asked(&caller, RULES));
        assert!(matches!(unknown.await, Err(AdvanceError::Unknown)));
        assert_eq!(refreshes(&*ledger, key).await, Some(0), "{name}");
        assert_eq!(sums(&*ledger).await, (2, 0), "{name}");
    })
    .await;
}

fn refusal(error: AdvanceError) -> Refusal {
    match error {
        AdvanceError::Refused(refusal) => refusal,
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
            matches!(answer, Err(AdvanceError::Refused(Refusal::Exhausted)))
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
async fn an_outcome_that_is_not_accepted_opens_no_session() {
    each(async |Subject { name, ledger, .. }| {
        let (stranger, key) = (mint("ana", START).id, key());
        let open = opening(stranger, key, (&somebody(), 20));
        assert_eq!(ledger.settle(open).await.unwrap(), None, "{name}");
        assert_eq!(refreshes(&*ledger, key).await, None, "{name}");
    })
    .await;
}

#[tokio::test]
async fn of_an_owners_sessions_the_one_idle_longest_gives_way() {
    each(async |subject| {
        let (name, ledger) = (subject.name, &*subject.ledger);
        let (caller, other) = (somebody(), somebody());
        let theirs = open_of(ledger, &other, 3).await.0;
        let mut ours = Vec::new();
        for _ in 0..5 {
            ours.push(open_of(ledger, &caller, 3).await.0);
            subject.tick().await;
        }
        for (place, key) in ours.iter().enumerate() {
            let left = (place >= 2).then_some(0);
            assert_eq!(refreshes(ledger, *key).await, left, "{name} {place}");
        }
        // The third was opened first and is used last.
        refresh(ledger, ours[2], &caller).await.unwrap();
        subject.tick().await;
        open_of(ledger, &caller, 3).await;
        assert_eq!(refreshes(ledger, ours[2]).await, Some(1), "{name}");
        assert_eq!(refreshes(ledger, ours[3]).await, None, "{name}");
        assert_eq!(refreshes(ledger, theirs).await, Some(0), "{name}");
    })
    .await;
}

#[tokio::test]
async fn many_that_open_at_once_for_one_owner_leave_as_many_as_it_may_have() {
    each(async |Subject { name, ledger, .. }| {
        let caller = somebody();
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..60 {
            let (ledger, caller) = (Arc::clone(&ledger), Arc::clone(&caller));
            callers.spawn(async move { open_of(&*ledger, &caller, 7).await.0 });
        }
        let keys = callers.join_all().await;
        let mut left = 0;
        for key in keys {
            left += u32::from(refreshes(&*ledger, key).await.is_some());
        }
        assert_eq!(left, 7, "{name}");
    })
    .await;
}

#[tokio::test]
async fn two_brokers_on_one_server_share_sessions_and_never_exceed_a_bound_together() {
    let url = empty_database().await;
    let one = postgres_at(&url).await;
    let two: Arc<dyn Records> = Arc::new(postgres::open(&url, clock(), TIMEOUT).await.unwrap());
    let caller = somebody();
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..200 {
        let records = Arc::clone(if number % 2 == 0 { &one } else { &two });
        let caller = Arc::clone(&caller);
        callers.spawn(async move { open_of(&*records, &caller, 5).await.0 });
    }
    let keys = callers.join_all().await;
    let mut left = BTreeSet::new();
    for key in keys {
        if refreshes(&*two, key).await.is_some() {
            left.insert(key);
        }
    }
    assert_eq!(left.len(), 5);
    let key = *left.first().unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..200 {
        let records = Arc::clone(if number % 2 == 0 { &one } else { &two });
        let asked = asked(&caller, SELDOM);
        callers.spawn(async move { records.advance(intent(key), asked).await.is_ok() });
    }
    assert!(!callers.join_all().await.contains(&true), "it is too soon");
    let mut callers = tokio::task::JoinSet::new();
    let single = RefreshRules {
        max_refreshes: 1,
        ..RULES
    };
    for number in 0..200 {
        let records = Arc::clone(if number % 2 == 0 { &one } else { &two });
        let asked = asked(&caller, single);
        callers.spawn(async move { records.advance(intent(key), asked).await.is_ok() });
    }
    let moved = callers.join_all().await;
    assert_eq!(moved.into_iter().filter(|moved| *moved).count(), 1);
    assert_eq!(one.end_sessions(caller.party()).await.unwrap(), 5);
    let ended = refresh(&*two, key, &caller).await;
    assert!(matches!(ended, Err(AdvanceError::Unknown)));
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn ending_and_erasing_end_all_sessions_of_one_owner_and_no_others() {
    each(async |Subject { name, ledger, .. }| {
        let (ledger, ana, ben) = (&*ledger, verified(account("ana")), verified(account("ben")));
        let (first, second) = (open(ledger, &ana).await, open(ledger, &ana).await);
        let (others, networks) = (open(ledger, &ben).await, open(ledger, &somebody()).await);
        let owner = Party::Identity(account("ana").key());
        assert_eq!(ledger.end_sessions(owner).await.unwrap(), 2, "{name}");
        assert_eq!(ledger.end_sessions(owner).await.unwrap(), 0, "{name}");
        let ended = refresh(ledger, first, &ana).await;
        assert!(matches!(ended, Err(AdvanceError::Unknown)), "{name}");
        assert_eq!(refreshes(ledger, second).await, None, "{name}");
        ledger.erase(&account("ben")).await.unwrap();
        assert_eq!(refreshes(ledger, others).await, None, "{name}");
        assert_eq!(refreshes(ledger, networks).await, Some(0), "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_sweep_removes_what_has_ended_and_then_those_idle_longest() {
    each(async |subject| {
        let (name, ledger, hour) = (subject.name, &*subject.ledger, RULES.max_age);
        let mut keys = Vec::new();
        for _ in 0..300 {
            keys.push(open(ledger, &somebody()).await);
        }
        assert_eq!(ledger.sweep_sessions(hour, 1000).await.unwrap(), 300);
        subject.tick().await;
        let last = open(ledger, &somebody()).await;
        assert_eq!(ledger.sweep_sessions(hour, 10).await.unwrap(), 10, "{name}");
        assert_eq!(refreshes(ledger, last).await, Some(0), "{name}");
        subject.tick().await;
        let left = ledger.sweep_sessions(Duration::ZERO, 1000).await.unwrap();
        assert_eq!(left, 0, "{name}");
        for key in keys {
            assert_eq!(refreshes(ledger, key).await, None, "{name}");
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

#[tokio::test]
async fn the_safety_key_is_made_once_and_shared_by_all_who_use_the_database() {
    each(async |Subject { name, ledger, .. }| {
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let ledger = Arc::clone(&ledger);
            callers.spawn(async move { ledger.safety_key().await.unwrap().expose().to_vec() });
        }
        let keys: BTreeSet<_> = callers.join_all().await.into_iter().collect();
        assert_eq!(keys.len(), 1, "{name}");
        assert_eq!(keys.first().unwrap().len(), 32);
    })
    .await;
    let (one, other) = (empty_database().await, empty_database().await);
    let key = async |url: &str| {
        let records = postgres_at(url).await;
        let key = records.safety_key().await.unwrap().expose().to_vec();
        records.close().await;
        key
    };
    assert_eq!(key(&one).await, key(&one).await);
    assert_ne!(key(&one).await, key(&other).await);
}
