//! What leaves the broker was on the disk before, as the kernel saw it: strace tells the order of its calls.

use std::collections::{HashMap, HashSet};
use std::fs;

use tokio::task::JoinSet;

use super::ledger_file::Books;
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch, student};
use crate::kit::http::client;
use crate::kit::programs::program;
use crate::kit::provider::simulator;
use crate::kit::scratch::Scratch;
use crate::kit::waiting::{PATIENCE, until};

/// What writes, what syncs, and what leaves. Calls that are not here are not seen.
const CALLS: &str = "trace=pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg,sendmmsg,fdatasync,fsync,sync_file_range,msync,io_uring_enter";
/// Makes syncs do nothing.
const NO_SYNC: &str = "libeatmydata.so";
/// What goes upstream begins so.
const UPSTREAM: &str = "POST /v1/realtime/client_secrets";
/// Mints of one run.
const MINTS: usize = 60;
/// Of these, so many at a time.
const AT_ONCE: usize = 12;

/// One line of strace, in order: which thread, and the call as it is written down.
struct Call<'a> {
    thread: &'a str,
    text: &'a str,
}

/// What a request has come to, as far as the disk knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Pending,
    Minted,
}

/// What a run of calls shows.
#[derive(Debug, Default)]
struct Found {
    /// Client secrets that left.
    answers: usize,
    /// Requests for one that left.
    asked_upstream: usize,
    syncs: usize,
    violations: Vec<String>,
}

/// Reads calls one after the other.
#[derive(Default)]
struct Reading {
    found: Found,
    /// Written to the log, but not yet synced.
    written: HashSet<(String, Stage)>,
    /// Syncs under way, by thread, and what they cover.
    syncing: HashMap<String, HashSet<(String, Stage)>>,
    /// On the disk.
    durable: HashSet<(String, Stage)>,
}

impl Reading {
    fn read(&mut self, call: &Call<'_>) {
        let text = call.text;
        if text.starts_with("pwrite") && text.contains("ledger.db-wal>") {
            self.written.extend(stages(text));
        } else if is_sync(text) {
            // It covers what was written before it began.
            let covered = std::mem::take(&mut self.written);
            self.syncing.insert(call.thread.to_owned(), covered);
            self.found.syncs += 1;
            if text.ends_with(" = 0") {
                self.synced(call.thread);
            }
        } else if text.starts_with("<... f")
            && text.contains("sync resumed>)")
            && text.ends_with(" = 0")
        {
            self.synced(call.thread);
        } else if text.contains(&format!("\"{UPSTREAM}")) {
            self.found.asked_upstream += 1;
            let intents = self
                .durable
                .iter()
                .filter(|(_, stage)| *stage == Stage::Pending);
            let intents = intents.count();
            if intents < self.found.asked_upstream {
                let number = self.found.asked_upstream;
                let what = format!("mint {number} left when {intents} intents were on the disk");
                self.found.violations.push(what);
            }
        } else if text.contains("\"HTTP/1.1 200 OK\\r\\n") {
            self.answered(text);
        }
    }

    fn synced(&mut self, thread: &str) {
        self.durable
            .extend(self.syncing.remove(thread).unwrap_or_default());
    }

    fn answered(&mut self, text: &str) {
        let Some((_, rest)) = text.split_once("x-request-id: ") else {
            return;
        };
        let name = rest.split("\\r").next().unwrap().to_owned();
        self.found.answers += 1;
        for stage in [Stage::Pending, Stage::Minted] {
            if !self.durable.contains(&(name.clone(), stage)) {
                let what = format!("{name} was answered before {stage:?} was on the disk");
                self.found.violations.push(what);
            }
        }
    }
}

fn is_sync(text: &str) -> bool {
    let begins = text.starts_with("fdatasync(") || text.starts_with("fsync(");
    begins && text.contains("ledger.db-wal>")
}

/// The requests in a page of the log, and how they stand there. In a row, kind and outcome come before the request's id.
fn stages(page: &str) -> Vec<(String, Stage)> {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let mut stages = Vec::new();
    for (at, _) in page.match_indices("req_") {
        let name: String = page[at..]
            .chars()
            .take_while(|&letter| is_of_name(letter))
            .take(20)
            .collect();
        let before = &page[..at];
        let stage = match (before.rfind("mintpending"), before.rfind("mintminted")) {
            (None, None) => continue,
            (pending, minted) if pending > minted => Stage::Pending,
            _ => Stage::Minted,
        };
        stages.push((name, stage));
    }
    stages
}

fn read(log: &str) -> Found {
    let mut reading = Reading::default();
    for line in log.lines() {
        if let Some((thread, text)) = line.split_once(' ') {
            let text = text.trim_start();
            reading.read(&Call { thread, text });
        }
    }
    reading.found
}

/// Runs a broker under strace, mints, and gives what strace saw.
async fn traced(preload: Option<&str>) -> String {
    let (simulator, books, scratch) = (simulator(&[]).await, Books::new(), Scratch::new());
    let log = scratch.path().join("calls");
    let mut command = program("strace");
    // The tracer is a grandchild: the process that we know and end is the broker. Whole pages, and names for handles.
    command.args([
        "-D",
        "-f",
        "-y",
        "-s",
        "20000",
        "-e",
        CALLS,
        "-e",
        "signal=none",
        "-o",
    ]);
    command.arg(&log);
    if let Some(library) = preload {
        command.args(["-E", &format!("LD_PRELOAD={library}")]);
    }
    command.arg(env!("CARGO_BIN_EXE_token-broker"));
    command.args(["serve", "--config", "settings.toml"]);
    let broker = books
        .with(Launch::from(command).towards(&simulator.base_url()))
        .start()
        .await;
    for number in 0..3 {
        broker
            .token_as(&student(&format!("one-{number}")))
            .await
            .secret();
    }
    mint_at_once(&broker).await;
    assert_eq!(broker.stop().await.code, Some(0));
    let text = || fs::read_to_string(&log).unwrap_or_default();
    until("strace has ended", || {
        text().contains("+++ exited with 0 +++")
    })
    .await;
    text()
}

async fn mint_at_once(broker: &Broker) {
    let client = client();
    for round in 0..MINTS / AT_ONCE {
        let mut mints = JoinSet::new();
        for number in 0..AT_ONCE {
            let bearer = student(&format!("many-{round}-{number}"));
            let request = client.post(broker.url("/token")).bearer_auth(bearer);
            mints.spawn(async move {
                Answer::to(request).await.secret();
            });
        }
        tokio::time::timeout(PATIENCE, mints.join_all())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn no_client_secret_leaves_and_none_is_asked_for_before_its_row_is_on_the_disk() {
    let found = read(&traced(None).await);
    assert!(found.violations.is_empty(), "{found:#?}");
    assert_eq!(
        (found.answers, found.asked_upstream),
        (MINTS + 3, MINTS + 3),
        "{found:#?}"
    );
    println!(
        "{} answers, {} syncs of the log, no violation",
        found.answers, found.syncs
    );
}

#[tokio::test]
async fn a_disk_that_only_says_that_it_has_written_is_noticed() {
    let found = read(&traced(Some(NO_SYNC)).await);
    assert_eq!(found.answers, MINTS + 3, "it did not serve: {found:#?}");
    assert_eq!(
        found.syncs,
        0,
        "{NO_SYNC} was not there: {}",
        crate::kit::programs::HELP
    );
    // Not one of them: neither the answers nor what went upstream.
    assert!(found.violations.len() >= 2 * (MINTS + 3), "{found:#?}");
}
