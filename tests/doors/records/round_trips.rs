//! What a look-up and a mint cost on a PostgreSQL server.

use super::kinds::{START, mint, postgres_at};
use super::sessions::{key, open, somebody};
use crate::kit::pgbouncer::PgBouncer;
use crate::kit::postgres::{Postgres, empty_database, shared};
use crate::kit::proxy::Proxy;

/// Looks up a session often through a proxy to `port`, and returns the round trips of one time.
async fn cost_of_a_look_up(port: u16, url: &str) -> u64 {
    let proxy = Proxy::to(port).await;
    let records = postgres_at(&proxy.instead_of(url)).await;
    let session = open(&*records, &somebody()).await;
    assert!(records.session(session).await.unwrap().is_some());
    // What the writer does by itself at the beginning may still be added to the first costs.
    let mut costs = Vec::new();
    for _ in 0..3 {
        let before = proxy.round_trips();
        for _ in 0..10 {
            assert!(records.session(session).await.unwrap().is_some());
        }
        assert!(records.session(key()).await.unwrap().is_none());
        costs.push(proxy.round_trips() - before);
    }
    records.close().await;
    costs.into_iter().min().unwrap().div_ceil(11)
}

#[tokio::test]
async fn f27_a_look_up_of_a_session_waits_for_two_round_trips_directly_and_through_a_pooler() {
    let direct = empty_database().await;
    // One asks whether the connection is alive, and one reads. Nobody waits for the third, which asks whether the connection
    // can be given back.
    assert_eq!(cost_of_a_look_up(shared().port, &direct).await, 3);
    let server = Postgres::start();
    let pooler = PgBouncer::before(server.port, "").await;
    let url = pooler.url(&server.database().await);
    assert_eq!(cost_of_a_look_up(pooler.port, &url).await, 3);
}

/// Reserves mints one after the other through a proxy to the server, and returns the round trips of one of them.
async fn cost_of_a_reservation(url: &str) -> u64 {
    let proxy = Proxy::to(shared().port).await;
    let records = postgres_at(&proxy.instead_of(url)).await;
    // The first one gives the account its number, and has the statements prepared.
    records.reserve(mint("ana", START)).await.unwrap();
    let mut costs = Vec::new();
    for _ in 0..3 {
        let before = proxy.round_trips();
        for _ in 0..10 {
            records.reserve(mint("ana", START)).await.unwrap();
        }
        costs.push(proxy.round_trips() - before);
    }
    records.close().await;
    costs.into_iter().min().unwrap() / 10
}

#[tokio::test]
async fn a_reservation_looks_neither_for_its_own_row_nor_for_the_number_of_a_known_account() {
    let direct = empty_database().await;
    // It begins and commits, three times for the counter of the account, once for the entry, twice for the sums.
    assert_eq!(cost_of_a_reservation(&direct).await, 8);
}
