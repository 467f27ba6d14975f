//! The file of the ledger when things go wrong with it: locked, taken, full, damaged, of a later version.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use sqlx::{Connection, Executor};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ledger_file::Books;
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Ended, Launch, student};
use crate::kit::http::client;
use crate::kit::programs::program;
use crate::kit::provider::simulator;
use crate::kit::waiting::{PATIENCE, SOON, eventually, until};

/// Everything in a directory but locks and what SQLite keeps beside an open file.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let named = files.map(|file| (file.file_name().into_string().unwrap(), file.path()));
    let kept = named.filter(|(name, _)| {
        !["-shm", "-wal", ".lock"]
            .iter()
            .any(|ending| name.ends_with(ending))
    });
    kept.map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

/// Starts it, which must fail with a message that says all of this.
async fn refused(launch: Launch, says: &[&str]) -> Ended {
    let ended = launch.finish().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!ended.out.contains("\"ready\""), "{ended:?}");
    for word in says {
        assert!(ended.err.contains(word), "{word}: {ended:?}");
    }
    ended
}

#[tokio::test]
async fn while_somebody_else_locks_the_file_callers_are_told_in_time_and_nothing_is_minted() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let broker = books.launch(&simulator).start().await;
    broker.token_as(&student("ana")).await.secret();

    let mut other = books.open().await;
    other.execute("BEGIN EXCLUSIVE").await.unwrap();
    let locked = Instant::now();
    // The usual timeout is 5 s, and SQLite gives up a little earlier.
    let first = broker.token_as(&student("ben")).await;
    let took = locked.elapsed();
    assert!((4000..15_000).contains(&took.as_millis()), "{took:?}");
    let second = broker.token_as(&student("cem")).await;
    for answer in [&first, &second] {
        answer.is(503, "ledger_unavailable");
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(
        simulator.seen(),
        1,
        "something was minted that was not recorded"
    );
    // Until nothing is under way any more.
    let is_down = async || ledger_health(&broker).await.1 == "down";
    eventually("the ledger is down", SOON, is_down).await;
    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();

    assert_recovers(&broker).await;
    let entries = books.entries().await;
    assert!(
        entries
            .iter()
            .all(|entry| ["minted", "failed"].contains(&&*entry.outcome)),
        "{entries:?}"
    );
    books.assert_counted().await;
    assert!(!broker.events("ledger_unavailable").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_ledger_stands_still_only_so_many_wait_and_the_others_are_told_at_once() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let launch = books
        .launch(&simulator)
        .set("ledger.timeout", "8s")
        // Only the ledger may refuse them, however slow the machine is.
        .set("upstream.max_wait", "10s")
        .set("limits.verified_address", "2000/60s")
        .set("server.max_connections_per_address", "2000");
    let broker = launch.start().await;
    let mut other = books.open().await;
    other.execute("BEGIN EXCLUSIVE").await.unwrap();
    // The queue holds 1024, and the writer 200 more.
    let (client, mut mints) = (client(), JoinSet::new());
    for number in 0..1500 {
        let bearer = student(&format!("somebody-{number}"));
        let request = client.post(broker.url("/token")).bearer_auth(bearer);
        mints.spawn(async move {
            let began = Instant::now();
            let answer = Answer::to(request).await;
            answer.is(503, "ledger_unavailable");
            began.elapsed()
        });
    }
    let took = mints.join_all().await;
    let at_once = took.iter().filter(|took| took.as_millis() < 7500).count();
    assert!(at_once >= 1500 - 1024 - 200, "{at_once} were told at once");
    let slowest = took.iter().max().unwrap();
    assert!(*slowest < Duration::from_secs(25), "{slowest:?}");
    assert_eq!(simulator.seen(), 0);
    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();
    assert_recovers(&broker).await;
    books.assert_counted().await;
}

/// Asks until it mints again, and until it says that it is well.
async fn assert_recovers(broker: &Broker) {
    let mints = async || broker.token_as(&student("dia")).await.status == 200;
    eventually("it mints again", SOON, mints).await;
    assert_eq!(ledger_health(broker).await, (200, "operational".to_owned()));
    broker.token_as(&student("eva")).await.secret();
}

async fn ledger_health(broker: &Broker) -> (u16, String) {
    let health = Answer::to(broker.get("/health")).await;
    let ledger = &health.json["services"]["usageLedger"]["status"];
    (health.status, ledger.as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_second_broker_with_the_same_file_does_not_start_and_disturbs_nobody() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let broker = books.launch(&simulator).start().await;
    let file = books.path().display().to_string();
    refused(books.launch(&simulator), &["another broker", &file]).await;
    broker.token_as(&student("ana")).await.secret();
    broker.stop().await;
    books.launch(&simulator).start().await;
}

#[tokio::test]
async fn f41_a_place_that_cannot_be_written_is_said_to_be_so() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let folder = books.folder().join("locked");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    let place = format!("sqlite://{}/ledger.db", folder.display());
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let launch = if is_root {
        // Root may write everywhere.
        let mut command = program("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(env!("CARGO_BIN_EXE_token-broker"));
        command.args(["serve", "--config", "settings.toml"]);
        books.with(Launch::from(command).towards(&simulator.base_url()))
    } else {
        books.launch(&simulator)
    };
    let launch = launch.env("BROKER_LEDGER__URL", &place);
    refused(launch, &["ledger.url", "directory", "denied"]).await;
    assert!(contents(&folder).is_empty());

    let nowhere = books.launch(&simulator);
    let nowhere = nowhere.env("BROKER_LEDGER__URL", "sqlite://nowhere/ledger.db");
    refused(nowhere, &["ledger.url", "nowhere"]).await;
}

#[tokio::test]
async fn a_file_that_is_something_else_is_refused_and_left_alone() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    fs::write(
        books.path(),
        "Dear diary, today I was taken for a database. ".repeat(200),
    )
    .unwrap();
    let before = contents(books.folder());
    refused(books.launch(&simulator), &["not a SQLite database"]).await;
    assert_eq!(contents(books.folder()), before);
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let broker = books.launch(&simulator).start().await;
    for number in 0..40 {
        broker
            .token_as(&student(&format!("somebody-{number}")))
            .await
            .secret();
    }
    broker.stop().await;
    let mut bytes = fs::read(books.path()).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[4096..middle].fill(0x5a);
    fs::write(books.path(), bytes).unwrap();
    let before = contents(books.folder());
    refused(books.launch(&simulator), &["damaged", "backup"]).await;
    assert_eq!(contents(books.folder()), before);
}

#[tokio::test]
async fn a_file_of_a_later_version_or_of_another_program_is_refused_and_left_alone() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    books.launch(&simulator).start().await.stop().await;
    for (change, says) in [
        ("PRAGMA user_version = 99", "later version"),
        ("PRAGMA application_id = 7", "not a ledger of this program"),
    ] {
        let mut connection = books.open().await;
        connection.execute(change).await.unwrap();
        connection
            .execute("PRAGMA wal_checkpoint(TRUNCATE)")
            .await
            .unwrap();
        connection.close().await.unwrap();
        let before = contents(books.folder());
        refused(books.launch(&simulator), &[says]).await;
        assert_eq!(contents(books.folder()), before);
    }
}

