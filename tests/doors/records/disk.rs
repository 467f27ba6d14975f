//! Disks that are full or refuse: nothing is minted on, nothing half-written stays, and work resumes by itself.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use token_broker::records::{Records, RecordsCondition, RecordsError, ReserveError, sqlite};

use super::child_process;
use super::kinds::{Folder, START, TIMEOUT, clock, mint, minted, settled};
use crate::kit::waiting::{PATIENCE, eventually};

/// Reserves until that fails. Gives how many succeeded.
async fn fill(ledger: &dyn Records) -> usize {
    for number in 0..100_000 {
        match ledger.reserve(mint("ana", START)).await {
            Ok(()) => {}
            Err(ReserveError::Unavailable(RecordsError::Failed(_))) => return number,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk never became full");
}

/// Waits until it can be written again, which nobody but itself takes care of.
async fn recovered(ledger: &dyn Records) {
    let writes = async || {
        ledger.condition() == RecordsCondition::Operational
            && ledger.reserve(mint("ben", START)).await.is_ok()
    };
    eventually("the records recover", PATIENCE, writes).await;
}

/// What has to hold on any disk that fails and then does not.
async fn survives(path: &Path, mend: impl FnOnce()) {
    let ledger: Arc<dyn Records> = Arc::new(sqlite::open(path, clock(), TIMEOUT).await.unwrap());
    let known = mint("eva", START);
    let id = known.id;
    ledger.reserve(known).await.unwrap();
    let written = fill(&*ledger).await + 1;
    assert_eq!(ledger.condition(), RecordsCondition::Down);
    let started = std::time::Instant::now();
    assert!(ledger.reserve(mint("ana", START)).await.is_err());
    assert!(ledger.settle(settled(id, minted())).await.is_err());
    assert!(started.elapsed() < TIMEOUT, "they fail at once");
    let while_down = ledger.recent(START).await.unwrap().len();
    assert_eq!(
        while_down, written,
        "reading goes on, and all that was promised is there"
    );
    mend();
    recovered(&*ledger).await;
    ledger.settle(settled(id, minted())).await.unwrap();
    assert_eq!(ledger.recent(START).await.unwrap().len(), written + 1);
    ledger.close().await;
    let again = sqlite::open(path, clock(), TIMEOUT).await.unwrap();
    assert_eq!(again.recent(START).await.unwrap().len(), written + 1);
    again.close().await;
}

#[test]
fn a_full_disk_stops_minting_until_there_is_room() {
    let folder = Folder::new();
    let place = folder.file().with_file_name("small");
    fs::create_dir(&place).unwrap();
    let mount = format!("mount -t tmpfs -o size=3m none '{}';", place.display());
    child_process::run(
        "records::disk::child_on_a_small_disk",
        &place.join("ledger.db"),
        &mount,
    );
}

#[tokio::test]
#[ignore = "run by a_full_disk_stops_minting_until_there_is_room, on a disk of its own"]
async fn child_on_a_small_disk() {
    let Some(path) = child_process::file() else {
        return;
    };
    let filler = path.with_file_name("filler");
    fs::write(&filler, vec![7; 1 << 20]).unwrap();
    survives(&path, || fs::remove_file(&filler).unwrap()).await;
}

#[test]
fn a_write_that_the_system_refuses_stops_minting_until_it_does_not() {
    let folder = Folder::new();
    // Files may grow to a megabyte; beyond it a write fails instead of killing the process.
    let limit = "trap '' XFSZ; ulimit -S -f 2048;";
    child_process::run(
        "records::disk::child_with_short_files",
        &folder.file(),
        limit,
    );
}

#[tokio::test]
#[ignore = "run by a_write_that_the_system_refuses_stops_minting_until_it_does_not, under a limit"]
async fn child_with_short_files() {
    let Some(path) = child_process::file() else {
        return;
    };
    survives(&path, || {
        let mut lift = Command::new("prlimit");
        lift.arg(format!("--pid={}", std::process::id()))
            .arg("--fsize=unlimited:unlimited");
        assert!(lift.status().unwrap().success());
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_damaged_while_it_is_served_stops_minting() {
    let folder = Folder::new();
    let ledger = sqlite::open(&folder.file(), clock(), TIMEOUT)
        .await
        .unwrap();
    for _ in 0..200 {
        ledger.reserve(mint("ana", START)).await.unwrap();
    }
    ledger.close().await;
    let ledger = sqlite::open(&folder.file(), clock(), TIMEOUT)
        .await
        .unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(folder.file())
        .unwrap();
    let size = file.metadata().unwrap().len();
    file.write_all_at(&vec![0xa5; usize::try_from(size).unwrap() - 4096], 4096)
        .unwrap();
    let refused = ledger.reserve(mint("eva", START)).await;
    assert!(
        matches!(refused, Err(ReserveError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(ledger.condition(), RecordsCondition::Down);
}
