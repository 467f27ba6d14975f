//! The dashboard over a large ledger: ninety days of a million entries. Minutes long, so not run by default.

use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use token_broker::clock::{Clock, SystemClock};
use token_broker::records::sqlite;
use tokio::time::Instant;

use super::dev_desk::Desk;
use super::ledger_file::Books;
use crate::kit::programs::free_address;
use crate::kit::provider::simulator;

const TOKEN: &str = "operators-token-that-is-long-enough";
/// A page is asked for so often. Half of the answers may be slower: other work of the machine.
const ROUNDS: usize = 9;
const MOST: Duration = Duration::from_millis(100);

/// The schema before sums by model, so that the start has to make them.
const SCHEMA: [&str; 8] = [
    include_str!("../../src/records/migrations/sqlite/2_sums.sql"),
    include_str!("../../src/records/migrations/sqlite/3_sessions.sql"),
    include_str!("../../src/records/migrations/sqlite/4_sessions.sql"),
    include_str!("../../src/records/migrations/sqlite/5_calls.sql"),
    include_str!("../../src/records/migrations/sqlite/6_tickets.sql"),
    include_str!("../../src/records/migrations/sqlite/7_estimated.sql"),
    include_str!("../../src/records/migrations/sqlite/8_watched.sql"),
    include_str!("../../src/records/migrations/sqlite/9_alerts.sql"),
];

/// As if every session had been a call in which the model answered twice.
const CALLS: &str = "UPDATE daily SET calls = sessions, turns = 2 * sessions, seconds = 90 * sessions, fresh_audio = 80 * sessions, \
      cached_audio = 300 * sessions, output_audio = 400 * sessions, nanodollars = 30000000 * sessions; \
    UPDATE daily_accounts SET calls = sessions, turns = 2 * sessions, seconds = 90 * sessions, fresh_audio = 80 * sessions, \
      cached_audio = 300 * sessions, output_audio = 400 * sessions, nanodollars = 30000000 * sessions; \
    INSERT INTO call_uses SELECT id, turn, at, CASE WHEN turn = 'b' AND at % 10 = 0 THEN 'estimated' ELSE 'measured' END, \
      CASE at % 3 WHEN 0 THEN 'gpt-realtime-2.1-mini' ELSE 'gpt-realtime-2.1' END, \
      1, 0, 0, 40, 0, 0, 150, 0, 0, 200, 0, 15000000, CASE WHEN turn = 'b' AND at % 10 = 0 THEN 15000000 ELSE 0 END \
    FROM entries, (SELECT 'a' AS turn UNION ALL SELECT 'b') WHERE kind = 'mint' AND outcome <> 'failed'";

async fn fill(books: &Books) {
    let options = SqliteConnectOptions::new().filename(books.path());
    let options = options.create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    let first = include_str!("../../src/records/migrations/sqlite/1_entries.sql");
    let entries = include_str!("../../benches/ledger_million.sql");
    let now = SystemClock::new().now().as_millis().to_string();
    let span = Duration::from_hours(24 * 90).as_millis().to_string();
    let entries = entries.replace("$now", &now).replace("$span", &span);
    for script in [&[first, entries.as_str()][..], &SCHEMA[..], &[CALLS][..]].concat() {
        let script = sqlx::raw_sql(AssertSqlSafe(script.to_owned()));
        script.execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes, 2 GB of disk: cargo test --release --test process million -- --ignored --nocapture"]
async fn pages_over_ninety_days_of_a_million_entries_take_a_tenth_of_a_second() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    fill(&books).await;
    let started = Instant::now();
    sqlite::migrate(&books.path()).await.unwrap();
    println!("copied and migrated in {:.1?}", started.elapsed());
    let address = free_address().to_string();
    let broker = books.launch(&simulator).set("ops.token", TOKEN);
    let broker = broker.set("ops.listen", &address).start().await;
    let desk = Desk::enter(format!("http://{address}/"), TOKEN).await;
    let user = "issuer=https%3A%2F%2Fproject.example.com%2Fauth%2Fv1&subject=8b1f0c52-5c3a-4a7e-9a42-000000000001";
    let mut slow = Vec::new();
    for page in [
        "",
        "pages/calls",
        "pages/usage?days=90&show=cost",
        "pages/users?days=90",
        &format!("pages/user?days=90&{user}"),
        "pages/cost?days=90",
        "pages/errors",
        "pages/latency",
        "pages/security",
    ] {
        let mut took = Vec::new();
        for _ in 0..ROUNDS {
            let started = Instant::now();
            desk.read(page).await;
            took.push(started.elapsed());
        }
        took.sort_unstable();
        let (median, worst) = (took[ROUNDS / 2], took[ROUNDS - 1]);
        println!("/{page}: median {median:.1?}, worst {worst:.1?}");
        if median > MOST {
            slow.push((page.to_owned(), median));
        }
    }
    broker.stop().await;
    books.assert_counted().await;
    assert!(slow.is_empty(), "{slow:?}");
}
