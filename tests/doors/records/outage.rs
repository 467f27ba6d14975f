//! A server that crashes or is cut off: what was promised is there once, and work resumes by itself.

use std::time::Duration;

use sqlx::PgPool;
use token_broker::records::{RecordsCondition, Settled, postgres};

use super::kinds::{START, TIMEOUT, clock, limited, mint, minted, postgres_at, settled};
use super::sessions::{key, opening, refreshes, somebody};
use crate::kit::pgbouncer::PgBouncer;
use crate::kit::postgres::{Postgres, empty_database, shared};
use crate::kit::proxy::Proxy;
use crate::kit::waiting::{eventually, until};

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_written_once() {
    let direct = empty_database().await;
    let proxy = Proxy::to(shared().port).await;
    let through = proxy.instead_of(&direct);
    let ledger = postgres_at(&through).await;
    for round in 1..=10 {
        let intent = limited("ana", START, 10);
        let id = intent.id;
        proxy.cut_at_next_commit();
        ledger.reserve(intent.clone()).await.unwrap();
        assert!(proxy.has_cut(), "it was not cut");
        ledger.reserve(intent).await.unwrap();
        proxy.cut_at_next_commit();
        ledger.settle(settled(id, minted())).await.unwrap();
        assert_eq!(ledger.recent(START).await.unwrap().len(), round);
    }
    assert!(ledger.reserve(limited("ana", START, 10)).await.is_err());
    ledger.reserve(limited("ana", START, 11)).await.unwrap();
    ledger.close().await;
}

#[tokio::test]
async fn a_mint_whose_commit_was_not_answered_has_opened_its_session_once() {
    let direct = empty_database().await;
    let proxy = Proxy::to(shared().port).await;
    let ledger = postgres_at(&proxy.instead_of(&direct)).await;
    let (intent, key, caller) = (mint("ana", START), key(), somebody());
    let settlement = opening(intent.id, key, (&caller, 20));
    ledger.reserve(intent).await.unwrap();
    proxy.cut_at_next_commit();
    let opened = ledger.settle(settlement.clone()).await.unwrap();
    assert!(proxy.has_cut(), "it was not cut");
    let session = ledger.session(key).await.unwrap().unwrap().session;
    assert!(matches!(opened, Settled::Opened(dated) if dated.session == session));
    assert_eq!(refreshes(&*ledger, key).await, Some(0));
    assert_eq!(ledger.end_sessions(caller.party()).await.unwrap(), 1);
    let again = ledger.settle(settlement).await.unwrap();
    assert_eq!(again, Settled::Ended, "it was ended since");
    ledger.close().await;
}

#[tokio::test]
async fn a_server_that_crashes_or_is_restarted_costs_only_what_was_under_way() {
    let mut server = Postgres::start();
    let url = server.url(&server.database().await);
    let ledger = postgres_at(&url).await;
    let mut known = 0;
    for end in [Postgres::crash, Postgres::stop, Postgres::crash] {
        for _ in 0..20 {
            ledger.reserve(limited("ana", START, 1000)).await.unwrap();
            known += 1;
        }
        end(&mut server);
        assert!(ledger.reserve(limited("ana", START, 1000)).await.is_err());
        assert_eq!(ledger.condition(), RecordsCondition::Down);
        let refused =
            tokio::time::timeout(TIMEOUT / 2, ledger.reserve(limited("ana", START, 1000)));
        assert!(refused.await.unwrap().is_err(), "at once");
        server.run();
        let recovers = || ledger.condition() != RecordsCondition::Down;
        until("the records recover", recovers).await;
        let exact = limited("ana", START, known + 1);
        ledger.reserve(exact).await.unwrap();
        known += 1;
        assert!(ledger.reserve(limited("ana", START, known)).await.is_err());
    }
    assert_eq!(ledger.recent(START).await.unwrap().len(), known as usize);
    ledger.close().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_and_no_wait() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It accepts, and says nothing.
    let url = format!("postgres://broker@127.0.0.1:{port}/none?sslmode=disable");
    let started = std::time::Instant::now();
    let timeout = Duration::from_millis(300);
    assert!(postgres::open(&url, clock(), timeout).await.is_err());
    assert!(started.elapsed() < TIMEOUT);
}

#[tokio::test]
async fn a_reservation_whose_answer_was_lost_is_given_back_when_the_server_is_back() {
    let direct = empty_database().await;
    let proxy = Proxy::to(shared().port).await;
    let ledger = postgres_at(&proxy.instead_of(&direct)).await;
    let observer = PgPool::connect(&direct).await.unwrap();
    proxy.refuse(true);
    proxy.cut_at_next_commit();
    assert!(ledger.reserve(limited("ana", START, 1)).await.is_err());
    assert_eq!(ledger.condition(), RecordsCondition::Down);
    let written = "SELECT COUNT(*) FROM token_broker.entries WHERE outcome = 'pending'";
    // Nobody hears when the server is done with a commit whose answer was cut off.
    let is_written = async || {
        let counted = sqlx::query_scalar(written).fetch_one(&observer).await;
        counted.is_ok_and(|number: i64| number == 1)
    };
    eventually("the server has it all the same", TIMEOUT, is_written).await;
    proxy.refuse(false);
    let recovers = || ledger.condition() != RecordsCondition::Down;
    until("the records recover", recovers).await;
    ledger.reserve(limited("ben", START, 1)).await.unwrap();
    ledger.reserve(limited("ana", START, 1)).await.unwrap();
    assert!(ledger.reserve(limited("ana", START, 1)).await.is_err());
    ledger.close().await;
}

#[tokio::test]
async fn f27_a_broker_whose_database_gets_a_newer_schema_behind_a_pooler_writes_nothing_more() {
    let server = shared();
    let database = server.database().await;
    let pooler = PgBouncer::before(server.port, "").await;
    let ledger = postgres_at(&pooler.url(&database)).await;
    ledger.reserve(limited("ana", START, 10)).await.unwrap();
    let observer = PgPool::connect(&server.url(&database)).await.unwrap();
    let migrated = "INSERT INTO token_broker.ledger_schema VALUES (1000)";
    sqlx::query(migrated).execute(&observer).await.unwrap();
    assert!(ledger.reserve(limited("ana", START, 10)).await.is_err());
    assert_eq!(ledger.condition(), RecordsCondition::Down);
    let undone = "DELETE FROM token_broker.ledger_schema WHERE version = 1000";
    sqlx::query(undone).execute(&observer).await.unwrap();
    let recovers = || ledger.condition() != RecordsCondition::Down;
    until("the records recover", recovers).await;
    ledger.reserve(limited("ana", START, 2)).await.unwrap();
    let locks = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND database = \
                 (SELECT oid FROM pg_database WHERE datname = current_database())";
    let left: i64 = sqlx::query_scalar(locks)
        .fetch_one(&observer)
        .await
        .unwrap();
    assert_eq!(left, 0, "a lock outlives its transaction");
    ledger.close().await;
}
