//! A server that crashes or is cut off: what was promised is there once, and work resumes by itself.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sqlx::ConnectOptions;
use token_broker::records::{RecordsCondition, postgres};

use crate::cut::Wire;
use crate::kinds::{START, TIMEOUT, clock, limited, minted, postgres_at, settled};
use crate::server::{Server, empty_database, shared};

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_written_once() {
    let direct = empty_database().await;
    let wire = Wire::lay(shared().port).await;
    let through = wire.instead_of(shared().port, &direct);
    let ledger = postgres_at(&through).await;
    for round in 1..=10 {
        let intent = limited("ana", START, 10);
        let id = intent.id;
        wire.armed.store(true, Ordering::SeqCst);
        ledger.reserve(intent.clone()).await.unwrap();
        assert!(!wire.armed.load(Ordering::SeqCst), "it was cut");
        ledger.reserve(intent).await.unwrap();
        wire.armed.store(true, Ordering::SeqCst);
        ledger.settle(settled(id, minted())).await.unwrap();
        assert_eq!(ledger.recent(START).await.unwrap().len(), round);
    }
    assert!(ledger.reserve(limited("ana", START, 10)).await.is_err());
    ledger.reserve(limited("ana", START, 11)).await.unwrap();
    ledger.close().await;
}

#[tokio::test]
async fn a_server_that_crashes_or_is_restarted_costs_only_what_was_under_way() {
    let mut server = Server::start();
    let url = server.url(&server.database().await);
    let ledger = postgres_at(&url).await;
    let mut known = 0;
    for end in [Server::crash, Server::stop, Server::crash] {
        for _ in 0..20 {
            ledger.reserve(limited("ana", START, 1000)).await.unwrap();
            known += 1;
        }
        end(&mut server);
        assert!(ledger.reserve(limited("ana", START, 1000)).await.is_err());
        assert_eq!(ledger.condition(), RecordsCondition::Down);
        let refused = tokio::time::timeout(
            Duration::from_millis(100),
            ledger.reserve(limited("ana", START, 1000)),
        );
        assert!(refused.await.unwrap().is_err(), "at once");
        server.run();
        let mut tries = 0;
        while ledger.condition() == RecordsCondition::Down {
            tries += 1;
            assert!(tries < 300, "it did not recover");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
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
async fn what_was_written_although_nobody_could_be_told_is_given_back_when_the_server_is() {
    let direct = empty_database().await;
    let wire = Wire::lay(shared().port).await;
    let ledger = postgres_at(&wire.instead_of(shared().port, &direct)).await;
    let options: sqlx::postgres::PgConnectOptions = direct.parse().unwrap();
    let mut observer = options.connect().await.unwrap();
    wire.dead.store(true, Ordering::SeqCst);
    wire.armed.store(true, Ordering::SeqCst);
    assert!(ledger.reserve(limited("ana", START, 1)).await.is_err());
    assert_eq!(ledger.condition(), RecordsCondition::Down);
    let written = "SELECT COUNT(*) FROM token_broker.entries WHERE outcome = 'pending'";
    // Nobody hears when the server is done with a commit whose answer was cut off.
    let began = Instant::now();
    loop {
        let counted = sqlx::query_scalar(written).fetch_one(&mut observer).await;
        let number: i64 = counted.unwrap();
        if number == 1 {
            break;
        }
        assert!(began.elapsed() < TIMEOUT, "the server had it all the same");
    }
    wire.dead.store(false, Ordering::SeqCst);
    while ledger.condition() == RecordsCondition::Down {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ledger.reserve(limited("ben", START, 1)).await.unwrap();
    ledger.reserve(limited("ana", START, 1)).await.unwrap();
    assert!(ledger.reserve(limited("ana", START, 1)).await.is_err());
    ledger.close().await;
}
