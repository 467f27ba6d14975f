//! The file of a SQLite ledger: private, of one broker, and never touched when it is not ours.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use token_broker::records::{
    By, OpenError, Records, RecordsCondition, RecordsError, ReserveError, SqlRecords, UsageQuery,
    sqlite,
};

use super::kinds::{Folder, START, TIMEOUT, account, clock, mint, sqlite_at};
use crate::kit::log_lines::Lines;
use crate::kit::waiting::until;

async fn open(path: &Path) -> Result<SqlRecords, OpenError> {
    sqlite::open(path, clock(), TIMEOUT).await
}

async fn refused(path: &Path) -> OpenError {
    let Err(error) = open(path).await else {
        panic!("{} was opened", path.display());
    };
    error
}

async fn say(path: &Path, words: &'static str) {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(words).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn only_the_owner_can_read_it() {
    let folder = Folder::new();
    let ledger = sqlite_at(&folder).await;
    ledger.reserve(mint("ana", START)).await.unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(folder.file().parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
        seen += 1;
    }
    assert!(seen >= 3, "the database, its log, its lock");
    ledger.close().await;
}

#[tokio::test]
async fn a_ledger_file_that_others_may_read_is_warned_of() {
    let folder = Folder::new();
    let lines = Lines::listen();
    open(&folder.file()).await.unwrap().close().await;
    assert_eq!(lines.take(), [""; 0]);
    for (mode, told) in [(0o640, true), (0o604, true), (0o600, false)] {
        fs::set_permissions(folder.file(), fs::Permissions::from_mode(mode)).unwrap();
        open(&folder.file()).await.unwrap().close().await;
        let said = lines.take();
        assert_eq!(said.len(), usize::from(told), "{said:?}");
        let mode = format!("mode={mode:o}");
        assert!(said.iter().all(|line| line.contains(&mode)), "{said:?}");
    }
}

#[tokio::test]
async fn a_second_broker_is_refused_and_the_next_one_is_not() {
    let folder = Folder::new();
    let first = open(&folder.file()).await.unwrap();
    let error = refused(&folder.file()).await;
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    assert!(error.to_string().contains("another broker"));
    first.reserve(mint("ana", START)).await.unwrap();
    first.close().await;
    let second = open(&folder.file()).await.unwrap();
    assert_eq!(second.recent(START).await.unwrap().len(), 1);
    second.close().await;
}

#[tokio::test]
async fn reports_and_erasures_work_beside_a_broker() {
    let folder = Folder::new();
    let broker = open(&folder.file()).await.unwrap();
    broker.reserve(mint("ana", START)).await.unwrap();
    broker.reserve(mint("ben", START)).await.unwrap();
    let reader = sqlite::open_for_reading(&folder.file(), clock(), TIMEOUT)
        .await
        .unwrap();
    let query = UsageQuery {
        by: By::User,
        since: START,
        most: 10,
    };
    assert_eq!(reader.usage(query).await.unwrap().len(), 2);
    let refused = reader.reserve(mint("eva", START)).await;
    let closed = ReserveError::Unavailable(RecordsError::Closed);
    assert_eq!(refused.unwrap_err().to_string(), closed.to_string());
    let eraser = sqlite::open_for_maintenance(&folder.file(), clock(), TIMEOUT)
        .await
        .unwrap();
    assert_eq!(eraser.erase(&account("ana")).await.unwrap(), 1);
    eraser.close().await;
    broker.reserve(mint("eva", START)).await.unwrap();
    assert_eq!(reader.usage(query).await.unwrap().len(), 2);
    reader.close().await;
    broker.close().await;
}

#[tokio::test]
async fn an_account_that_was_erased_beside_a_broker_is_neither_in_the_file_nor_in_its_log() {
    let folder = Folder::new();
    let broker = open(&folder.file()).await.unwrap();
    let holds = |name: &str| {
        let log = folder.file().with_file_name("ledger.db-wal");
        let bytes = [folder.file(), log].map(|path| fs::read(path).unwrap());
        bytes
            .concat()
            .windows(name.len())
            .any(|some| some == name.as_bytes())
    };
    for _ in 0..40 {
        broker.reserve(mint("canary-ana", START)).await.unwrap();
        broker.reserve(mint("canary-ben", START)).await.unwrap();
    }
    assert!(holds("canary-ana") && holds("canary-ben"));
    let eraser = sqlite::open_for_maintenance(&folder.file(), clock(), TIMEOUT)
        .await
        .unwrap();
    assert_eq!(eraser.erase(&account("canary-ana")).await.unwrap(), 40);
    eraser.close().await;
    assert!(!holds("canary-ana") && holds("canary-ben"));
    broker.reserve(mint("eva", START)).await.unwrap();
    assert_eq!(broker.recent(START).await.unwrap().len(), 41);
    broker.close().await;
}

#[tokio::test]
async fn a_missing_file_is_neither_read_nor_made() {
    let folder = Folder::new();
    let reading = sqlite::open_for_reading(&folder.file(), clock(), TIMEOUT).await;
    assert!(matches!(reading, Err(OpenError::Missing(_))));
    let writing = sqlite::open_for_maintenance(&folder.file(), clock(), TIMEOUT).await;
    assert!(matches!(writing, Err(OpenError::Missing(_))));
    assert!(!folder.file().exists());
}

