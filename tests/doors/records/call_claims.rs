//! What every kind promises of calls that lost their watcher, their owner's name or their time.

use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::ManualClock;
use token_broker::domain::{Call, CallState, CallStep, EndReason};
use token_broker::records::{CallRecords, Records, postgres, sqlite};

use super::calls::{change, find, running};
use super::kinds::{
    Folder, START, Subject, TIMEOUT, account, clock, each, minted, postgres_at, settled,
};
use super::sessions::{somebody, verified};
use crate::kit::postgres::empty_database;

#[tokio::test]
async fn the_calls_of_a_replica_that_is_gone_are_taken_over_and_fence_it_off() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let lease = Duration::from_secs(30);
        records.renew_calls("one", lease).await.unwrap();
        let call = running(records, &somebody(), "a").await;
        assert!(
            records.claim_calls("one").await.unwrap().is_empty(),
            "{name}"
        );
        if name == "postgres" {
            let early = records.claim_calls("two").await.unwrap();
            assert!(early.is_empty(), "{name}: the lease runs");
            records.renew_calls("one", Duration::ZERO).await.unwrap();
        }
        records.renew_calls("two", lease).await.unwrap();
        let taken = records.claim_calls("two").await.unwrap();
        assert_eq!(taken.len(), 1, "{name}");
        assert_eq!((&*taken[0].replica, taken[0].epoch), ("two", 1), "{name}");
        assert_eq!(taken[0].deadline_at, call.deadline_at, "{name}");
        assert!(taken[0].watched_until.is_some(), "{name}: by its lease");
        let found = Call {
            watched_until: None,
            ..taken[0].clone()
        };
        assert_eq!(find(records, "a").await, Some(found), "{name}");
        let idle = CallStep::End(EndReason::Idle);
        assert_eq!(change(records, &call, idle.clone()).await, None, "{name}");
        assert!(change(records, &taken[0], idle).await.is_some(), "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_call_is_taken_over_by_one_of_many_replicas() {
    let url = empty_database().await;
    let one = postgres_at(&url).await;
    let two: Arc<dyn Records> = Arc::new(postgres::open(&url, clock(), TIMEOUT).await.unwrap());
    for number in 0..150 {
        running(&*one, &somebody(), &number.to_string()).await;
    }
    let mut claims = tokio::task::JoinSet::new();
    for number in 0..8 {
        let records = Arc::clone(if number % 2 == 0 { &one } else { &two });
        let replica = format!("replica-{number}");
        let lease = Duration::from_secs(30);
        records.renew_calls(&replica, lease).await.unwrap();
        claims.spawn(async move { records.claim_calls(&replica).await.unwrap() });
    }
    let claimed: Vec<_> = claims.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 150);
    assert!(claimed.iter().all(|call| call.epoch == 1));
}

#[tokio::test]
async fn an_erased_account_leaves_no_name_in_its_calls_and_they_are_hung_up() {
    each(async |Subject { name, ledger, .. }| {
        let records = &*ledger;
        let call = running(records, &verified(account("ana")), "a").await;
        let other = running(records, &verified(account("ben")), "b").await;
        records.settle(settled(call.entry, minted())).await.unwrap();
        assert_eq!(records.erase(&account("ana")).await.unwrap(), 1, "{name}");
        let due = records.claim_calls("one").await.unwrap();
        assert_eq!(due.len(), 1, "{name}");
        assert_eq!(
            (due[0].entry, &due[0].account),
            (call.entry, &None),
            "{name}"
        );
        assert_eq!(due[0].end_reason, Some(EndReason::LoggedOut), "{name}");
        let over = CallStep::Over(EndReason::Provider);
        change(records, &due[0], over).await.unwrap();
        records.forget(START).await.unwrap();
        assert_eq!(find(records, "a").await, None, "{name}");
        assert_eq!(find(records, "b").await, Some(other), "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_file_keeps_its_calls_and_their_deadlines_and_the_next_run_takes_them_over() {
    let folder = Folder::new();
    let time = Arc::new(ManualClock::at(START));
    let at = async || {
        let (file, time) = (folder.file(), Arc::<ManualClock>::clone(&time));
        sqlite::open(&file, time, TIMEOUT).await.unwrap()
    };
    let records = at().await;
    let open = running(&records, &somebody(), "a").await;
    let ending = running(&records, &somebody(), "b").await;
    change(&records, &ending, CallStep::End(EndReason::TimeLimit)).await;
    let over = running(&records, &somebody(), "c").await;
    change(&records, &over, CallStep::Over(EndReason::Provider)).await;
    records.close().await;
    time.advance(Duration::from_secs(5));
    let records = at().await;
    let mut taken = records.claim_calls("two").await.unwrap();
    taken.sort_by_key(|call| call.entry);
    let found: Vec<_> = taken
        .iter()
        .map(|call| (call.entry, call.state, call.deadline_at))
        .collect();
    let expected = [
        (open.entry, CallState::Open, open.deadline_at),
        (ending.entry, CallState::Ending, ending.deadline_at),
    ];
    assert_eq!(found.len(), 2);
    assert!(
        expected.iter().all(|call| found.contains(call)),
        "{found:?}"
    );
    time.advance(Duration::from_mins(10));
    assert!(
        records
            .claim_calls("two")
            .await
            .unwrap()
            .iter()
            .all(|call| call.entry == ending.entry)
    );
    time.advance(Duration::from_secs(15));
    let late = records.claim_calls("two").await.unwrap();
    assert!(late.iter().any(|call| call.entry == open.entry), "{late:?}");
    time.advance(Duration::from_hours(1));
    records.forget(START).await.unwrap();
    assert_eq!(find(&records, "c").await, None);
    assert!(find(&records, "a").await.is_some());
    records.close().await;
}
