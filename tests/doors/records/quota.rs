//! Quotas: exact under any crowd, by calendar month.

use std::sync::Arc;
use std::time::Duration;

use token_broker::domain::{Intent, Kind};
use token_broker::records::{Exceeded, Records, ReserveError};

use super::kinds::{
    FAILED, START, TIMEOUT, account, clock, each, limited, mint, minted, postgres_at, settled,
};
use crate::kit::postgres::empty_database;

/// How many of `number` reservations at once succeed; none fails for another reason than the quota.
async fn crowd(ledgers: &[Arc<dyn Records>], number: usize, limit: u32) -> usize {
    let mut tasks = Vec::new();
    for place in 0..number {
        let ledger = Arc::clone(&ledgers[place % ledgers.len()]);
        let intent = limited("ana", START, limit);
        tasks.push(tokio::spawn(async move { ledger.reserve(intent).await }));
    }
    let mut succeeded = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => succeeded += 1,
            Err(ReserveError::QuotaExceeded { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    succeeded
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_at_once_exactly_ten_have_a_place() {
    each(async |subject| {
        let ledgers = [Arc::clone(&subject.ledger)];
        assert_eq!(crowd(&ledgers, 1000, 10).await, 10, "{}", subject.name);
        let recent = subject.ledger.recent(START).await.unwrap();
        assert_eq!(recent.len(), 10, "{}", subject.name);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_is_exact_over_brokers_that_share_a_server() {
    let url = empty_database().await;
    let mut brokers = vec![postgres_at(&url).await];
    for _ in 0..2 {
        let another = token_broker::records::postgres::open(&url, clock(), TIMEOUT).await;
        brokers.push(Arc::new(another.unwrap()));
    }
    assert_eq!(crowd(&brokers, 900, 50).await, 50);
    for broker in brokers {
        broker.close().await;
    }
}

#[tokio::test]
async fn a_month_ends_at_midnight_utc_and_a_failure_is_given_back_to_its_own_month() {
    each(async |subject| {
        let ledger = &*subject.ledger;
        let end = token_broker::domain::Month::of(START).end();
        let last = token_broker::clock::Timestamp::from_millis(end.as_millis() - 1);
        let intent = limited("ana", last, 1);
        let id = intent.id;
        ledger.reserve(intent).await.unwrap();
        match ledger.reserve(limited("ana", last, 1)).await {
            Err(ReserveError::QuotaExceeded(Exceeded { limit, resets_at })) => {
                assert_eq!((limit, resets_at), (1, end), "{}", subject.name);
            }
            other => panic!("{}: {other:?}", subject.name),
        }
        // The next month is another count, and stays so when November's mint fails in December.
        ledger.reserve(limited("ana", end, 1)).await.unwrap();
        let mut late = settled(id, FAILED);
        late.at = end.plus(Duration::from_secs(1));
        ledger.settle(late).await.unwrap();
        assert!(ledger.reserve(limited("ana", end, 1)).await.is_err());
        ledger.reserve(limited("ana", last, 1)).await.unwrap();
        assert!(ledger.reserve(limited("ana", last, 1)).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn only_mints_of_an_identity_are_counted_and_each_for_itself() {
    each(async |subject| {
        let ledger = &*subject.ledger;
        let full = limited("ana", START, 1);
        ledger.reserve(full.clone()).await.unwrap();
        ledger.settle(settled(full.id, minted())).await.unwrap();
        let refresh = Intent {
            kind: Kind::Refresh,
            ..limited("ana", START, 1)
        };
        let anonymous = || Intent {
            account: None,
            ..limited("", START, 1)
        };
        let mut elsewhere = limited("ana", START, 1);
        elsewhere.account = Some(token_broker::domain::Account {
            issuer: "https://other.example.com/".into(),
            ..account("ana")
        });
        for allowed in [refresh, anonymous(), anonymous(), elsewhere] {
            ledger.reserve(allowed).await.unwrap();
        }
        ledger.reserve(mint("ana", START)).await.unwrap();
        assert!(ledger.reserve(limited("ana", START, 2)).await.is_err());
        assert!(ledger.reserve(limited("ana", START, 0)).await.is_err());
    })
    .await;
}