#[tokio::test]
async fn a_file_of_another_program_is_refused_and_left_as_it_is() {
    type Expected = fn(&OpenError) -> bool;
    let cases: [(&str, &str, Expected); 4] = [
        ("text", "", |error| {
            matches!(error, OpenError::NotADatabase(_))
        }),
        (
            "other",
            "CREATE TABLE t (x); INSERT INTO t VALUES (1)",
            |error| matches!(error, OpenError::NotALedger(_)),
        ),
        ("newer", "PRAGMA user_version = 99", |error| {
            matches!(error, OpenError::Newer { found: 99, .. })
        }),
        ("damaged", "", |error| {
            matches!(error, OpenError::Damaged { .. })
        }),
    ];
    for (name, words, expected) in cases {
        let folder = Folder::new();
        let path = folder.file();
        match name {
            "text" => fs::write(&path, "these are no tables, but notes of somebody").unwrap(),
            "other" => say(&path, words).await,
            _ => {
                let ledger = open(&path).await.unwrap();
                for _ in 0..200 {
                    ledger.reserve(mint("ana", START)).await.unwrap();
                }
                ledger.close().await;
            }
        }
        if name == "newer" {
            say(&path, words).await;
        }
        let mut bytes = fs::read(&path).unwrap();
        if name == "damaged" {
            let middle = bytes.len() / 2;
            bytes[middle..middle + 4096].fill(0xa5);
            fs::write(&path, &bytes).unwrap();
        }
        let error = refused(&path).await;
        assert!(expected(&error), "{name}: {error:?}");
        assert!(
            fs::read(&path).unwrap() == bytes,
            "{name}: the file was changed"
        );
        let reading = sqlite::open_for_reading(&path, clock(), TIMEOUT).await;
        assert!(reading.is_err() || name == "damaged", "{name}");
    }
}

/// Waits until nothing can be recorded, for a second and what a busy machine adds.
async fn is_noticed(ledger: &dyn Records) {
    let down = || ledger.condition() == RecordsCondition::Down;
    until("the loss is noticed", down).await;
}

#[tokio::test]
async fn a10_into_a_file_that_was_moved_nothing_is_written_until_it_is_back() {
    let folder = Folder::new();
    let ledger = sqlite_at(&folder).await;
    ledger.reserve(mint("ana", START)).await.unwrap();
    let elsewhere = folder.file().with_extension("moved");
    fs::rename(folder.file(), &elsewhere).unwrap();
    assert!(ledger.reserve(mint("ben", START)).await.is_err());
    is_noticed(&*ledger).await;
    assert!(!folder.file().exists(), "no new file is made");
    fs::rename(&elsewhere, folder.file()).unwrap();
    let recovers = || ledger.condition() == RecordsCondition::Operational;
    until("the records recover", recovers).await;
    ledger.reserve(mint("cem", START)).await.unwrap();
    ledger.close().await;
    let again = sqlite_at(&folder).await;
    assert_eq!(again.recent(START).await.unwrap().len(), 2);
    again.close().await;
}

#[tokio::test]
async fn a10_a_file_that_is_removed_or_replaced_is_noticed_although_nobody_asks() {
    for replaced in [false, true] {
        let folder = Folder::new();
        let ledger = sqlite_at(&folder).await;
        ledger.reserve(mint("ana", START)).await.unwrap();
        let copy = folder.file().with_extension("copy");
        fs::copy(folder.file(), &copy).unwrap();
        if replaced {
            fs::rename(&copy, folder.file()).unwrap();
        } else {
            fs::remove_file(folder.file()).unwrap();
        }
        is_noticed(&*ledger).await;
        let refused = ledger.reserve(mint("ben", START)).await;
        let cause = format!("{:?}", refused.unwrap_err());
        assert!(cause.contains("moved, removed or replaced"), "{cause}");
        ledger.close().await;
    }
}

#[tokio::test]
async fn a10_a_write_ahead_log_that_is_removed_or_replaced_is_noticed_and_nothing_in_it_is_lost() {
    for replaced in [false, true] {
        let folder = Folder::new();
        let ledger = sqlite_at(&folder).await;
        ledger.reserve(mint("ana", START)).await.unwrap();
        let log = folder.file().with_extension("db-wal");
        fs::remove_file(&log).unwrap();
        if replaced {
            fs::write(&log, "").unwrap();
        }
        is_noticed(&*ledger).await;
        let refused = ledger.reserve(mint("ben", START)).await;
        let cause = format!("{:?}", refused.unwrap_err());
        assert!(cause.contains("Restart the broker"), "{cause}");
        // A crash leaves the file alone.
        let crashed = Folder::new();
        fs::copy(folder.file(), crashed.file()).unwrap();
        let again = sqlite_at(&crashed).await;
        assert_eq!(again.recent(START).await.unwrap().len(), 1);
        again.close().await;
        ledger.close().await;
        let restarted = sqlite_at(&folder).await;
        assert_eq!(restarted.recent(START).await.unwrap().len(), 1);
        restarted.close().await;
    }
}

#[tokio::test]
async fn a10_a_folder_that_was_moved_takes_its_file_along() {
    let folder = Folder::new();
    let ledger = sqlite_at(&folder).await;
    let place = folder.file();
    let here = place.parent().unwrap();
    let there = here.with_extension("moved");
    fs::rename(here, &there).unwrap();
    is_noticed(&*ledger).await;
    assert!(ledger.reserve(mint("ana", START)).await.is_err());
    fs::rename(&there, here).unwrap();
    ledger.close().await;
}
