//! Sessions in the ledger's database: written with its entries, read back whole, erased with whose they are.

use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnectOptions;
use token_broker::clock::Timestamp;
use token_broker::domain::{
    Account, Network, Party, SessionId, SessionKey, SessionSeal, Shelved, random_bytes,
};
use token_broker::records::{Records, SqlRecords, postgres, sqlite};

use crate::kinds::{Folder, START, TIMEOUT, account, clock, mint};
use crate::server::empty_database;

/// Both kinds of database, empty, given to `test` one after the other.
async fn both(test: impl AsyncFn(&SqlRecords)) {
    let folder = Folder::new();
    let ledger = sqlite::open(&folder.file(), clock(), TIMEOUT).await;
    let ledger = ledger.unwrap();
    test(&ledger).await;
    ledger.close().await;
    let url = empty_database().await;
    postgres::migrate(&url).await.unwrap();
    let ledger = postgres::open(&url, clock(), TIMEOUT).await.unwrap();
    test(&ledger).await;
    ledger.close().await;
}

fn key() -> SessionKey {
    SessionSeal::random().key(&SessionId::random())
}

fn of(owner: Party) -> Shelved {
    Shelved {
        key: key(),
        owner,
        what: r#"{"persona":"teacher's \"own\""}"#.into(),
        revision: 3,
        refreshes: 2,
        opened: START,
        minted: START.plus(Duration::from_millis(1234)),
    }
}

fn somebody() -> Party {
    let [a, b, c, d] = random_bytes();
    Party::Network(Network::of([a, b, c, d].into()))
}

fn identity(account: &Account) -> Party {
    Party::Identity(account.key())
}

/// What stands there, by key, and how much could not be read.
async fn shelved(ledger: &SqlRecords) -> (Vec<Shelved>, u64) {
    let mut all = Vec::new();
    let unreadable = ledger.shelved(&mut |page| all.extend(page)).await;
    all.sort_by_key(|shelved| shelved.key);
    (all, unreadable.unwrap())
}

#[tokio::test]
async fn what_was_written_is_read_as_it_was_over_what_is_not_later() {
    both(async |ledger| {
        let (first, other) = (of(somebody()), of(identity(&account("ana"))));
        let both = [first.clone(), other.clone()];
        ledger.shelve(&both, &[]).await.unwrap();
        ledger.shelve(&[], &[]).await.unwrap();
        let moved = Shelved {
            revision: 4,
            refreshes: 3,
            minted: START.plus(Duration::from_secs(20)),
            ..first.clone()
        };
        let dated_anew = Shelved {
            opened: START.minus(Duration::from_secs(1)),
            ..other.clone()
        };
        let changes = [moved.clone(), dated_anew.clone()];
        ledger.shelve(&changes, &[key()]).await.unwrap();
        ledger.shelve(&[first], &[]).await.unwrap();
        let mut expected = [moved.clone(), dated_anew.clone()];
        expected.sort_by_key(|shelved| shelved.key);
        assert_eq!(shelved(ledger).await, (expected.to_vec(), 0));
        ledger.shelve(&[], &[moved.key]).await.unwrap();
        assert_eq!(shelved(ledger).await, (vec![dated_anew], 0));
    })
    .await;
}

#[tokio::test]
async fn sessions_of_before_a_moment_are_forgotten_and_no_others() {
    both(async |ledger| {
        let young = of(somebody());
        let old = Shelved {
            opened: START.minus(Duration::from_millis(1)),
            ..of(somebody())
        };
        ledger.shelve(&[old, young.clone()], &[]).await.unwrap();
        assert_eq!(ledger.forget_sessions(START).await.unwrap(), 1);
        assert_eq!(shelved(ledger).await, (vec![young], 0));
    })
    .await;
}

#[tokio::test]
async fn any_number_is_read() {
    both(async |ledger| {
        let many: Vec<_> = (0..10_050).map(|_| of(somebody())).collect();
        for some in many.chunks(2_000) {
            ledger.shelve(some, &[]).await.unwrap();
        }
        let mut pages = Vec::new();
        let read = ledger.shelved(&mut |page| pages.push(page.len())).await;
        assert_eq!((read.unwrap(), pages.as_slice()), (0, &[10_000, 50][..]));
        assert_eq!(shelved(ledger).await.0.len(), many.len());
    })
    .await;
}

#[tokio::test]
async fn who_is_erased_leaves_no_session_and_nobody_elses_goes() {
    both(async |ledger| {
        let (ana, ben) = (account("ana"), account("ben"));
        ledger.reserve(mint("ana", START)).await.unwrap();
        let (theirs, stranger) = (of(identity(&ben)), of(somebody()));
        let all = [
            of(identity(&ana)),
            of(identity(&ana)),
            theirs.clone(),
            stranger.clone(),
        ];
        ledger.shelve(&all, &[]).await.unwrap();
        assert_eq!(ledger.erase(&ana).await.unwrap(), 1);
        let mut left = vec![theirs, stranger];
        left.sort_by_key(|shelved| shelved.key);
        assert_eq!(shelved(ledger).await, (left, 0));
    })
    .await;
}

