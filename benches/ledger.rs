//! The cost of the records: group commit with many callers, one sync beside it, and a million entries.
//!
//! ```text
//! cargo bench --bench ledger                 # all of it, a few minutes
//! cargo bench --bench ledger -- callers      # only the callers; or `million`
//! LEDGER_URL=postgres://… cargo bench --bench ledger -- callers
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a measurement: it panics when it cannot measure, prints, and looks at the clock on the wall"
)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Connection;
use token_broker::clock::{Clock, SystemClock, Timestamp};
use token_broker::domain::{
    Account, EntryId, Intent, Kind, Network, Outcome, PersonaName, Quota, RequestId, SessionChange,
    SessionId, SessionKey, Settlement,
};
use token_broker::records::{By, Records, UsageQuery, postgres, sqlite};

const TIMEOUT: Duration = Duration::from_secs(5);
const DAYS: u64 = 90;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let wants = |name: &str| {
        let named = wanted.iter().any(|wanted| wanted == name);
        named || !wanted.iter().any(|wanted| !wanted.starts_with('-'))
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("ledger-bench");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    println!("{}", machine());
    sync(&folder);
    if wants("callers") {
        for callers in [1, 64, 256] {
            runtime.block_on(calls(&folder, callers));
        }
    }
    if wants("million") {
        runtime.block_on(million(&folder));
    }
    fs::remove_dir_all(&folder).unwrap();
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap();
    let model = cpus.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(':').nth(1)).unwrap_or("?");
    let cores = std::thread::available_parallelism().unwrap();
    format!("{cores} cores,{model}")
}

/// CPU time that this process has used.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let fields: Vec<u64> = after_name.split_whitespace().flat_map(str::parse).collect();
    // utime and stime, in hundredths of a second; the letter of the state is no number.
    Duration::from_millis((fields[10] + fields[11]) * 10)
}

fn percentile(sorted: &[Duration], part: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place"
    )]
    let place = ((sorted.len() - 1) as f64 * part) as usize;
    sorted[place]
}

/// What one sync of four kilobytes costs: nothing that is durable can be quicker.
fn sync(folder: &Path) {
    let mut file = File::create(folder.join("sync")).unwrap();
    let mut took: Vec<_> = (0..200)
        .map(|_| {
            let started = Instant::now();
            file.write_all(&[7; 4096]).unwrap();
            file.sync_data().unwrap();
            started.elapsed()
        })
        .collect();
    took.sort_unstable();
    let (p50, p99) = (percentile(&took, 0.5), percentile(&took, 0.99));
    println!("one sync of 4 KiB: p50 {p50:.2?}, p99 {p99:.2?}");
}

fn intent(at: Timestamp, subject: u64) -> Intent {
    Intent {
        id: EntryId::new(at),
        at,
        kind: Kind::Mint,
        account: Some(Account {
            issuer: "https://project.example.com/auth/v1".into(),
            subject: format!("8b1f0c52-5c3a-4a7e-9a42-{subject:012}").into(),
        }),
        role: Some(["student", "teacher", "family"][usize::try_from(subject % 3).unwrap()].into()),
        persona: PersonaName::parse("student-es").unwrap(),
        network: Network::around([203, 0, 113, 7].into()),
        origin: None,
        session: SessionKey::of(&SessionId::random()),
        request_id: RequestId::random(),
        quota: Quota {
            sessions_per_month: Some(1_000_000),
            ..Quota::default()
        },
    }
}

fn settlement(id: EntryId, at: Timestamp) -> Settlement {
    Settlement {
        id,
        at,
        took: Duration::from_millis(250),
        outcome: Outcome::Minted {
            expires_at: at.plus(Duration::from_mins(1)),
            model: Some("gpt-realtime".into()),
            upstream_request: Some("req_0123456789abcdef0123456789abcdef".into()),
        },
        session: SessionChange::Keep,
        ticket: None,
    }
}

async fn open(folder: &Path, name: &str) -> Arc<dyn Records> {
    let clock = Arc::new(SystemClock::new());
    if let Ok(url) = std::env::var("LEDGER_URL") {
        postgres::migrate(&url).await.unwrap();
        return Arc::new(postgres::open(&url, clock, TIMEOUT).await.unwrap());
    }
    let path = folder.join(name);
    Arc::new(sqlite::open(&path, clock, TIMEOUT).await.unwrap())
}