#[tokio::test]
async fn a_mint_under_way_at_sigterm_is_answered_and_recorded_as_minted() {
    let (simulator, books) = (simulator(&["slow:1s"]).await, Books::new());
    let mut broker = books.launch(&simulator).start().await;
    let asking = broker.as_somebody(&student("ana"));
    let ending = async {
        until("a mint under way", || simulator.seen() == 1).await;
        broker.running.signal("TERM");
    };
    let (answer, ()) = tokio::join!(Answer::to(asking), ending);
    answer.secret();
    let ended = broker.running.end(PATIENCE).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let entry = Books::of_request(&books.entries().await, &answer.request_id());
    assert_eq!(entry.outcome, "minted");
    let log = books.folder().join("ledger.db-wal");
    let left = fs::metadata(log).map_or(0, |log| log.len());
    assert_eq!(left, 0, "the log was not moved into the file");
}

#[tokio::test]
async fn a_mint_whose_caller_hung_up_is_recorded_as_undelivered() {
    let (simulator, books) = (simulator(&["slow:1s"]).await, Books::new());
    let broker = books.launch(&simulator).start().await;
    let mut asking = JoinSet::new();
    asking.spawn(broker.as_somebody(&student("ana")).send());
    until("a mint under way", || simulator.seen() == 1).await;
    drop(asking);
    until("a mint", || simulator.minted() == 1).await;
    let is_written = async || {
        let entries = books.entries().await;
        assert_eq!(entries.len(), 1);
        entries[0].outcome == "undelivered"
    };
    eventually("the entry says undelivered", SOON, is_written).await;
    books.assert_counted().await;
    assert_eq!(broker.stop().await.code, Some(0));
}