#[tokio::test]
async fn sessions_and_entries_that_are_written_at_once_are_all_there() {
    both(async |ledger| {
        for number in 0..20 {
            let subject = format!("user-{number}");
            let session = [of(identity(&account(&subject)))];
            let (reserved, written) = tokio::join!(
                ledger.reserve(mint(&subject, START)),
                ledger.shelve(&session, &[])
            );
            reserved.unwrap();
            written.unwrap();
        }
        assert_eq!(ledger.recent(START).await.unwrap().len(), 20);
        assert_eq!(shelved(ledger).await.0.len(), 20);
    })
    .await;
}

#[tokio::test]
async fn of_two_brokers_on_one_server_the_second_learns_that_there_is_another() {
    let url = empty_database().await;
    postgres::migrate(&url).await.unwrap();
    let open = async || postgres::open(&url, clock(), TIMEOUT).await.unwrap();
    let (one, two) = (open().await, open().await);
    assert!(one.claim_sessions().await.unwrap());
    assert!(!two.claim_sessions().await.unwrap());
    one.close().await;
    assert!(two.claim_sessions().await.unwrap(), "the first has ended");
    two.close().await;
    let folder = Folder::new();
    let alone = sqlite::open(&folder.file(), clock(), TIMEOUT).await;
    assert!(alone.unwrap().claim_sessions().await.unwrap());
}

#[tokio::test]
async fn a_closed_ledger_takes_none() {
    let folder = Folder::new();
    let ledger = sqlite::open(&folder.file(), clock(), TIMEOUT).await;
    let ledger = Arc::new(ledger.unwrap());
    ledger.close().await;
    assert!(ledger.shelve(&[of(somebody())], &[]).await.is_err());
}

#[tokio::test]
async fn ledgers_without_sessions_get_room_for_them() {
    let folder = Folder::new();
    let options = SqliteConnectOptions::new().filename(folder.file());
    let made = options.create_if_missing(true).connect().await;
    let mut connection = made.unwrap();
    for script in [
        include_str!("../../src/records/migrations/sqlite/1_entries.sql"),
        include_str!("../../src/records/migrations/sqlite/2_sums.sql"),
    ] {
        let done = sqlx::raw_sql(script).execute(&mut connection).await;
        done.unwrap();
    }
    connection.close().await.unwrap();
    let ledger = sqlite::open(&folder.file(), clock(), TIMEOUT).await;
    takes_a_session(&ledger.unwrap()).await;
    let copy = folder.file().with_file_name("ledger.db.before-3");
    assert!(copy.exists());

    let url = empty_database().await;
    let options: sqlx::postgres::PgConnectOptions = url.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    let first = include_str!("../../src/records/migrations/postgres/1_entries.sql");
    let second = include_str!("../../src/records/migrations/postgres/2_sums.sql");
    let script = format!(
        "CREATE SCHEMA token_broker; SET search_path = token_broker; \
         CREATE TABLE ledger_schema (version BIGINT PRIMARY KEY); INSERT INTO ledger_schema VALUES (1), (2); \
         {first}; {second}"
    );
    let script = sqlx::raw_sql(sqlx::AssertSqlSafe(script));
    script.execute(&mut connection).await.unwrap();
    assert_eq!(postgres::migrate(&url).await.unwrap(), (2, 3));
    let ledger = postgres::open(&url, clock(), TIMEOUT).await;
    takes_a_session(&ledger.unwrap()).await;
}

async fn takes_a_session(ledger: &SqlRecords) {
    let session = of(somebody());
    ledger
        .shelve(std::slice::from_ref(&session), &[])
        .await
        .unwrap();
    assert_eq!(shelved(ledger).await, (vec![session], 0));
    ledger.close().await;
}

/// Text of any kind is text, and times of any kind are times.
#[tokio::test]
async fn nothing_that_a_session_may_say_is_refused() {
    both(async |ledger| {
        let odd = Shelved {
            what: "'\";--\n{\"é\": \"😀\"}".into(),
            revision: i64::MAX.unsigned_abs(),
            refreshes: u32::MAX,
            opened: Timestamp::from_millis(0),
            minted: Timestamp::from_millis(u64::MAX >> 1),
            ..of(somebody())
        };
        ledger
            .shelve(std::slice::from_ref(&odd), &[])
            .await
            .unwrap();
        assert_eq!(shelved(ledger).await, (vec![odd], 0));
    })
    .await;
}
