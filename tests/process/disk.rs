//! A disk that is full, that refuses to write, that cannot sync: nothing is minted then, and afterwards all is well.

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::ledger_file::Books;
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch, student};
use crate::kit::programs::{program, run};
use crate::kit::provider::simulator;
use crate::kit::waiting::{SOON, eventually};

/// A command of the broker under another program, which is given what stands before it.
fn under(books: &Books, name: &str, before: &[&str]) -> Launch {
    let mut command = program(name);
    command.args(before).arg(env!("CARGO_BIN_EXE_token-broker"));
    command.args(["serve", "--config", "settings.toml"]);
    books.with(Launch::from(command))
}

/// How the process may have mounts of its own here.
async fn own_mounts() -> &'static [&'static str] {
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    for way in ways {
        if run(program("unshare").args(way).arg("true")).await.0 {
            return way;
        }
    }
    panic!("no mount namespaces here: neither root nor user namespaces");
}

/// How it stands: what /health says, that it is alive.
async fn condition(broker: &Broker) -> (u16, String) {
    let alive = Answer::to(broker.get("/livez")).await;
    assert_eq!(alive.status, 200);
    let health = Answer::to(broker.get("/health")).await;
    let ledger = &health.json["services"]["usageLedger"]["status"];
    (health.status, ledger.as_str().unwrap().to_owned())
}

/// While nothing can be written, nothing is minted, and it says so.
async fn assert_mints_nothing(broker: &Broker, seen: impl Fn() -> u64) {
    let before = seen();
    for number in 0..5 {
        let answer = broker.token_as(&student(&format!("nobody-{number}"))).await;
        answer.is(503, "ledger_unavailable");
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(seen(), before, "something was minted that was not recorded");
    assert_eq!(condition(broker).await, (503, "down".to_owned()));
    let ready = Answer::to(broker.get("/readyz")).await;
    assert_eq!(ready.status, 503, "N F13");
    let told = broker.events("ledger_unavailable");
    assert_eq!(told[0]["severity"], "high");
}

/// It mints again soon, without a restart. Gives the answer.
async fn assert_recovers(broker: &Broker) -> Answer {
    let recovered = Cell::new(None);
    let recovers = async || {
        let answer = broker.token_as(&student("first-again")).await;
        let mints = answer.status == 200;
        recovered.set(mints.then_some(answer));
        mints
    };
    eventually("it mints again", SOON, recovers).await;
    assert_eq!(condition(broker).await, (200, "operational".to_owned()));
    recovered.take().unwrap()
}

/// A file that takes all the room there is.
fn fill(folder: &Path) -> PathBuf {
    let place = folder.join("filler");
    let mut file = fs::File::create(&place).unwrap();
    for size in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
    place
}

#[tokio::test]
async fn n13_on_a_full_disk_nothing_is_minted_until_there_is_room_again() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let room = books.folder().join("room");
    fs::create_dir(&room).unwrap();
    let script = "mount -t tmpfs -o size=3m tmpfs \"$0\" && exec \"$@\"";
    let mut before = own_mounts().await.to_vec();
    before.extend(["sh", "-c", script, room.to_str().unwrap()]);
    let place = format!("sqlite://{}/ledger.db", room.display());
    let broker = under(&books, "unshare", &before)
        .towards(&simulator.base_url())
        .env("BROKER_LEDGER__URL", &place)
        .start()
        .await;
    // As the process sees it.
    let inside = format!("/proc/{}/root{}", broker.running.pid(), room.display());
    let inside = Path::new(&inside);
    let first = broker.token_as(&student("ana")).await;
    first.secret();

    let filler = fill(inside);
    assert_mints_nothing(&broker, || simulator.seen()).await;
    fs::remove_file(filler).unwrap();
    let again = assert_recovers(&broker).await;

    // The room is gone with its process, so what stands in it is looked at elsewhere.
    for ending in ["", "-wal"] {
        let from = inside.join(format!("ledger.db{ending}"));
        fs::copy(from, format!("{}{ending}", books.path().display())).unwrap();
    }
    assert_minted(&books, [first, again]).await;
}

/// The ledger holds these mints, and counts them.
async fn assert_minted(books: &Books, answers: [Answer; 2]) {
    let entries = books.entries().await;
    for answer in answers {
        let entry = Books::of_request(&entries, &answer.request_id());
        assert_eq!(entry.outcome, "minted");
    }
    books.assert_counted().await;
}

#[tokio::test]
async fn when_writes_fail_nothing_is_minted_until_they_succeed_again() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    // The kernel answers writes beyond the limit with a signal first.
    let script = "trap '' XFSZ; exec \"$@\"";
    let broker = under(&books, "sh", &["-c", script, "sh"])
        .towards(&simulator.base_url())
        .start()
        .await;
    let first = broker.token_as(&student("ana")).await;
    let pid = broker.running.pid().to_string();
    let limit = async |limit: &str| {
        let mut command = program("prlimit");
        command.args(["--pid", &pid, &format!("--fsize={limit}:")]);
        let (succeeded, _, err) = run(&mut command).await;
        assert!(succeeded, "{err}");
    };
    limit("4096").await;
    assert_mints_nothing(&broker, || simulator.seen()).await;
    limit("unlimited").await;
    let again = assert_recovers(&broker).await;
    assert_minted(&books, [first, again]).await;
}

#[tokio::test]
async fn after_a_sync_that_failed_only_a_fresh_handle_is_trusted() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    // Its schema is made while all is well.
    books.launch(&simulator).start().await.stop().await;
    let log = books.folder().join("calls");
    // Of every thread, and so of every handle, the eighth sync fails, and all that come after it.
    let fault = "inject=fsync,fdatasync:error=EIO:when=8+";
    let path = log.to_str().unwrap();
    let before = [
        "-D",
        "-f",
        "-e",
        "trace=fsync,fdatasync",
        "-e",
        fault,
        "-e",
        "signal=none",
        "-o",
        path,
    ];
    let broker = under(&books, "strace", &before)
        .towards(&simulator.base_url())
        .start()
        .await;
    let (mut served, mut refused) = (Vec::new(), 0);
    for number in 0..12 {
        let answer = broker
            .token_as(&student(&format!("somebody-{number}")))
            .await;
        if answer.status == 200 {
            served.push(answer);
        } else {
            answer.is(503, "ledger_unavailable");
            refused += 1;
            served.push(assert_recovers(&broker).await);
        }
    }
    assert!(refused >= 2, "no sync failed");
    let calls = fs::read_to_string(&log).unwrap();
    assert!(calls.matches("(INJECTED)").count() >= 2, "{calls}");
    let entries = books.entries().await;
    for answer in served {
        let entry = Books::of_request(&entries, &answer.request_id());
        assert_eq!(entry.outcome, "minted");
    }
    books.assert_counted().await;
}

#[tokio::test]
async fn a10_a_ledger_that_is_moved_under_its_broker_records_and_mints_nothing_until_it_is_back() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let broker = books.launch(&simulator).start().await;
    broker.token_as(&student("ana")).await.secret();
    let elsewhere = books.path().with_extension("moved");
    fs::rename(books.path(), &elsewhere).unwrap();
    assert_mints_nothing(&broker, || simulator.seen()).await;
    fs::rename(&elsewhere, books.path()).unwrap();
    assert_recovers(&broker).await;
    let is_told = |line: &serde_json::Value| line["cause"].to_string().contains("put it back");
    broker.running.logged(is_told).await;
}
