//! Databases that somebody else holds: nobody waits for ever, nothing is written afterwards, the queue has an end.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use token_broker::records::{
    By, Records, RecordsCondition, RecordsError, ReserveError, UsageQuery, sqlite,
};

use super::kinds::{Folder, START, TIMEOUT, clock, limited, mint, postgres_at};
use crate::kit::postgres::empty_database;
use crate::kit::waiting::{PATIENCE, eventually, until};

/// Another program, in the middle of a transaction.
async fn hold(folder: &Folder) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(folder.file());
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    other
}

async fn let_go(mut other: SqliteConnection) {
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
}

async fn open(folder: &Folder, timeout: Duration) -> Arc<dyn Records> {
    Arc::new(
        sqlite::open(&folder.file(), clock(), timeout)
            .await
            .unwrap(),
    )
}

async fn operational(ledger: &dyn Records) {
    let recovers = || ledger.condition() == RecordsCondition::Operational;
    until("the records recover", recovers).await;
}

/// Begins `work` and leaves it where it waits for the first time.
async fn begin(mut work: Pin<&mut impl Future>) {
    let begun = poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_pending()));
    assert!(begun.await, "it is over already");
}

#[tokio::test]
async fn a_file_locked_for_six_seconds_costs_five_at_most_and_nothing_is_written_afterwards() {
    let folder = Folder::new();
    let ledger = open(&folder, TIMEOUT).await;
    let other = hold(&folder).await;
    let started = Instant::now();
    let refused = ledger.reserve(mint("ana", START)).await;
    let waited = started.elapsed();
    assert!(
        matches!(refused, Err(ReserveError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(waited > Duration::from_secs(4), "{waited:?}");
    assert!(waited < 3 * TIMEOUT, "{waited:?}");
    // SQLite counts its own naps: on a busy machine they are longer than it thinks.
    let is_down = || ledger.condition() == RecordsCondition::Down;
    until("the records are down", is_down).await;
    // The records probe the file every second, and nothing outside shows a probe that fails.
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    let still = ledger.condition();
    assert_eq!(still, RecordsCondition::Down, "nobody has proved otherwise");
    let_go(other).await;
    operational(&*ledger).await;
    ledger.reserve(limited("ben", START, 1)).await.unwrap();
    let recent = ledger.recent(START).await.unwrap();
    let subjects: Vec<_> = recent.iter().flat_map(|recent| &recent.account).collect();
    assert_eq!(subjects.len(), 1, "{subjects:?}");
    assert_eq!(&*subjects[0].subject, "ben");
    ledger.close().await;
}

#[tokio::test]
async fn a_reservation_whose_caller_left_is_not_written_when_the_lock_is_gone() {
    let folder = Folder::new();
    let ledger = open(&folder, TIMEOUT).await;
    let other = hold(&folder).await;
    let impatient = tokio::time::timeout(
        Duration::from_millis(300),
        ledger.reserve(limited("ana", START, 1)),
    );
    assert!(impatient.await.is_err());
    let mut patient = pin!(ledger.reserve(limited("ana", START, 1)));
    begin(patient.as_mut()).await;
    let_go(other).await;
    patient.await.unwrap();
    let query = UsageQuery {
        by: By::Role,
        since: START,
        most: 10,
    };
    let rows = ledger.usage(query).await.unwrap();
    let written = (rows[0].sums.get("sessions"), rows[0].sums.get("failed"));
    assert_eq!(written, (1, 0), "nothing was written, nor given back");
    ledger.close().await;
}

#[tokio::test]
async fn a_stalled_writer_has_a_queue_with_an_end() {
    let folder = Folder::new();
    let ledger = open(&folder, TIMEOUT).await;
    let other = hold(&folder).await;
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..3000 {
        let ledger = Arc::clone(&ledger);
        tasks.push(tokio::spawn(async move {
            let answer = ledger.reserve(mint("ana", START)).await;
            (answer, started.elapsed())
        }));
    }
    // What waits, and what the writer had taken already; all others are refused.
    let refused = || tasks.iter().filter(|task| task.is_finished()).count() >= 3000 - 1224;
    until("the queue is full", refused).await;
    let_go(other).await;
    let (mut full, mut written) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            (Ok(()), _) => written += 1,
            (Err(ReserveError::Unavailable(RecordsError::Full)), when) => {
                assert!(when < TIMEOUT, "refused at once: {when:?}");
                full += 1;
            }
            (Err(error), _) => panic!("{error}"),
        }
    }
    // What waits, and what the writer had taken already.
    assert!((1024..=1224).contains(&written), "{written}");
    assert_eq!(full + written, 3000);
    assert_eq!(ledger.recent(START).await.unwrap().len(), written);
    ledger.close().await;
}

/// Another program holds the counter: the writer stops in the middle of its transaction.
async fn hold_counters(url: &str) -> PgConnection {
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let mut other = options.connect().await.unwrap();
    let hold = "BEGIN; SELECT sessions FROM token_broker.counters FOR UPDATE";
    sqlx::raw_sql(hold).execute(&mut other).await.unwrap();
    other
}

#[tokio::test]
async fn a_reservation_that_was_written_for_a_caller_who_left_is_given_back() {
    let url = empty_database().await;
    let ledger = postgres_at(&url).await;
    ledger.reserve(limited("ana", START, 2)).await.unwrap();
    let mut other = hold_counters(&url).await;
    let impatient = tokio::time::timeout(
        Duration::from_millis(500),
        ledger.reserve(limited("ana", START, 2)),
    );
    assert!(impatient.await.is_err());
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    // Behind what was written for it, and what took that back.
    ledger.reserve(limited("ben", START, 2)).await.unwrap();
    let written =
        "SELECT COUNT(*) FROM token_broker.entries WHERE subject = 'ana' AND code = 'abandoned'";
    let observer = sqlx::PgPool::connect(&url).await.unwrap();
    let is_taken_back = async || {
        let counted = sqlx::query_scalar(written).fetch_one(&observer).await;
        counted.is_ok_and(|number: i64| number == 1)
    };
    eventually("it was written, and taken back", PATIENCE, is_taken_back).await;
    observer.close().await;
    ledger.reserve(limited("ana", START, 2)).await.unwrap();
    assert!(ledger.reserve(limited("ana", START, 2)).await.is_err());
    other.close().await.unwrap();
    ledger.close().await;
}

#[tokio::test]
async fn a_server_that_holds_a_lock_too_long_is_given_up_and_what_it_had_is_taken_back() {
    let url = empty_database().await;
    let ledger = postgres_at(&url).await;
    ledger.reserve(limited("ana", START, 2)).await.unwrap();
    let mut other = hold_counters(&url).await;
    let started = Instant::now();
    let refused = ledger.reserve(limited("ana", START, 2)).await;
    assert!(
        matches!(refused, Err(ReserveError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(started.elapsed() < 3 * TIMEOUT);
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    operational(&*ledger).await;
    ledger.reserve(limited("ana", START, 2)).await.unwrap();
    assert!(ledger.reserve(limited("ana", START, 2)).await.is_err());
    other.close().await.unwrap();
    ledger.close().await;
}