/// Callers that reserve and settle one after the other, for five seconds.
async fn calls(folder: &Path, callers: u64) {
    let ledger = open(folder, &format!("callers-{callers}")).await;
    let clock = SystemClock::new();
    let (started, cpu_before) = (Instant::now(), cpu());
    let end = started + Duration::from_secs(5);
    let mut tasks = Vec::new();
    for caller in 0..callers {
        let (ledger, now) = (Arc::clone(&ledger), clock.now());
        tasks.push(tokio::spawn(async move {
            let (mut reserved, mut number) = (Vec::new(), 0);
            while Instant::now() < end {
                let at = now.plus(started.elapsed());
                // Each caller goes through a hundred accounts.
                let intent = intent(at, caller * 100 + number % 100);
                let id = intent.id;
                let asked = Instant::now();
                ledger.reserve(intent).await.unwrap();
                reserved.push(asked.elapsed());
                ledger.settle(settlement(id, at)).await.unwrap();
                number += 1;
            }
            reserved
        }));
    }
    let mut reserved = Vec::new();
    for task in tasks {
        reserved.append(&mut task.await.unwrap());
    }
    let (took, used) = (started.elapsed(), cpu().saturating_sub(cpu_before));
    reserved.sort_unstable();
    let number = reserved.len() as f64;
    println!(
        "{callers:>4} callers: {:>6.0} reserve+settle/s, {:>5.1} µs CPU each; reserve p50 {:.2?}, p99 {:.2?}",
        number / took.as_secs_f64(),
        used.as_secs_f64() * 1e6 / number,
        percentile(&reserved, 0.5),
        percentile(&reserved, 0.99),
    );
    ledger.close().await;
}

/// A ledger with a million entries of three months.
async fn million(folder: &Path) {
    let path = folder.join("million");
    let clock = Arc::new(SystemClock::new());
    let now = clock.now();
    fill(&path, now).await;
    let started = Instant::now();
    sqlite::migrate(&path).await.unwrap();
    println!(
        "a million entries of schema 1: copied and migrated in {:.1?}",
        started.elapsed()
    );
    let started = Instant::now();
    let ledger = sqlite::open(&path, Arc::<SystemClock>::clone(&clock), TIMEOUT)
        .await
        .unwrap();
    let size = fs::metadata(&path).unwrap().len() >> 20;
    println!(
        "a million entries, {size} MiB: opened in {:.0?}",
        started.elapsed()
    );
    decide(&ledger, now).await;
    for by in [By::Day, By::Role, By::Persona, By::User] {
        for (span, since) in [
            ("all", Timestamp::from_millis(0)),
            (
                "7 days",
                Timestamp::from_millis(now.as_millis() - 7 * 86_400_000),
            ),
        ] {
            let query = UsageQuery {
                by,
                since,
                most: 1000,
            };
            let mut took: Vec<_> = Vec::new();
            for _ in 0..5 {
                let started = Instant::now();
                let rows = ledger.usage(query).await.unwrap();
                assert!(!rows.is_empty());
                took.push(started.elapsed());
            }
            println!(
                "usage by {by:?}, {span}: worst of 5 {:.1?}",
                took.iter().max().unwrap()
            );
        }
    }
    let started = Instant::now();
    let hour = Timestamp::from_millis(now.as_millis() - 3_600_000);
    let recent = ledger.recent(hour).await.unwrap().len();
    println!(
        "the {recent} entries of the last hour: {:.1?}",
        started.elapsed()
    );
    forget(&ledger, now).await;
    ledger.close().await;
}

/// The quota decision: one reservation at a time, less the sync that no reservation can do without.
async fn decide(ledger: &dyn Records, now: Timestamp) {
    let mut refused: Vec<_> = Vec::new();
    let mut reserved: Vec<_> = Vec::new();
    for number in 0..1000 {
        let subject = number * 7919 % 10_000;
        let mut exceeded = intent(now, subject);
        exceeded.quota.sessions_per_month = Some(0);
        let started = Instant::now();
        assert!(ledger.reserve(exceeded).await.is_err());
        refused.push(started.elapsed());
        let started = Instant::now();
        ledger.reserve(intent(now, subject)).await.unwrap();
        reserved.push(started.elapsed());
    }
    for (name, mut took) in [
        ("quota decision (refused: nothing is written)", refused),
        ("the same with its entry written and synced", reserved),
    ] {
        took.sort_unstable();
        let (p50, p99) = (percentile(&took, 0.5), percentile(&took, 0.99));
        println!("{name}: p50 {p50:.2?}, p99 {p99:.2?}");
    }
}

/// Forgets the first week, and reserves at the same time.
async fn forget(ledger: &dyn Records, now: Timestamp) {
    let before = Timestamp::from_millis(now.as_millis() - (DAYS - 7) * 86_400_000);
    let mut worst = Duration::ZERO;
    let (started, mut total) = (Instant::now(), 0);
    let forgetting = async {
        loop {
            let number = ledger.forget(before).await.unwrap();
            total += number;
            if number < 1000 {
                return;
            }
        }
    };
    let reserving = async {
        loop {
            let asked = Instant::now();
            ledger.reserve(intent(now, 1)).await.unwrap();
            worst = worst.max(asked.elapsed());
        }
    };
    tokio::select! { () = forgetting => {}, () = reserving => {} }
    let took = started.elapsed();
    println!(
        "{total} entries forgotten in {took:.1?}; the longest reservation meanwhile took {worst:.1?}"
    );
}

/// 10,000 accounts, three roles, 90 days; every entry settled.
async fn fill(path: &Path, now: Timestamp) {
    let url = format!("sqlite://{}?mode=rwc", path.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let first = include_str!("../src/records/migrations/sqlite/1_entries.sql");
    sqlx::raw_sql(first).execute(&mut connection).await.unwrap();
    let script = include_str!("ledger_million.sql");
    let script = script.replace("$now", &now.as_millis().to_string());
    let script = script.replace("$span", &(DAYS * 86_400_000).to_string());
    sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}
