//! What every kind promises of many sessions: bounds, ends, sweeps, and brokers that share a database.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{ConnectOptions, Connection};
use token_broker::clock::Timestamp;
use token_broker::domain::{Account, Party, RefreshRules};
use token_broker::records::{Records, ReserveError, Settled, postgres};

use super::kinds::{
    START, Subject, TIMEOUT, account, clock, each, mint, minted, postgres_at, settled,
};
use super::sessions::{
    RULES, SELDOM, asked, intent, key, open, open_of, opening, refresh, refreshes, somebody,
    verified,
};
use crate::kit::postgres::empty_database;

#[tokio::test]
async fn an_outcome_that_is_not_accepted_opens_no_session() {
    each(async |Subject { name, ledger, .. }| {
        let (stranger, key) = (mint("ana", START).id, key());
        let open = opening(stranger, key, (&somebody(), 20));
        let settled = ledger.settle(open).await.unwrap();
        assert_eq!(settled, Settled::Ended, "{name}");
        assert_eq!(refreshes(&*ledger, key).await, None, "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_mint_that_was_given_up_opens_its_session_unless_its_accounts_sessions_were_ended() {
    each(async |Subject { name, ledger, .. }| {
        let (always, ana) = (Timestamp::from_millis(u64::MAX), account("ana"));
        let (everybody, ended, other) = (None, Some(&ana), account("ben"));
        let rounds: [(&[Option<&Account>], bool); 5] = [
            (&[everybody], true),
            (&[everybody, Some(&other)], true),
            (&[ended], false),
            (&[everybody, ended], false),
            (&[ended, everybody], false),
        ];
        for (number, (given_up, opens)) in rounds.into_iter().enumerate() {
            let (intent, key) = (mint("ana", START), key());
            let open = opening(intent.id, key, (&somebody(), 20));
            ledger.reserve(intent).await.unwrap();
            for of in given_up {
                ledger.give_up(always, *of).await.unwrap();
            }
            for _ in 0..2 {
                let settled = ledger.settle(open.clone()).await.unwrap();
                let is_opened = matches!(settled, Settled::Opened(_));
                assert_eq!(is_opened, opens, "{name} {number}");
                assert_eq!(settled == Settled::Ended, !opens, "{name} {number}");
            }
            let found = refreshes(&*ledger, key).await;
            assert_eq!(found.is_some(), opens, "{name} {number}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_under_way_when_its_accounts_sessions_were_ended_is_not_to_be_handed_over() {
    each(async |Subject { name, ledger, .. }| {
        let (always, ana) = (Timestamp::from_millis(u64::MAX), account("ana"));
        let caller = somebody();
        let key = open(&*ledger, &caller).await;
        let refreshed = refresh(&*ledger, key, &caller).await.unwrap();
        let sessionless = mint("ana", START);
        let without_session = sessionless.id;
        ledger.reserve(sessionless).await.unwrap();
        ledger.give_up(always, Some(&ana)).await.unwrap();
        for id in [refreshed, without_session] {
            for attempt in 0..2 {
                let settled = ledger.settle(settled(id, minted())).await.unwrap();
                assert_eq!(settled, Settled::Ended, "{name} {attempt}");
            }
        }
        let later = refresh(&*ledger, key, &caller).await.unwrap();
        let kept = ledger.settle(settled(later, minted())).await.unwrap();
        assert_eq!(kept, Settled::Recorded, "{name}");
        let erased = refresh(&*ledger, key, &caller).await.unwrap();
        ledger.erase(&ana).await.unwrap();
        let gone = ledger.settle(settled(erased, minted())).await.unwrap();
        assert_eq!(gone, Settled::Ended, "{name}");
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
    assert!(matches!(ended, Err(ReserveError::Unknown)));
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn opening_a_session_waits_for_no_refresh_of_an_idle_one_at_another_broker() {
    let url = empty_database().await;
    let records = postgres_at(&url).await;
    let caller = somebody();
    let (idle, _) = open_of(&*records, &caller, 1).await;
    // Another broker is in the middle of a refresh. If this one waited for it, each could hold what the other needs.
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let mut other = options.connect().await.unwrap();
    let hold = "BEGIN; SELECT session FROM token_broker.sessions FOR UPDATE";
    sqlx::raw_sql(hold).execute(&mut other).await.unwrap();
    let opened = open_of(&*records, &caller, 1);
    let (second, _) = tokio::time::timeout(TIMEOUT / 2, opened).await.unwrap();
    assert_eq!(refreshes(&*records, idle).await, Some(0), "it is in use");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    let (third, _) = open_of(&*records, &caller, 1).await;
    for (key, left) in [(idle, None), (second, None), (third, Some(0))] {
        assert_eq!(refreshes(&*records, key).await, left);
    }
    other.close().await.unwrap();
    records.close().await;
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
        assert!(matches!(ended, Err(ReserveError::Unknown)), "{name}");
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
